/** The engine behind generations: kinds, providers, fair shares, another try. */
import { expect, test } from 'vitest'
import {
  asOwner,
  control,
  finished,
  type GenerationBody,
  newTenant,
  stack,
  waitFor,
} from '../support/client.ts'

type Tenant = Awaited<ReturnType<typeof newTenant>>

const breakModels = (fault: object) =>
  fetch(`${stack.models}/faults`, { method: 'POST', body: JSON.stringify(fault) })

const generate = async ({ client }: Tenant, input: object = {}) => {
  const { status, body } = await client.post<GenerationBody>('/generations', {
    kind: 'image',
    prompt: 'x',
    ...input,
  })
  expect(status).toBe(202)
  return body
}

const eventsOf = async (id: string) =>
  (
    await asOwner<{ type: string }>(
      'select type from generation_events where generation_id = $1 order by sequence',
      [id],
    )
  ).map(({ type }) => type)

test('a video is filmed, step by step, and costs 20', async () => {
  const tenant = await newTenant()
  const job = await generate(tenant, { kind: 'video', durationSeconds: 2, aspectRatio: '1:1', style: 'warm' })
  expect(job).toMatchObject({ durationSeconds: 2, creditsReserved: 20 })
  const done = await finished(tenant.client, job.id)
  expect(done).toMatchObject({ status: 'succeeded', creditsCharged: 20, attempts: 1 })
  expect(done.outputs).toHaveLength(1)
  expect(done.outputs[0]).toMatchObject({ kind: 'video', mimeType: 'video/mp4', source: 'generation' })
  const file = Buffer.from(await (await fetch(done.outputs[0]?.url as string)).arrayBuffer())
  expect(file.toString('latin1', 4, 8)).toBe('ftyp')
  const events = await eventsOf(job.id)
  expect(events[0]).toBe('queued')
  expect(events.at(-1)).toBe('succeeded')
})

test.each([
  ['a duration for a picture', { durationSeconds: 3 }, '/durationSeconds'],
  ['a long video', { kind: 'video', durationSeconds: 11 }, '/durationSeconds'],
  ['two videos', { kind: 'video', count: 2 }, '/count'],
  ['a model of the other kind', { kind: 'video', model: 'product-studio' }, '/model'],
])('refuses %s', async (_, input, pointer) => {
  const { client } = await newTenant()
  const answer = await client.post<{ errors: { pointer: string }[] }>('/generations', {
    kind: 'image',
    prompt: 'x',
    ...input,
  })
  expect(answer.status).toBe(422)
  expect(answer.body.errors[0]?.pointer).toBe(pointer)
})

test('a provider that fails is passed over, with an event and one charge', async () => {
  const tenant = await newTenant()
  const prompt = crypto.randomUUID()
  await breakModels({ kind: 'server_error', times: 1, provider: 'replicate', match: prompt })
  const job = await generate(tenant, { prompt })
  expect(await finished(tenant.client, job.id)).toMatchObject({
    status: 'succeeded',
    attempts: 2,
    creditsCharged: 5,
  })
  expect(await eventsOf(job.id)).toEqual(['queued', 'running', 'provider.switched', 'succeeded'])
})

test('inputs reach the provider that takes over', async () => {
  const tenant = await newTenant()
  const { makeSamplePhoto } = await import('../../dev/photo.ts')
  const { body: asset } = await tenant.client.upload('mug.jpg', await makeSamplePhoto())
  const prompt = crypto.randomUUID()
  await breakModels({ kind: 'server_error', times: 1, provider: 'replicate', match: prompt })
  const job = await generate(tenant, { prompt, inputAssetIds: [asset.id] })
  expect(await finished(tenant.client, job.id)).toMatchObject({ status: 'succeeded', attempts: 2 })
})

test('a provider that hangs is given up on', async () => {
  const tenant = await newTenant()
  const prompt = crypto.randomUUID()
  await breakModels({ kind: 'hang', times: 1, provider: 'replicate', match: prompt })
  const job = await generate(tenant, { prompt })
  expect(await finished(tenant.client, job.id)).toMatchObject({ status: 'succeeded', attempts: 2 })
}, 60_000)

test('three of four outputs are charged in proportion', async () => {
  const tenant = await newTenant()
  const prompt = crypto.randomUUID()
  await breakModels({ kind: 'partial_output', times: 1, match: prompt })
  const job = await generate(tenant, { prompt, count: 4 })
  const done = await finished(tenant.client, job.id)
  expect(done).toMatchObject({ status: 'succeeded', creditsCharged: 4 })
  expect(done.outputs).toHaveLength(3)
})

test('a circuit breaker opens after repeated failures, and a success closes it', async () => {
  const name = crypto.randomUUID()
  const admits = (reports: boolean[]) => control<boolean>('breaker', { name, reports })
  expect(await admits([false, false, false, false])).toBe(true)
  expect(await admits([false])).toBe(false)
  expect(await admits([])).toBe(false)
  expect(await admits([true])).toBe(true)
})

test('what failed or was canceled can be tried again, once a key', async () => {
  const tenant = await newTenant()
  const { client } = tenant
  const prompt = crypto.randomUUID()
  await breakModels({ kind: 'failed_prediction', times: 1, match: prompt })
  const job = await generate(tenant, { prompt, style: 'tech', seed: 4 })
  expect(await finished(client, job.id)).toMatchObject({ status: 'failed' })
  const again = () =>
    client.post<GenerationBody>(`/generations/${job.id}/retry`, undefined, { 'idempotency-key': 'r1' })
  const [first, second] = await Promise.all([again(), again()])
  expect(first).toMatchObject({ status: 202, body: { retryOf: job.id, prompt, style: 'tech', seed: 4 } })
  expect(second.body.id).toBe(first.body.id)
  expect(await finished(client, first.body.id)).toMatchObject({ status: 'succeeded' })
  const refused = await client.post(`/generations/${first.body.id}/retry`)
  expect(refused).toMatchObject({ status: 409, body: { code: 'not_retryable' } })
  expect((await client.get<{ credits: object }>('/usage')).body.credits).toMatchObject({
    charged: 5,
    reserved: 0,
  })
})

test('a workspace runs as many as its plan allows; the others wait in line, and nobody else does', async () => {
  const [busy, other] = [await newTenant(), await newTenant()]
  const prompt = crypto.randomUUID()
  await breakModels({ kind: 'slow', times: 2, delayMs: 6000, match: prompt })
  const jobs: GenerationBody[] = []
  for (let i = 0; i < 5; i++) jobs.push(await generate(busy, { prompt }))
  const list = async () => {
    const { body } = await busy.client.get<{ data: GenerationBody[] }>('/generations')
    return body.data.reverse()
  }
  await waitFor(
    'two run',
    async () => (await list()).filter(({ status }) => status === 'running').length === 2,
  )
  expect((await list()).map(({ queuePosition }) => queuePosition)).toEqual([null, null, 0, 1, 2])
  const single = await generate(other)
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
