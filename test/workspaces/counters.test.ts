/** What a workspace uses of its plan: the counters equal the sums that they stand for, whatever happens at once. */
import { expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { tamper } from '../support/audit.ts'
import { asOwner, setPlan } from '../support/database.ts'
import { finished, generate } from '../support/generations.ts'
import { newTenant, type Tenant } from '../support/tenants.ts'

const isWrong = async ({ workspaceId }: Tenant) =>
  (await asOwner('select from app.wrong_counters() id where id = $1', [workspaceId])).length > 0

type Usage = { credits: { reserved: number; charged: number }; storage: { used: number } }
const usageOf = async ({ client }: Tenant) => (await client.get<Usage>('/usage')).body

test('uploads, deletions, jobs and cancellations at once leave them right', async () => {
  const tenant = await newTenant()
  await setPlan(tenant.workspaceId, 'pro')
  const { client } = tenant
  await Promise.all([
    times(8, async (i) => {
      const { body } = await client.upload(`${i}.txt`, 'x'.repeat(100 + i))
      if (i % 2) await client.delete(`/assets/${body.id}`)
    }),
    times(8, async (i) => {
      const { id } = await generate(client)
      if (i % 2) await client.post(`/generations/${id}/cancel`, {})
      await finished(client, id)
    }),
  ])
  expect(await isWrong(tenant)).toBe(false)
  const [sums] = await asOwner<{ stored: number; charged: number }>(
    `select (select sum(size)::int from assets where workspace_id = $1) as stored,
            (select coalesce(sum(credits_charged), 0)::int from generations where workspace_id = $1) as charged`,
    [tenant.workspaceId],
  )
  expect(await usageOf(tenant)).toMatchObject({
    credits: { reserved: 0, charged: sums?.charged },
    storage: { used: sums?.stored },
  })
  expect(sums?.stored).toBeGreaterThan(400)
}, 60_000)

test('a month begins with nothing used, and what is settled of the month before stays there', async () => {
  const tenant = await newTenant()
  const { id } = await generate(tenant.client)
  const { creditsCharged } = await finished(tenant.client, id)
  expect(await usageOf(tenant)).toMatchObject({ credits: { charged: creditsCharged } })
  await asOwner(
    `update workspace_counters set period = period - interval '1 month' where workspace_id = $1`,
    [tenant.workspaceId],
  )
  expect(await usageOf(tenant)).toMatchObject({ credits: { charged: 0, reserved: 0 } })
  // A refund of the month before, after the first reservation of this one.
  const next = await generate(tenant.client)
  const late = crypto.randomUUID()
  await tamper(`
    insert into generations (workspace_id, id, task, kind, status, model, count, input_asset_ids,
      deadline, deadline_at, credits_reserved)
    values ('${tenant.workspaceId}', '${late}', 'scene', 'image', 'failed', 'studio-scene', 1, '{}', 600, now(), 5);
    insert into credit_entries (workspace_id, generation_id, kind, credits, period)
    select workspace_id, '${late}', 'reserve', 5, period - interval '1 month' from workspace_counters
     where workspace_id = '${tenant.workspaceId}'`)
  await asOwner(
    `insert into credit_entries (workspace_id, generation_id, kind, credits, period)
     select workspace_id, generation_id, 'refund', credits, period from credit_entries where generation_id = $1`,
    [late],
  )
  await finished(tenant.client, next.id)
  expect(await usageOf(tenant)).toMatchObject({ credits: { charged: creditsCharged, reserved: 0 } })
})

test("who began before the month's turn, and waited for others of the new one, uses up that", async () => {
  const tenant = await newTenant()
  const turn = (charged: number) =>
    asOwner(
      `update workspace_counters set charged = $2, period = date_trunc('month', now() at time zone 'utc') + interval '1 month'
        where workspace_id = $1`,
      [tenant.workspaceId, charged],
    )
  await turn(50)
  const body = { task: 'scene', prompt: 'On a table' }
  expect(await tenant.client.post('/generations', body)).toMatchObject({
    status: 402,
    body: { code: 'insufficient_credits' },
  })
  await turn(0)
  const { creditsCharged } = await finished(tenant.client, (await generate(tenant.client)).id)
  expect(creditsCharged).toBeGreaterThan(0)
  expect(await isWrong(tenant)).toBe(false)
})

test('a counter that differs from its sum is found', async () => {
  const tenant = await newTenant()
  await tenant.client.upload('a.txt', 'some text')
  expect(await isWrong(tenant)).toBe(false)
  await asOwner('update workspace_counters set stored_bytes = 1 where workspace_id = $1', [
    tenant.workspaceId,
  ])
  expect(await isWrong(tenant)).toBe(true)
})

test('the quota of storage holds for uploads at once', async () => {
  const tenant = await newTenant()
  await tenant.client.upload('first.txt', 'x')
  const { body } = await tenant.client.get<{ storage: { quota: number } }>('/usage')
  // Two more files fit.
  await asOwner('update assets set size = $2 where workspace_id = $1', [
    tenant.workspaceId,
    body.storage.quota - 1000,
  ])
  const answers = await times(6, (i) => tenant.client.upload(`${i}.txt`, 'x'.repeat(400)))
  expect(tally(answers)).toEqual({ 201: 2, 402: 4 })
  expect(await isWrong(tenant)).toBe(false)
})
