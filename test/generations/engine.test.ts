/** The engine behind generations: outputs, deadlines, repeated and lost messages, and fair shares. */
import { expect, test } from 'vitest'
import type { GenerationBody } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner, setPlan } from '../support/database.ts'
import {
  breakModels,
  creditsOf,
  finished,
  generate,
  ledgerOf,
  newPrompt,
  submissionsOf,
} from '../support/generations.ts'
import { newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

test('three of four outputs are charged in proportion', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'partial_output', times: 1 })
  const job = await generate(client, { prompt, count: 4 })
  const done = await finished(client, job.id)
  expect(done).toMatchObject({ status: 'succeeded', creditsCharged: 12 })
  expect(done.outputs).toHaveLength(3)
})

test('an output that never arrives is not charged', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  // Of two outputs one is missing each of the three times that it is fetched.
  await breakModels(prompt, { kind: 'missing_output', times: 1 })
  const job = await generate(client, { prompt, count: 2 })
  await waitFor('the first is missed', async () => {
    const rows = await asOwner(
      'update provider_jobs set fetches = 2 where generation_id = $1 and fetches = 1 and ended_at is null returning id',
      [job.id],
    )
    return rows.length === 1
  })
  await breakModels(prompt, { kind: 'missing_output', times: 1 })
  const done = await finished(client, job.id)
  expect(done).toMatchObject({ status: 'succeeded', creditsCharged: 4 })
  expect(done.outputs).toHaveLength(1)
  expect(await ledgerOf(job.id)).toEqual([
    { kind: 'charge', credits: 4 },
    { kind: 'refund', credits: 4 },
    { kind: 'reserve', credits: 8 },
  ])
})

test('a job past its deadline fails with deadline_exceeded, and is refunded', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', times: 1, delayMs: 20_000 })
  const job = await generate(client, { prompt })
  await asOwner(
    `update generations set deadline = -1, deadline_at = now() - interval '1 second' where id = $1`,
    [job.id],
  )
  const done = await finished(client, job.id)
  expect(done).toMatchObject({ status: 'failed', error: { code: 'deadline_exceeded' }, creditsCharged: 0 })
  expect(await creditsOf(client)).toMatchObject({ remaining: 50 })
})

test('a message that is delivered ten times at once, before and after the end, has one effect', async () => {
  const { client, workspaceId } = await newTenant()
  const prompt = newPrompt()
  const job = await generate(client, { prompt })
  const message = { kind: 'generation', workspaceId, subjectId: job.id }
  await control('enqueue', Array(10).fill(message))
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', creditsCharged: 4 })
  await control('enqueue', Array(10).fill(message))
  // Its message comes after theirs.
  await finished(client, (await generate(client)).id)
  expect(await submissionsOf(prompt)).toHaveLength(1)
  expect((await ledgerOf(job.id)).length).toBe(2)
})

test('jobs are handled after malformed messages and messages about nothing', async () => {
  const { client, workspaceId } = await newTenant()
  await control('enqueue', [
    'text',
    { kind: 'generation' },
    { kind: 'generation', workspaceId, subjectId: crypto.randomUUID() },
  ])
  const job = await generate(client)
  expect((await finished(client, job.id)).status).toBe('succeeded')
})

test('the sweeper resends jobs that were never dispatched, and jobs whose lease has expired', async () => {
  const { client, workspaceId } = await newTenant()
  const insert = async (status: string, lease: string | null) => {
    const id = crypto.randomUUID()
    await asOwner(
      `with job as (
         insert into generations (workspace_id, id, task, kind, status, model, prompt, count, input_asset_ids,
           deadline, deadline_at, credits_reserved, lease_expires_at)
         values ($1, $2, 'scene', 'image', $3, 'studio-scene', 'x', 1, '{}',
           600, now() + interval '10 minutes', 5, now() + $4::interval) returning *),
       reserved as (
         insert into credit_entries (workspace_id, generation_id, kind, credits, period)
         select workspace_id, id, 'reserve', 5, date_trunc('month', now() at time zone 'utc') from job)
       insert into outbox (workspace_id, kind, subject_id, available_at) select workspace_id, 'generation', id, now() from job`,
      [workspaceId, id, status, lease],
    )
    return id
  }
  const ids = [await insert('queued', null), await insert('running', '-1 second')]
  await control('cron')
  for (const id of ids) expect((await finished(client, id)).status).toBe('succeeded')
  expect(await creditsOf(client)).toMatchObject({ charged: 10, reserved: 0 })
})

test.each([
  [true, 20, 600],
  [true, 0, 60],
  [false, 20, 15],
])(
  'what waits for a call that lasts (%s), begun %i minutes ago, is sent again after %i seconds',
  async (lasting, minutes, seconds) => {
    const { client, workspaceId } = await newTenant()
    const { id } = await finished(client, (await generate(client)).id)
    await asOwner(
      `update generations set status = 'running', completed_at = null, fence = 7,
       started_at = now() - make_interval(mins => $2), deadline_at = now() + interval '1 hour' where id = $1`,
      [id, minutes],
    )
    await asOwner(
      `insert into outbox (workspace_id, kind, subject_id, available_at) values ($1, 'generation', $2, now() + interval '1 hour')`,
      [workspaceId, id],
    )
    await asOwner(`select app.release($1, $2, 7, 1, 0, $3, '{}', '[]')`, [workspaceId, id, lasting])
    const [note] = await asOwner<{ seconds: number }>(
      'select extract(epoch from available_at - now())::int as seconds from outbox where subject_id = $1',
      [id],
    )
    expect(seconds - Number(note?.seconds)).toBeLessThan(5)
    expect(note?.seconds).toBeLessThanOrEqual(seconds)
  },
)

