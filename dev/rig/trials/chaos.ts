/**
 * `npm run rig:chaos`: a thousand jobs over twenty workspaces while API processes are killed and the database is away.
 * Prints how long each fault delayed the jobs, and fails unless every job ended truthfully. JOBS and KILLS change the size.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startRig } from '../rig.ts'
import { ask, asOwner, makeTenants, untruths } from './tenants.ts'

const JOBS = Number(process.env.JOBS ?? 1000)
const KILLS = Number(process.env.KILLS ?? 10)
const WORKSPACES = 20
/** Seconds that the database is away, twice. */
const OUTAGE = 30
/** Minutes for everything to end. */
const PATIENCE = 30

const rig = await startRig()
try {
  const tenants = await makeTenants(rig, WORKSPACES)
  const count = async (where: string) =>
    Number((await asOwner<{ n: string }>(rig, `select count(*) n from generations where ${where}`))[0]?.n)

  /** Until it is accepted, with the same key: whoever lost an answer asks again. */
  const accept = async (number: number) => {
    const tenant = tenants[number % WORKSPACES]
    if (!tenant) throw new Error('no tenant')
    const headers = { 'idempotency-key': `job-${number}` }
    for (let tries = 1; ; tries++) {
      const { status, body } = await ask(rig.url, tenant, 'POST', '/generations', {
        body: { task: 'scene', prompt: `Chaos ${number}` },
        headers,
      })
      if (status === 202) return
      if (status !== 0 && status !== 503 && status !== 429) throw new Error(`${status} ${body}`)
      await sleep(Math.min(1000 * tries, 5000))
    }
  }
  const started = Date.now()
  const seconds = () => ((Date.now() - started) / 1000).toFixed(0).padStart(4)
  let next = 0
  const accepting = Promise.all(
    Array.from({ length: 16 }, async () => {
      while (next < JOBS) await accept(next++)
    }),
  )
  /** Milliseconds until another job succeeds. */
  const recovery = async () => {
    const since = Date.now()
    const before = await count(`status = 'succeeded'`)
    while ((await count(`status = 'succeeded'`)) === before) {
      if ((await count('completed_at is null')) === 0) break
      await sleep(100)
    }
    return Date.now() - since
  }

  console.log('   s  fault                                     jobs ended  until the next success')
  const report = async (what: string) => {
    const ended = await count('completed_at is not null')
    console.log(
      `${seconds()}  ${what.padEnd(42)}${String(ended).padStart(10)}${`${await recovery()} ms`.padStart(24)}`,
    )
  }
  await sleep(5000)
  for (let kill = 1; kill <= KILLS; kill++) {
    const name = `api-${1 + (kill % 2)}`
    await rig.kill(name)
    await sleep(1000)
    await rig.start(name)
    await report(`${name} killed, back after a second`)
    if (kill === Math.ceil(KILLS / 3) || kill === Math.ceil((KILLS * 2) / 3)) {
      await rig.links.database.stop()
      await sleep(OUTAGE * 1000)
      await rig.links.database.start()
      await report(`database away for ${OUTAGE} s`)
    }
    await sleep(2000)
  }
  await accepting
  console.log(`${seconds()}  all ${JOBS} accepted`)
  const until = Date.now() + PATIENCE * 60_000
  const isOver = async () =>
    (await count('completed_at is null')) === 0 && (await asOwner(rig, 'select from outbox')).length === 0
  while (Date.now() < until && !(await isOver())) await sleep(1000)
  console.log(`${seconds()}  the end`)

  const ends = await asOwner<{ status: string; code: string | null; jobs: number; attempts: number }>(
    rig,
    `select status, error ->> 'code' as code, count(*)::int as jobs, max(attempts) as attempts from generations group by 1, 2 order by 1, 2`,
  )
  console.table(ends)
  const wrong = await untruths(rig)
  const { predictions } = (await (await fetch(`${rig.stack.models.origin}/stats`)).json()) as {
    predictions: unknown[]
  }
  console.table({
    ...wrong,
    'jobs accepted': await count('true'),
    'predictions made': predictions.length,
    'uncaught exceptions': rig.exceptions().length,
  })
  const isTrue = Object.values(wrong).every((n) => n === 0) && (await count('true')) === JOBS
  if (!isTrue) process.exitCode = 1
  for (const { name, message, at } of rig.exceptions().slice(0, 5)) console.log(`${name}: ${message} (${at})`)
} finally {
  await rig.stop()
}
process.exit()
