/** The engine under faults: webhooks, database, storage and queue fail, and every job ends once. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FaultStack, startFaultStack, steps } from '../support/faults.ts'
import { waitFor } from '../support/wait-for.ts'

let stack: FaultStack
beforeAll(async () => {
  stack = await startFaultStack()
}, 60_000)
afterAll(() => stack?.stop(), 60_000)

type Tenant = Awaited<ReturnType<FaultStack['newTenant']>>

const isLogged = (id: string, message: string) =>
  waitFor(`"${message}" is logged`, async () =>
    stack
      .logs()
      .split('\n')
      .some((line) => line.includes(id) && line.includes(message)),
  )

const succeeds = async (tenant: Tenant, id: string, credits = 4) => {
  await tenant.finished(id)
  const job = await stack.checkEnd(tenant, id)
  expect(job).toMatchObject({ status: 'succeeded', creditsCharged: credits })
  expect((await stack.predictionsOf(tenant.id)).length).toBeLessThanOrEqual(job.attempts)
  return job
}

/** Ends in the file's last but one test: five retries with growing patience take more than a minute. */
let delayed: { tenant: Tenant; id: string; retries: ReturnType<FaultStack['failDatabase']> }

test('a job is retried while its database is unreachable', async () => {
  const tenant = await stack.newTenant()
  const retries = stack.failDatabase([steps.claim, tenant.id], 'unreachable', 6)
  const { id } = await tenant.generate()
  // The sweeper stays out of it.
  await stack.query(`update outbox set available_at = now() + interval '1 day' where subject_id = $1`, [id])
  await waitFor('the first try fails', async () => retries.done > 0)
  delayed = { tenant, id, retries }
})

describe.concurrent('webhooks', () => {
  test.for([
    ['webhook_early', 'image'],
    ['webhook_twice', 'image'],
    ['no_webhook', 'video'],
  ] as const)('a job ends once with the fault %s, %s', { timeout: 60_000 }, async ([kind, of]) => {
    const tenant = await stack.newTenant()
    await stack.breakModels({ kind, match: tenant.id })
    const { id } = await tenant.generate(of === 'video' ? { task: 'animate' } : {})
    const job = await succeeds(tenant, id, of === 'video' ? 60 : 4)
    expect(job).toMatchObject({ attempts: 1 })
    expect(job.outputs).toHaveLength(1)
  })
})

test('a submission whose answer was lost is found again by its webhook, and not made twice', async () => {
  const tenant = await stack.newTenant()
  await stack.breakModels({ kind: 'malformed_json', provider: 'replicate', match: tenant.id })
  const { id } = await tenant.generate()
  expect(await succeeds(tenant, id)).toMatchObject({ attempts: 1 })
  expect(await stack.predictionsOf(tenant.id)).toHaveLength(1)
}, 60_000)

test('a film ends when its webhook comes, without waiting for its next poll', async () => {
  const tenant = await stack.newTenant()
  const prompt = crypto.randomUUID()
  // The prediction ends between two polls, which are five seconds apart.
  const { id } = await tenant.generate({ task: 'animate', prompt })
  await succeeds(tenant, id, 60)
  const [row] = await stack.query<{ completed_at: Date; started_at: Date }>(
    'select completed_at, started_at from generations where id = $1',
    [id],
  )
  const [prediction] = await stack.predictionsOf(prompt)
  const rendered = Date.parse(prediction?.completed_at ?? '')
  expect(Number(row?.completed_at) - rendered).toBeLessThan(2000)
}, 60_000)

describe.concurrent('database', () => {
  test.for([
    { step: 'claim', kind: 'unreachable', times: 1, attempts: 1 },
    { step: 'claim', kind: 'after_commit', times: 1, attempts: 1 },
    { step: 'keep', kind: 'unreachable', times: 1, attempts: 1 },
    { step: 'keep', kind: 'after_commit', times: 1, attempts: 1 },
    { step: 'keep', kind: 'unreachable', times: 3, attempts: 1 },
    { step: 'settle', kind: 'unreachable', times: 1, attempts: 1 },
    { step: 'settle', kind: 'after_commit', times: 1, attempts: 1 },
  ] as const)(
    'a job succeeds once with the fault $kind at $step, $times times',
    { timeout: 60_000 },
    async ({ step, kind, times, attempts }) => {
      const tenant = await stack.newTenant()
      const fault = stack.failDatabase([steps[step], tenant.id], kind, times)
      const { id } = await tenant.generate()
      const job = await succeeds(tenant, id)
      expect(fault.done).toBe(times)
      expect(job.attempts).toBe(attempts)
      expect(job.outputs).toHaveLength(1)
    },
  )
})

