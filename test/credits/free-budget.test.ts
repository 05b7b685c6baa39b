/** The budget that all free workspaces share, in a stack that no other test uses meanwhile. */
import { v7 as uuidv7 } from 'uuid'
import { expect, test } from 'vitest'
import type { Client } from '../support/client.ts'
import { asOwner } from '../support/database.ts'
import { finished, generate } from '../support/generations.ts'
import { newTenant } from '../support/tenants.ts'

const ask = (client: Client) => client.post('/generations', { task: 'scene', prompt: 'x' })
const readBudget = async () => {
  const [row] = await asOwner<{ daily: string; spent: string }>(
    `select daily, case when day = (now() at time zone 'utc')::date then spent else 0 end spent from free_budget`,
  )
  return { daily: Number(row?.daily), spent: Number(row?.spent) }
}

test('all free workspaces together spend a budget a day', async () => {
  const { client } = await newTenant()
  const { daily, spent } = await readBudget()
  const job = await generate(client, { count: 2 })
  await finished(client, job.id)
  expect((await readBudget()).spent).toBe(spent + job.creditsReserved)
  const paying = await newTenant()
  await asOwner('select app.set_plan($1, $2)', [paying.workspaceId, 'pro'])
  await asOwner('select app.set_free_budget($1)', [spent + job.creditsReserved + 3])
  expect(await ask(client)).toMatchObject({ status: 402, body: { code: 'free_credits_paused' } })
  expect((await ask(paying.client)).status).toBe(202)
  await asOwner('select app.set_free_budget($1)', [daily])
  expect((await ask(client)).status).toBe(202)
  const rows = await asOwner(
    `select before, after, actor_type from audit_logs where action = 'budget.update' order by id desc limit 1`,
  )
  expect(rows).toEqual([
    { before: { daily: spent + job.creditsReserved + 3 }, after: { daily }, actor_type: 'system' },
  ])
})

test('what comes back of an earlier day is given back to its workspace, and not to the budget of today', async () => {
  const { client, workspaceId } = await newTenant()
  // In line since before midnight.
  const id = uuidv7({ msecs: new Date().setUTCHours(0, 0, 0, -1) })
  await asOwner(
    `insert into generations (workspace_id, id, task, kind, status, model, prompt, count, input_asset_ids,
       deadline, deadline_at, credits_reserved, next_step_at)
     values ($1, $2, 'scene', 'image', 'queued', 'studio-scene', 'x', 1, '{}', 600, now() + interval '1 day', 5, now() + interval '1 day')`,
    [workspaceId, id],
  )
  await asOwner(
    `insert into credit_entries (workspace_id, generation_id, kind, credits, period)
     values ($1, $2, 'reserve', 5, date_trunc('month', now() at time zone 'utc'))`,
    [workspaceId, id],
  )
  const { body: own } = await client.post<{ id: string }>('/generations', { task: 'scene', prompt: 'x' })
  const { spent } = await readBudget()
  expect(spent).toBeGreaterThanOrEqual(5)
  const cancel = (one: string) => client.post(`/generations/${one}/cancel`)
  expect(await cancel(id)).toMatchObject({ status: 200, body: { status: 'canceled' } })
  expect((await readBudget()).spent).toBe(spent)
  expect((await cancel(own.id)).status).toBe(200)
  expect((await readBudget()).spent).toBe(spent - 4)
  const { body } = await client.get<{ credits: { remaining: number } }>('/usage')
  expect(body.credits.remaining).toBe(50)
})

test('what comes back is given back, and a day without a limit has none', async () => {
  const { client } = await newTenant()
  const { daily } = await readBudget()
  const { body } = await client.post<{ id: string }>('/generations', { task: 'scene', prompt: 'x' })
  const { spent } = await readBudget()
  expect((await client.post(`/generations/${body.id}/cancel`)).status).toBe(200)
  expect((await readBudget()).spent).toBe(spent - 4)
  await asOwner('select app.set_free_budget(null)')
  expect((await ask(client)).status).toBe(202)
  await asOwner('select app.set_free_budget($1)', [daily])
  await asOwner(`update free_budget set day = day - 1, spent = daily`)
  expect((await ask(client)).status).toBe(202)
})

test('who began before midnight, and comes after somebody of the next day, takes from that day', async () => {
  const { client } = await newTenant()
  const { daily } = await readBudget()
  await asOwner('update free_budget set day = day + 1, spent = daily - 5')
  const ahead = `select day > (now() at time zone 'utc')::date is_ahead, daily - spent remaining from free_budget`
  expect((await ask(client)).status).toBe(202)
  expect(await asOwner(ahead)).toEqual([{ is_ahead: true, remaining: '1' }])
  expect(await ask(client)).toMatchObject({ status: 402, body: { code: 'free_credits_paused' } })
  expect(await asOwner(ahead)).toEqual([{ is_ahead: true, remaining: '1' }])
  await asOwner(`update free_budget set day = (now() at time zone 'utc')::date, spent = 0, daily = $1`, [
    daily,
  ])
})
