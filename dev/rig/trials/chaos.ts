/**
 * `npm run rig:chaos`: a thousand jobs over twenty workspaces while API processes are killed, the database is away, and
 * providers fail: 5xx, 429, connections reset before and after the work was done, answers that can't be read. Prints how
 * long each fault delayed the jobs, and fails unless every job ended truthfully, no output was asked for again before
 * the call before it had ended, and none was paid twice at Replicate, whose webhook gives a lost answer back, or elsewhere
 * without a call that was lost. JOBS and KILLS change the size.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { makeSamplePhoto } from '../../../models/photo.ts'
import { startRig } from '../rig.ts'
import { asOwner, makeTenants, merchantOf, untruths } from './tenants.ts'

const JOBS = Number(process.env.JOBS ?? 1000)
const KILLS = Number(process.env.KILLS ?? 10)
const WORKSPACES = 20
/** Milliseconds. */
const FAULTS_EVERY = 4000
/** Seconds that the database is away, twice. */
const OUTAGE = 30
/** Minutes for everything to end. */
const PATIENCE = 30

const rig = await startRig()
try {
  const tenants = await makeTenants(rig, WORKSPACES)
  const count = async (where: string) =>
    Number((await asOwner<{ n: string }>(rig, `select count(*) n from generations where ${where}`))[0]?.n)

  const photo = await makeSamplePhoto()
  const photos = await Promise.all(
    tenants.map(
      async (tenant) => (await merchantOf(rig, tenant).assets.upload(photo, { name: 'photo.jpg' })).id,
    ),
  )

  /** Until it is accepted, with the same key: whoever lost an answer asks again. */
  const accept = async (number: number) => {
    const tenant = tenants[number % WORKSPACES]
    if (!tenant) throw new Error('no tenant')
    const photoId = photos[number % WORKSPACES]
    await merchantOf(rig, tenant, 1000).post('/generations', {
      // One in four has a photo, which fal's model needs.
      body: {
        task: 'scene',
        prompt: `Chaos ${number}!`,
        inputAssetIds: number % 4 === 0 && photoId ? [photoId] : [],
      },
      idempotencyKey: `job-${number}`,
    })
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

  const links = { lost: 0, cut: 0 }
  const breakProviders = async () => {
    const { models } = rig.links
    models.clearFaults()
    for (const [name, fault] of [
      ['lost', { of: 'answer', match: 'POST /' }],
      ['cut', { of: 'request', match: 'POST /' }],
    ] as const) {
      const active = models.fault({ kind: 'reset', times: 2, ...fault })
      setTimeout(() => {
        links[name] += active.hits
      }, FAULTS_EVERY - 100)
    }
    for (const kind of ['server_error', 'rate_limited', 'malformed_json'])
      await fetch(`${rig.stack.models.origin}/faults`, { method: 'POST', body: JSON.stringify({ kind }) })
  }
  const breaking = setInterval(() => void breakProviders(), FAULTS_EVERY)
  void accepting.then(() => clearInterval(breaking))

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
  await sleep(FAULTS_EVERY)
  rig.links.models.clearFaults()
  await fetch(`${rig.stack.models.origin}/faults`, { method: 'DELETE' })
  console.log(`${seconds()}  all ${JOBS} accepted`)
  const until = Date.now() + PATIENCE * 60_000
  const isOver = async () =>
    (await count('completed_at is null')) === 0 && (await asOwner(rig, 'select from outbox')).length === 0
  while (Date.now() < until && (await count('completed_at is null')) > 0) await sleep(1000)
  // Objects of calls that came to nothing are deleted when no step can write them any more: none can.
  await asOwner(rig, 'update outbox set available_at = now()')
  await rig.scheduled()
  while (Date.now() < until && !(await isOver())) await sleep(1000)
  console.log(`${seconds()}  the end`)

  const ends = await asOwner<{ status: string; code: string | null; jobs: number; attempts: number }>(
    rig,
    `select status, error ->> 'code' as code, count(*)::int as jobs, max(attempts) as attempts from generations group by 1, 2 order by 1, 2`,
  )
  console.table(ends)
  console.table(
    await asOwner(
      rig,
      `select provider, status, failure ->> 'reason' as reason, count(*)::int as calls from provider_jobs group by 1, 2, 3 order by 1, 2, 3`,
    ),
  )
  const [twice] = await asOwner<Record<string, number>>(
    rig,
    `with calls as (select *, unnest(indexes) as place from provider_jobs)
     select (select count(*)::int from calls a join calls b using (workspace_id, generation_id, place)
              where a.id < b.id and a.status <> 'failed' and b.created_at < least(a.ended_at, a.expires_at))
              as "calls while another might be answered",
            (select count(*)::int from (select from calls where status = 'succeeded'
              group by generation_id, place having count(*) > 1) o) as "outputs made twice"`,
  )
  const { predictions, submissions } = (await (await fetch(`${rig.stack.models.origin}/stats`)).json()) as {
    predictions: {
      provider: string
      prompt: string
      status: string
      createdAt: string
      completedAt: string | null
    }[]
    submissions: number
  }
  const paid = predictions.filter(({ status }) => status === 'succeeded')
  /** Pictures beyond the one of each job. */
  const paidTwice = (of: typeof paid) =>
    of.length - new Set(of.map(({ prompt }) => /Chaos \d+!/.exec(prompt)?.[0])).size
  const ofOneJob = Map.groupBy(predictions, ({ prompt }) => /Chaos \d+!/.exec(prompt)?.[0])
  // Newest first.
  const atOnce = [...ofOneJob.values()].flatMap((all) =>
    all.filter((one, i) => all[i + 1] && one.createdAt < (all[i + 1]?.completedAt ?? '9999')),
  )
  const isOfReplicate = ({ provider }: (typeof paid)[number]) => provider === 'replicate'
  const again = paidTwice(paid) - paidTwice(paid.filter(isOfReplicate))
  const [{ lost = 0 } = {}] = await asOwner<{ lost: number }>(
    rig,
    `select count(*)::int as lost from provider_jobs where status = 'lost'`,
  )
  const wrong = {
    ...(await untruths(rig)),
    ...twice,
    'outputs made by two providers at once': atOnce.length,
    'paid twice at Replicate': paidTwice(paid.filter(isOfReplicate)),
    'paid twice for no lost call': Math.max(0, again - lost),
    'jobs that did not succeed': await count(`status <> 'succeeded'`),
  }
  console.table({
    ...wrong,
    'jobs accepted': await count('true'),
    submissions,
    'predictions made': predictions.length,
    'pictures paid': paid.length,
    'answers lost by a reset': links.lost,
    'requests cut by a reset': links.cut,
    'calls lost': lost,
    // fal's webhook does not say where its result is, and elsewhere the answer is the picture.
    'paid again for lost calls': again,
    'uncaught exceptions': rig.exceptions().length,
  })
  const isTrue = Object.values(wrong).every((n) => n === 0) && (await count('true')) === JOBS
  if (!isTrue) process.exitCode = 1
  for (const { name, message, at } of rig.exceptions().slice(0, 5)) console.log(`${name}: ${message} (${at})`)
} finally {
  await rig.stop()
}
process.exit()
