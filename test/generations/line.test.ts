/** The line of a workspace's jobs: how long it may be, and how far a place in it is counted. */
import { expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import type { Client, GenerationBody, Page } from '../support/client.ts'
import { asOwner, setPlan } from '../support/database.ts'
import { newTenant } from '../support/tenants.ts'

/** A workspace on `pro` all of whose places are taken, with so many in line: nobody works on any of them. */
const newLine = async (length: number) => {
  const tenant = await newTenant()
  await setPlan(tenant.workspaceId, 'pro')
  await asOwner(
    `insert into generations (workspace_id, id, task, kind, status, model, prompt, count, input_asset_ids,
       deadline, deadline_at, credits_reserved, next_step_at)
     select $1, app.uuid_v7(), 'scene', 'image', case when n <= 8 then 'running' else 'queued' end, 'studio-scene', 'x', 1,
       '{}', 600, now() + interval '1 day', 5, now() + interval '1 day'
       from generate_series(1, 8 + $2::int) n`,
    [tenant.workspaceId, length],
  )
  return tenant
}

const ask = (client: Client, key?: string) =>
  client.post<GenerationBody>(
    '/generations',
    { task: 'scene', prompt: 'x' },
    key ? { 'idempotency-key': key } : {},
  )

test('a full line refuses further jobs, also those at once, but repeats an earlier answer', async () => {
  const { client } = await newLine(997)
  const accepted = await ask(client, 'before')
  expect(accepted).toMatchObject({ status: 202, body: { queuePosition: 997 } })
  expect(tally(await times(6, () => ask(client)))).toEqual({ 202: 2, 402: 4 })
  expect(await ask(client)).toMatchObject({ status: 402, body: { code: 'plan_limit_reached' } })
  expect(await ask(client, 'before')).toMatchObject({ status: 202, body: accepted.body })
  expect((await client.post(`/generations/${accepted.body.id}/cancel`)).status).toBe(200)
  expect((await client.post(`/generations/${accepted.body.id}/retry`)).status).toBe(202)
  expect((await client.post(`/generations/${accepted.body.id}/retry`)).body).toMatchObject({
    code: 'plan_limit_reached',
  })
})

test('a place in line is counted to a thousand', async () => {
  const { client, workspaceId } = await newLine(1003)
  const { body } = await client.get<Page<GenerationBody>>('/generations?limit=5')
  expect(body.data.map(({ queuePosition }) => queuePosition)).toEqual([1000, 1000, 1000, 999, 998])
  const line = await asOwner<{ id: string }>(
    `select id from generations where workspace_id = $1 and status = 'queued' order by id`,
    [workspaceId],
  )
  for (const place of [0, 1, 999, 1002]) {
    const { body: job } = await client.get<GenerationBody>(`/generations/${line[place]?.id}`)
    expect(job.queuePosition).toBe(Math.min(place, 1000))
  }
})