test('a workspace runs at most as many jobs as its plan allows, the others wait in line, and other workspaces do not', async () => {
  const [busy, other] = [await newTenant(), await newTenant()]
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', times: 2, delayMs: 6000 })
  const jobs: GenerationBody[] = []
  for (let i = 0; i < 5; i++) jobs.push(await generate(busy.client, { prompt }))
  const list = async () => {
    const { body } = await busy.client.get<{ data: GenerationBody[] }>('/generations')
    return body.data.reverse()
  }
  await waitFor(
    'two run',
    async () => (await list()).filter(({ status }) => status === 'running').length === 2,
  )
  expect((await list()).map(({ queuePosition }) => queuePosition)).toEqual([null, null, 0, 1, 2])
  const single = await generate(other.client)
  expect(await finished(other.client, single.id)).toMatchObject({ status: 'succeeded' })
  expect((await list()).filter(({ status }) => status === 'running').length).toBeLessThanOrEqual(2)
  for (const job of jobs) expect(await finished(busy.client, job.id)).toMatchObject({ status: 'succeeded' })
  const [most] = await asOwner<{ at_once: number }>(
    `select max(at_once)::int as at_once from (select (select count(*) from generations b
       where b.workspace_id = a.workspace_id and b.started_at <= a.started_at and b.completed_at > a.started_at) as at_once
      from generations a where a.workspace_id = $1) counted`,
    [busy.workspaceId],
  )
  expect(most).toEqual({ at_once: 2 })
}, 60_000)

test('places that become free together are filled together', async () => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', times: 16, delayMs: 4000 })
  const jobs: GenerationBody[] = []
  for (let i = 0; i < 16; i++) jobs.push(await generate(client, { prompt }))
  for (const job of jobs) expect((await finished(client, job.id, 60_000)).status).toBe('succeeded')
  const [row] = await asOwner<{ at_once: number; spread: number }>(
    `with second as (select * from generations where workspace_id = $1 order by started_at, id offset 8)
     select extract(epoch from max(started_at) - min(started_at))::float as spread,
            (select max(n)::int from (select (select count(*) from generations b where b.workspace_id = $1
               and b.started_at <= a.started_at and b.completed_at > a.started_at) as n from second a) counted) as at_once
       from second`,
    [workspaceId],
  )
  // One after the other would be 4 seconds apart, eight times: 28 seconds.
  expect(row?.spread).toBeLessThan(24)
  expect(row?.at_once).toBeGreaterThan(4)
}, 90_000)

test('an outage of a provider costs a job time, and submissions are what its attempts count', async () => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'server_error', times: 8 })
  const job = await generate(client, { task: 'animate', prompt, durationSeconds: 6 })
  const now = await waitFor('it was submitted three times', async () => {
    const { body } = await client.get<GenerationBody>(`/generations/${job.id}`)
    return body.attempts >= 3 && body
  })
  expect(now).toMatchObject({ status: 'running', phase: 'running' })
  expect(await submissionsOf(prompt)).toEqual([])
  expect((await client.post(`/generations/${job.id}/cancel`)).status).toBe(200)
}, 60_000)

test('a job that has stood in line for too long ends there, and is refunded', async () => {
  const { client, workspaceId } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', times: 2, delayMs: 8000 })
  const jobs = [
    await generate(client, { prompt }),
    await generate(client, { prompt }),
    await generate(client),
  ]
  const last = jobs[2]?.id as string
  await asOwner(`update generations set deadline_at = now() - interval '1 second' where id = $1`, [last])
  await asOwner('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
  await control('cron')
  expect(await finished(client, last)).toMatchObject({
    status: 'failed',
    attempts: 0,
    startedAt: null,
    error: { code: 'deadline_exceeded' },
  })
  for (const job of jobs.slice(0, 2)) await finished(client, job.id)
}, 60_000)

test('no wait outlasts the deadline, whatever a provider asks for', async () => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'rate_limit', times: 3, retryAfter: 3600 })
  const job = await generate(client, { task: 'animate', prompt, durationSeconds: 6 })
  const wait = await waitFor('it waits', async () => {
    const [row] = await asOwner<{ beyond: boolean }>(
      `select next_step_at > deadline_at + interval '5 seconds' as beyond from generations
        where id = $1 and next_step_at is not null and lease_expires_at is null`,
      [job.id],
    )
    return row
  })
  expect(wait).toEqual({ beyond: false })
  await client.post(`/generations/${job.id}/cancel`)
}, 60_000)

test('past its deadline a job is looked at once more, and what is finished by then is taken', async () => {
  const { client, workspaceId } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', times: 1, delayMs: 5000 })
  const job = await generate(client, { prompt })
  await waitFor('its step is over', async () => {
    const rows = await asOwner(
      `update generations set next_step_at = now() + interval '1 hour', deadline_at = now() - interval '1 second'
        where id = $1 and next_step_at is not null returning id`,
      [job.id],
    )
    return rows.length > 0
  })
  await waitFor('the provider is done', async () => (await submissionsOf(prompt))[0]?.status === 'succeeded')
  await asOwner('update generations set next_step_at = null where id = $1', [job.id])
  await control('enqueue', [{ kind: 'generation', workspaceId, subjectId: job.id }])
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', attempts: 1 })
})
