/** The Worker is killed: right after it accepted a job, and while fifty run. And its first provider is left alone. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type FaultStack, startFaultStack, steps } from '../support/faults.ts'
import { waitFor } from '../support/wait-for.ts'

const JOBS = 50

let stack: FaultStack
beforeAll(async () => {
  stack = await startFaultStack()
}, 60_000)
afterAll(() => stack?.stop(), 60_000)

/** The Worker asks the database for this step, and never gets an answer: the id, or the end, dies with it. */
const reaches = (workspaceId: string, step: string) =>
  new Promise<void>((resolve) => {
    stack.onDatabaseRequest(async (body) => {
      if (!body.includes(step) || !body.includes(workspaceId)) return
      resolve()
      throw new Error('cut off')
    })
  })

test('a message that is lost with the Worker is sent again', async () => {
  const tenant = await stack.newTenant()
  const { id } = await tenant.generate()
  await stack.killWorker()
  await stack.startWorker()
  await stack.passLease(tenant.id)
  await tenant.finished(id)
  const job = await stack.checkEnd(tenant, id)
  expect(job).toMatchObject({ status: 'succeeded', creditsCharged: 4 })
  expect((await stack.predictionsOf(tenant.id)).length).toBeLessThanOrEqual(job.attempts)
}, 60_000)

test(`${JOBS} jobs succeed, each once, while the Worker is killed at random and at the worst moments`, async () => {
  const tenant = await stack.newTenant('enterprise')
  const before = await stack.submissions()
  const jobs = await Promise.all(
    Array.from({ length: JOBS }, (_, i) => tenant.generate({ count: 1 + (i % 2) })),
  )
  const open = async () =>
    (
      await stack.query(`select id from generations where workspace_id = $1 and completed_at is null`, [
        tenant.id,
      ])
    ).length
  const kills = { random: 0, keep: 0, settle: 0 }
  for (const at of ['keep', 'random', 'settle', 'keep', 'random', 'settle', 'random'] as const) {
    if ((await open()) === 0) break
    if (at === 'random') await delay(200 + Math.random() * 1300)
    else await reaches(tenant.id, steps[at])
    await stack.killWorker()
    stack.onDatabaseRequest(async () => undefined)
    kills[at]++
    await stack.startWorker()
    await stack.passLease(tenant.id)
  }
  const started = new Date()
  let last = Date.now()
  await waitFor(
    'all finish',
    async () => {
      // What was on its way to the database when the Worker died may have been committed a moment later.
      if (Date.now() - last > 3000) {
        await stack.passLease(tenant.id, started)
        last = Date.now()
      }
      return (await open()) === 0
    },
    75_000,
  )
  for (const { id, creditsReserved } of jobs) {
    const job = await stack.checkEnd(tenant, id)
    expect(job).toMatchObject({ status: 'succeeded', creditsCharged: creditsReserved })
    expect(job.outputs).toHaveLength(job.count as number)
  }
  const [sum] = await stack.query<{ attempts: number }>(
    'select sum(attempts)::int as attempts from generations where workspace_id = $1',
    [tenant.id],
  )
  const submissions = (await stack.submissions()) - before
  console.log(
    `${JOBS} jobs, kills ${JSON.stringify(kills)}: ${submissions} submissions in ${sum?.attempts} attempts`,
  )
  expect(Math.min(...Object.values(kills))).toBeGreaterThan(0)
  expect(submissions).toBeGreaterThanOrEqual(JOBS)
  expect(submissions).toBeLessThanOrEqual(sum?.attempts as number)
}, 150_000)

test('a job begins at the next provider while the first one fails, and has not switched', async () => {
  const tenant = await stack.newTenant()
  await stack.breakModels({ kind: 'server_error', times: 5, provider: 'replicate', match: tenant.id })
  for (let i = 0; i < 5; i++) await tenant.finished((await tenant.generate()).id)
  const { id } = await tenant.generate()
  await tenant.finished(id)
  expect(await stack.checkEnd(tenant, id)).toMatchObject({ status: 'succeeded', attempts: 1 })
  const events = await stack.query<{ type: string }>(
    'select type from generation_events where generation_id = $1 order by sequence',
    [id],
  )
  expect(events.map(({ type }) => type)).toEqual(['queued', 'running', 'succeeded'])
  expect(await stack.query('select provider from provider_jobs where generation_id = $1', [id])).toEqual([
    { provider: 'openai' },
  ])
}, 60_000)

test('in the end nothing is owed, orphaned or missing', () => stack.checkEverything(), 30_000)
