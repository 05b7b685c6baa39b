/**
 * `npm run rig:measure`: what streams cost the database while jobs run, and what distance to the database and to the Durable
 * Objects costs a request.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startRig } from '../rig.ts'
import { ask, asOwner, makeTenants, percentile, type Tenant } from './tenants.ts'

const STREAMS = Number(process.env.STREAMS ?? 200)
const JOBS = 32
/** Each with one read and one POST a round. */
const CALLERS = 18
/** Seconds after which no isolate holds tokens of a caller any more. */
const CALM = 11

const rig = await startRig()
try {
  const callers = await makeTenants(rig, CALLERS)
  const [tenant] = callers
  if (!tenant) throw new Error('no tenant')
  const events = async () =>
    Number((await asOwner<{ n: string }>(rig, 'select count(*) n from generation_events'))[0]?.n)
  const generate = async (caller: Tenant = tenant) => {
    const { status, body } = await ask(rig.url, caller, 'POST', '/generations', {
      body: { task: 'scene', prompt: 'Measure' },
    })
    if (status !== 202) throw new Error(`${status} ${body}`)
    return (JSON.parse(body) as { id: string }).id
  }
  const ended = async () => {
    while ((await asOwner(rig, 'select from generations where completed_at is null')).length > 0)
      await sleep(200)
  }

  // Slow jobs, so that all streams are open before the first one ends.
  await fetch(`${rig.stack.models.origin}/faults`, {
    method: 'POST',
    body: JSON.stringify({ kind: 'slow', delayMs: 15_000, times: JOBS }),
  })
  const jobs = await Promise.all(Array.from({ length: JOBS }, () => generate()))
  const leave = new AbortController()
  const streams = Array.from({ length: STREAMS }, (_, i) =>
    ask(rig.url, tenant, 'GET', `/generations/${jobs[i % JOBS]}/events`, { signal: leave.signal }),
  )
  await sleep(5000)
  // Only a read of events asks for the last one's sequence; the fault does nothing but count.
  const reads = rig.links.database.fault({
    kind: 'slow',
    of: 'request',
    match: 'coalesce(max(',
    bytesPerSecond: 1e9,
  })
  const before = await events()
  await ended()
  await sleep(2000)
  const seen = (await events()) - before
  leave.abort()
  await Promise.all(streams)
  rig.links.database.clearFaults()
  console.log(
    `${STREAMS} streams over ${JOBS} running jobs: ${seen} events, ${reads.hits} database requests for events, ${(reads.hits / seen).toFixed(2)} an event`,
  )

  /** One request after the other, `every` caller in turn or one all the time. */
  const measure = async (request: (caller: Tenant) => Promise<unknown>, every: boolean) => {
    const times: number[] = []
    for (const caller of callers) {
      const started = performance.now()
      await request(every ? caller : tenant)
      times.push(performance.now() - started)
    }
    return `${percentile(times, 0.5).toFixed(1)} ms`
  }
  const read = (caller: Tenant) => ask(rig.url, caller, 'GET', '/assets')
  const requests = { read, 'POST /generations': generate }
  console.log('\n  p50: of a caller who asks often, and of one who has not asked for a while')
  console.log(
    `  database  objects${Object.keys(requests)
      .map((name) => name.padStart(24))
      .join('')}`,
  )
  for (const [database, objects] of [
    [0, 0],
    [20, 0],
    [20, 20],
    [20, 80],
    [80, 80],
  ] as const) {
    rig.links.database.delay(0)
    rig.links.objects.delay(0)
    // Every process has let every caller in.
    for (const worker of rig.api)
      for (const caller of callers) await ask(worker.url(), caller, 'GET', '/assets')
    rig.links.database.delay(database)
    rig.links.objects.delay(objects)
    // Accepted, and no more: the jobs would take the machine's time.
    rig.broker.pause()
    const columns: string[] = []
    for (const request of Object.values(requests)) {
      await sleep(CALM * 1000)
      const calm = await measure(request, true)
      columns.push(`${await measure(request, false)}, ${calm}`)
    }
    console.log(
      [
        `${database} ms`.padStart(10),
        `${objects} ms`.padStart(9),
        ...columns.map((text) => text.padStart(24)),
      ].join(''),
    )
  }
  rig.links.database.delay(0)
  rig.links.objects.delay(0)
  rig.broker.resume()
  await ended()
} finally {
  await rig.stop()
}
process.exit()
