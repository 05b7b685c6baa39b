/**
 * `npm run rig:measure`: what streams cost the database while jobs run, and what distance to the database costs a request.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startRig } from '../rig.ts'
import { ask, asOwner, makeTenants, percentile } from './tenants.ts'

const STREAMS = Number(process.env.STREAMS ?? 200)
const JOBS = 32
const REQUESTS = 60

const rig = await startRig()
try {
  const [tenant] = await makeTenants(rig, 1)
  if (!tenant) throw new Error('no tenant')
  const events = async () =>
    Number((await asOwner<{ n: string }>(rig, 'select count(*) n from generation_events'))[0]?.n)
  const generate = async () => {
    const { status, body } = await ask(rig.url, tenant, 'POST', '/generations', {
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
  const jobs = await Promise.all(Array.from({ length: JOBS }, generate))
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

  console.log('\n  distance   read p50   POST /generations p50')
  for (const distance of [0, 20, 80]) {
    rig.links.database.delay(distance)
    const times: Record<string, number[]> = { read: [], post: [] }
    for (let i = 0; i < REQUESTS; i++) {
      for (const [name, request] of [
        ['read', () => ask(rig.url, tenant, 'GET', '/assets')],
        ['post', generate],
      ] as const) {
        const started = performance.now()
        await request()
        if (i > 5) times[name]?.push(performance.now() - started)
      }
    }
    const p50 = (name: string) => `${percentile(times[name] ?? [], 0.5).toFixed(1)} ms`
    console.log(`${`${distance} ms`.padStart(10)}${p50('read').padStart(11)}${p50('post').padStart(24)}`)
  }
  rig.links.database.delay(0)
  await ended()
} finally {
  await rig.stop()
}
process.exit()