describe.concurrent('queue', () => {
  const isHandled = (tenant: Tenant, id: string) =>
    stack.failDatabase([steps.claim, tenant.id, id], 'none', 1000)

  test('a message that is delivered ten times at once, while the job runs and a day after its end, has one effect', async () => {
    const tenant = await stack.newTenant()
    const { id } = await tenant.generate()
    const messages = isHandled(tenant, id)
    const wakeTenTimes = () => Promise.all(Array.from({ length: 10 }, () => stack.wake(tenant.id, id)))
    await wakeTenTimes()
    expect(await succeeds(tenant, id)).toMatchObject({ attempts: 1 })
    await waitFor('all are handled', async () => messages.done >= 10)
    await stack.query(
      `update generations set completed_at = completed_at - interval '1 day', deadline_at = deadline_at - interval '1 day',
        started_at = started_at - interval '1 day', created_at = created_at - interval '1 day' where id = $1`,
      [id],
    )
    const before = messages.done
    await wakeTenTimes()
    await waitFor('all are handled', async () => messages.done >= before + 10)
    expect(await succeeds(tenant, id)).toMatchObject({ attempts: 1 })
  }, 60_000)

  test('a message that arrives out of order starts no job before its turn', async () => {
    const tenant = await stack.newTenant('free')
    await stack.breakModels({ kind: 'slow', times: 2, delayMs: 9000, match: tenant.id })
    const ids: string[] = []
    for (let i = 0; i < 5; i++) ids.push((await tenant.generate()).id)
    await waitFor('two run', async () => (await tenant.get(ids[1] as string)).status === 'running')
    const last = ids[4] as string
    const message = isHandled(tenant, last)
    await stack.wake(tenant.id, last)
    await waitFor('it is handled', async () => message.done > 0)
    expect((await tenant.get(last)).status).toBe('queued')
    for (const id of ids) await tenant.finished(id)
    for (const id of ids) expect(await stack.checkEnd(tenant, id)).toMatchObject({ status: 'succeeded' })
    expect(await stack.predictionsOf(tenant.id)).toHaveLength(5)
  }, 60_000)
})

test('what is in storage is not fetched again when the end could not be written', async () => {
  const tenant = await stack.newTenant()
  // A webhook would wake the job at once.
  await stack.breakModels({ kind: 'no_webhook', match: tenant.id })
  const settling = stack.failDatabase([steps.settle, tenant.id], 'unreachable')
  const { id } = await tenant.generate({ count: 2 })
  await waitFor('the end could not be written', async () => settling.done > 0)
  await stack.breakModels({ kind: 'missing_output', times: 10, match: tenant.id })
  const job = await succeeds(tenant, id, 8)
  expect(job.outputs).toHaveLength(2)
}, 60_000)

test('cancellations that race with success leave one end each, and both ends occur', async () => {
  const tenant = await stack.newTenant('enterprise')
  const ends = { succeeded: 0, canceled: 0 }
  const waiting = new Map<string, (canceled: ReturnType<Tenant['cancel']>) => void>()
  stack.onDatabaseRequest(async (body) => {
    if (!body.includes(steps.settle) || !body.includes(tenant.id)) return
    const id = [...waiting.keys()].find((id) => body.includes(id))
    if (!id) return
    // Both are on their way to the database now.
    waiting.get(id)?.(tenant.cancel(id))
    waiting.delete(id)
    await delay(Math.random() * 60)
  })
  for (let batch = 0; batch < 3; batch++) {
    const races = Array.from({ length: 10 }, async () => {
      const race = Promise.withResolvers<Awaited<ReturnType<Tenant['cancel']>>>()
      const { id } = await tenant.generate()
      waiting.set(id, race.resolve)
      const answer = await race.promise
      const { status } = await tenant.finished(id)
      expect(answer.status).toBe(status === 'canceled' ? 200 : 409)
      await stack.checkEnd(tenant, id)
      ends[status as keyof typeof ends]++
    })
    await Promise.all(races)
  }
  console.log(`cancel against success: ${JSON.stringify(ends)}`)
  expect(ends.succeeded + ends.canceled).toBe(30)
  expect(Math.min(ends.succeeded, ends.canceled)).toBeGreaterThan(0)
}, 90_000)

test('a job waits for storage that is down while its outputs are copied, and succeeds', async () => {
  const tenant = await stack.newTenant()
  await stack.killStorage()
  const { id } = await tenant.generate({ count: 2 })
  await isLogged(id, 'output not stored')
  const storing = await waitFor('it says so', async () => {
    const now = await tenant.get(id)
    return now.phase === 'storing' && now
  })
  expect(storing).toMatchObject({ status: 'running', outputs: [] })
  await stack.startStorage()
  const job = await succeeds(tenant, id, 8)
  expect(job.attempts).toBe(2)
  expect(job.outputs).toHaveLength(2)
}, 60_000)

test('the dead letter costs it time only', async () => {
  const { tenant, id, retries } = delayed
  await tenant.finished(id, 90_000)
  expect(retries.done).toBe(6)
  expect(await stack.checkEnd(tenant, id)).toMatchObject({ status: 'succeeded', attempts: 1 })
  expect(await stack.predictionsOf(tenant.id)).toHaveLength(1)
}, 100_000)

test('in the end nothing is owed, orphaned or missing', () => stack.checkEverything(), 60_000)
