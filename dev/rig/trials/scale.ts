/**
 * `npm run rig:scale`: every list and filter of a workspace of 100,000 assets, generations and audit rows, of a small one and of
 * an empty one, beside a thousand others, a million rows of each in all. Prints how long each takes in Postgres and through
 * the door, and what it reads; fails if a p95 of the large one is more than twice that of the empty one, so it needs the
 * machine for itself. ROWS=20000 for a quick run; ONLY=assets asks what has this in its path; PLANS=1 prints the plans of
 * what is slow. Needs a superuser.
 */
import pg from 'pg'
import { startRig } from '../rig.ts'
import { listsOf } from './lists.ts'
import { fillDatabase } from './many-rows.ts'
import { countRead, isUpkeep, plansOf, type Statement, statementsOf, timeOf } from './replay.ts'
import { ask, asOwner, makeTenants, percentile, type Tenant } from './tenants.ts'

const ROWS = Number(process.env.ROWS ?? 1_000_000)
const ROUNDS = Number(process.env.ROUNDS ?? 40)
const ONLY = process.env.ONLY ?? ''
const OTHERS = 999
/** A caller's requests of a minute are limited, so a workspace has several. */
const CALLERS = 5
/** What is too short to tell from the machine's noise, in milliseconds. */
const NOISE = 0.5

const rig = await startRig({ alone: true, cron: false })
const clients: pg.Client[] = []
const connect = async (url: string) => {
  const client = new pg.Client(url)
  await client.connect()
  clients.push(client)
  return client
}

/** A login like the Worker's, to which auto_explain tells the plans of all that runs. */
const connectExplaining = async () => {
  await asOwner(
    rig,
    `create role trial_login login password 'trial' in role app_tenant;
     alter role trial_login set session_preload_libraries = 'auto_explain';
     alter role trial_login set auto_explain.log_min_duration = 0;
     alter role trial_login set auto_explain.log_analyze = on;
     alter role trial_login set auto_explain.log_nested_statements = on;
     alter role trial_login set auto_explain.log_level = 'notice'`,
  )
  const url = Object.assign(new URL(rig.stack.database.tenantUrl), {
    username: 'trial_login',
    password: 'trial',
  })
  return connect(url.href)
}

try {
  const tenants = await makeTenants(rig, 3 * CALLERS)
  const names = ['empty', 'small', 'large'] as const
  type Name = (typeof names)[number]
  const places = names.map((name, i) => {
    const callers = tenants.slice(i * CALLERS, (i + 1) * CALLERS)
    const workspaceId = callers[0]?.workspaceId ?? ''
    return { name, workspaceId, callers: callers.map((caller): Tenant => ({ ...caller, workspaceId })) }
  })
  for (const { workspaceId, callers } of places) {
    await asOwner(
      rig,
      `insert into memberships (workspace_id, user_id, role) select $1, id, 'admin' from users where id = any($2) on conflict do nothing`,
      [workspaceId, callers.map(({ token }) => JSON.parse(atob(token.split('.')[1] ?? '')).sub)],
    )
  }
  const started = performance.now()
  const idOf = (wanted: Name) => places.find(({ name }) => name === wanted)?.workspaceId ?? ''
  const facts = await fillDatabase(rig.stack.database.adminUrl, {
    workspaces: [
      { id: idOf('large'), rows: ROWS / 10 },
      { id: idOf('small'), rows: Math.ceil((ROWS * 0.9) / 1000) },
    ],
    others: { count: OTHERS, rows: Math.ceil((ROWS * 0.9) / 1000) },
  })
  const [size] = await asOwner<{ size: string; wrong: number }>(
    rig,
    `select pg_size_pretty(pg_database_size(current_database())) size, (select count(*)::int from app.wrong_counters()) wrong`,
  )
  console.log(
    `filled in ${Math.round((performance.now() - started) / 1000)} s: ${size?.size}, ${size?.wrong} wrong counters`,
  )

  let turn = 0
  /** Asks, and answers how long it took, and what was asked of the database. */
  const request = async (place: (typeof places)[number], path: string) => {
    const who = place.callers[turn++ % CALLERS]
    if (!who) throw new Error('nobody to ask')
    let heard: Statement[] = []
    rig.links.database.watch((text) => {
      if (!isUpkeep(text)) heard = statementsOf(text)
    })
    const isStream = path === '/events'
    const began = performance.now()
    const answer = await ask(rig.url, who, 'GET', path.replace('{workspace}', place.workspaceId), {
      ...(isStream && { signal: AbortSignal.timeout(150) }),
    })
    const milliseconds = performance.now() - began
    if (!isStream && answer.status !== 200 && answer.status !== 404) {
      throw new Error(`${place.name}: ${path} answered ${answer.status} ${answer.body.slice(0, 300)}`)
    }
    return { milliseconds: isStream ? 0 : milliseconds, statements: heard }
  }

  const lists = listsOf(facts).filter((path) => path.includes(ONLY))
  const figures = () => ({ door: [] as number[], postgres: [] as number[], read: 0 })
  const results = new Map(
    lists.map((path) => [path, { empty: figures(), small: figures(), large: figures() }]),
  )
  const replayer = await connect(rig.stack.database.tenantUrl)
  const explaining = process.env.PLANS ? await connectExplaining() : undefined
  for (let round = -8; round < ROUNDS; round++) {
    for (const path of lists) {
      for (const place of round % 2 ? places : places.toReversed()) {
        const { milliseconds, statements } = await request(place, path)
        const postgres = await timeOf(replayer, statements)
        const result = results.get(path)?.[place.name]
        if (!result || round < 0) continue
        result.door.push(milliseconds)
        result.postgres.push(postgres)
        if (round === 0) result.read = await countRead(replayer, statements)
      }
    }
  }

  const text = (value: number) => value.toFixed(2).padStart(7)
  console.log(
    `\n${'milliseconds, p50 and p95, of empty, small and large workspace'.padEnd(96)}rows read of large\n${''.padEnd(50)}${'Postgres'.padEnd(54)}through the door`,
  )
  const slow: string[] = []
  for (const [path, of] of results) {
    // A hundred rows cost what they are, wherever they are shown: the small workspace has as many.
    const base = path.includes('limit=100') ? of.small : of.empty
    const ratio = (what: 'door' | 'postgres') => {
      const [least, large] = [percentile(base[what], 0.95), percentile(of.large[what], 0.95)]
      return large - least < NOISE ? Math.min(2, large / least) : large / least
    }
    const cells = (['postgres', 'door'] as const).map(
      (what) =>
        `${names.map((name) => `${text(percentile(of[name][what], 0.5))}${text(percentile(of[name][what], 0.95))}`).join(' ')} ×${ratio(what).toFixed(1)}`,
    )
    const isSlow = Math.max(ratio('door') || 0, ratio('postgres')) > 2
    if (isSlow) slow.push(path)
    console.log(
      `${path.replace(/(cursor|Id)=[\w-]{8}[\w-]*/g, '$1=…').padEnd(50)}${cells.join('  ')} ${of.empty.read}/${of.small.read}/${of.large.read}${isSlow ? '  SLOW' : ''}`,
    )
  }
  console.log(`\n${slow.length} of ${lists.length} are slow`)
  const [, , large] = places
  if (explaining && large) {
    for (const path of slow) {
      const { statements } = await request(large, path)
      console.log(`\n${path}\n${(await plansOf(explaining, statements)).join('\n')}`)
    }
  }
  if (slow.length > 0) process.exitCode = 1
} finally {
  for (const client of clients) await client.end()
  await rig.stop()
}
process.exit()
