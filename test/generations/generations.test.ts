import sharp from 'sharp'
import { beforeAll, expect, test } from 'vitest'
import { makeSamplePhoto } from '../../dev/photo.ts'
import {
  type AssetBody,
  addMember,
  asOwner,
  control,
  finished,
  type GenerationBody,
  newTenant,
  stack,
  waitFor,
} from '../support/client.ts'

let photo: Buffer
beforeAll(async () => {
  photo = await makeSamplePhoto()
})

interface Fault {
  kind: string
  times: number
  retryAfter?: number
  delayMs?: number
  error?: string
}
/** The fault strikes only jobs whose prompt contains `match`. */
const breakModels = async (match: string, fault: Fault) => {
  const response = await fetch(`${stack.models}/faults`, {
    method: 'POST',
    body: JSON.stringify({ ...fault, match }),
  })
  expect(response.status).toBe(204)
}

const submissionsOf = async (prompt: string) => {
  const response = await fetch(`${stack.models}/v1/predictions`, {
    headers: { authorization: `Bearer ${stack.replicateToken}` },
  })
  const { results } = (await response.json()) as { results: { input: { prompt?: string }; status: string }[] }
  return results.filter(({ input }) => input.prompt === prompt)
}

const newPrompt = () => `Mug ${crypto.randomUUID()}`
const usageOf = async (client: Awaited<ReturnType<typeof newTenant>>['client']) =>
  (await client.get<{ credits: Record<string, number> }>('/usage')).body.credits
const ledgerOf = (id: string) =>
  asOwner<{ kind: string; credits: number }>(
    'select kind, credits from credit_entries where generation_id = $1 order by kind',
    [id],
  )

test('turns a product photo into pictures', async () => {
  const { client, workspaceId } = await newTenant()
  const { body: asset } = await client.upload('mug.jpg', photo)
  const accepted = await client.post<GenerationBody>('/generations', {
    kind: 'image',
    prompt: 'Morning ritual',
    style: 'luxury',
    inputAssetIds: [asset.id],
    count: 2,
    aspectRatio: '16:9',
    seed: 7,
  })
  expect(accepted.status).toBe(202)
  expect(accepted.headers.get('location')).toBe(`/api/v1/generations/${accepted.body.id}`)
  expect(accepted.body).toMatchObject({
    status: 'queued',
    creditsReserved: 5,
    creditsCharged: 0,
    outputs: [],
  })

  const done = await finished(client, accepted.body.id)
  expect(done).toMatchObject({
    status: 'succeeded',
    progress: 100,
    attempts: 1,
    creditsCharged: 5,
    workspaceId,
  })
  expect(done.outputs).toHaveLength(2)
  for (const output of done.outputs) {
    const image = sharp(Buffer.from(await (await fetch(output.url)).arrayBuffer()))
    const { width, height } = await image.metadata()
    expect({ width, height }).toEqual({ width: output.width, height: output.height })
    expect(width / height).toBeCloseTo(16 / 9, 1)
  }
  const listed = await client.get<{ data: AssetBody[] }>('/assets?source=generation')
  expect(listed.body.data.map(({ id }) => id).sort()).toEqual(done.outputs.map(({ id }) => id).sort())
  expect(await usageOf(client)).toMatchObject({ granted: 50, reserved: 0, charged: 5, remaining: 45 })
  expect(await ledgerOf(done.id)).toEqual([
    { kind: 'charge', credits: 5 },
    { kind: 'reserve', credits: 5 },
  ])
})

test.each([
  ['neither prompt nor input', { kind: 'image' }, '/prompt'],
  ['an unknown model', { kind: 'image', prompt: 'x', model: 'nope' }, '/model'],
  ['too many outputs', { kind: 'image', prompt: 'x', count: 5 }, '/count'],
  ['no outputs', { kind: 'image', prompt: 'x', count: 0 }, '/count'],
  ['an unknown style', { kind: 'image', prompt: 'x', style: 'baroque' }, '/style'],
  ['an unknown kind', { kind: 'sound', prompt: 'x' }, '/kind'],
  ['the same input twice', { kind: 'image', inputAssetIds: [stack.api, stack.api] }, '/inputAssetIds/0'],
  ['a fractional seed', { kind: 'image', prompt: 'x', seed: 1.5 }, '/seed'],
])('refuses %s', async (_, input, pointer) => {
  const { client } = await newTenant()
  const answer = await client.post<{ errors: { pointer: string }[] }>('/generations', input)
  expect(answer.status).toBe(422)
  expect(answer.body.errors[0]?.pointer).toBe(pointer)
  expect(await usageOf(client)).toMatchObject({ remaining: 50 })
})

test("refuses inputs that are missing, no image, or another tenant's", async () => {
  const { client } = await newTenant()
  const other = await newTenant()
  const { body: theirs } = await other.client.upload('mug.jpg', photo)
  const { body: text } = await client.upload('notes.txt', 'just text')
  for (const id of [theirs.id, text.id, crypto.randomUUID()]) {
    const answer = await client.post('/generations', { kind: 'image', inputAssetIds: [id] })
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } })
  }
  expect((await client.get<{ data: unknown[] }>('/generations')).body.data).toEqual([])
})

test('one idempotency key from 20 parallel requests is one job and one reservation', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  const send = (body: object) =>
    client.post<GenerationBody>('/generations', body, { 'idempotency-key': 'order-1' })
  const answers = await Promise.all(Array.from({ length: 20 }, () => send({ kind: 'image', prompt })))
  expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
  expect(answers.every(({ status }) => status === 202)).toBe(true)
  expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(19)
  await finished(client, answers[0]?.body.id as string)
  expect(await submissionsOf(prompt)).toHaveLength(1)
  expect(await usageOf(client)).toMatchObject({ charged: 5, reserved: 0, remaining: 45 })

  const late = await send({ kind: 'image', prompt })
  expect(late.body).toMatchObject({ status: 'succeeded', outputs: [{ mimeType: 'image/png' }] })
  expect(await send({ kind: 'image', prompt: 'another' })).toMatchObject({
    status: 422,
    body: { code: 'idempotency_key_reused' },
  })
})

test('the same idempotency key in another workspace is another job', async () => {
  const [one, two] = [await newTenant(), await newTenant()]
  const send = ({ client }: typeof one) =>
    client.post<GenerationBody>('/generations', { kind: 'image', prompt: 'x' }, { 'idempotency-key': 'same' })
  const [first, second] = [await send(one), await send(two)]
  expect(first.body.id).not.toBe(second.body.id)
})

test('of 40 parallel jobs on 50 credits exactly 10 are accepted', async () => {
  const { client, workspaceId } = await newTenant()
  const answers = await Promise.all(
    Array.from({ length: 40 }, () =>
      client.post<GenerationBody>('/generations', { kind: 'image', prompt: 'x' }),
    ),
  )
  const statuses = Map.groupBy(answers, ({ status }) => status)
  expect([...statuses].map(([status, group]) => [status, group.length]).sort()).toEqual([
    [202, 10],
    [402, 30],
  ])
  await Promise.all((statuses.get(202) ?? []).map(({ body }) => finished(client, body.id)))
  expect(await usageOf(client)).toMatchObject({ charged: 50, reserved: 0, remaining: 0 })
  const [row] = await asOwner('select count(*)::int as jobs from generations where workspace_id = $1', [
    workspaceId,
  ])
  expect(row).toEqual({ jobs: 10 })
})

test('cancels a job: credits back, the provider told, no outputs; twice is the same', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', times: 1, delayMs: 20_000 })
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt })
  await waitFor('the provider has it', async () => (await submissionsOf(prompt)).length === 1)
  const canceled = await client.post<GenerationBody>(`/generations/${job.id}/cancel`)
  expect(canceled).toMatchObject({ status: 200, body: { status: 'canceled', creditsCharged: 0 } })
  expect(await client.post(`/generations/${job.id}/cancel`)).toMatchObject({
    status: 200,
    body: { status: 'canceled' },
  })
  await waitFor('the provider knows', async () => (await submissionsOf(prompt))[0]?.status === 'canceled')
  expect(await usageOf(client)).toMatchObject({ reserved: 0, charged: 0, remaining: 50 })
  expect(await ledgerOf(job.id)).toEqual([
    { kind: 'refund', credits: 5 },
    { kind: 'reserve', credits: 5 },
  ])
})

test('does not cancel what has finished', async () => {
  const { client } = await newTenant()
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt: 'x' })
  await finished(client, job.id)
  expect(await client.post(`/generations/${job.id}/cancel`)).toMatchObject({
    status: 409,
    body: { code: 'already_finished' },
  })
})

test('canceling races with success: one end, and the ledger agrees with it', async () => {
  const { client } = await newTenant()
  for (let round = 0; round < 5; round++) {
    const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt: 'x' })
    await waitFor(
      'it runs',
      async () => (await client.get(`/generations/${job.id}`)).body.status !== 'queued',
    )
    await Promise.all(Array.from({ length: 3 }, () => client.post(`/generations/${job.id}/cancel`)))
    const { status } = await finished(client, job.id)
    const kinds = (await ledgerOf(job.id)).map(({ kind }) => kind)
    expect(kinds).toEqual([status === 'succeeded' ? 'charge' : 'refund', 'reserve'])
  }
})

test.each<[string, Fault, Partial<GenerationBody>, number]>([
  ['a 429, at the next provider', { kind: 'rate_limit', times: 1 }, { status: 'succeeded', attempts: 2 }, 0],
  [
    'two 500s, at the third provider',
    { kind: 'server_error', times: 2 },
    { status: 'succeeded', attempts: 3 },
    0,
  ],
  ['all providers failing once', { kind: 'server_error', times: 3 }, { status: 'succeeded', attempts: 4 }, 1],
  ['malformed JSON', { kind: 'malformed_json', times: 1 }, { status: 'succeeded', attempts: 2 }, 1],
  [
    'an output that breaks midway',
    { kind: 'broken_output', times: 1 },
    { status: 'succeeded', attempts: 1 },
    1,
  ],
  ['a failed prediction', { kind: 'failed_prediction', times: 1 }, { status: 'failed', attempts: 1 }, 1],
])('survives %s', async (_, fault, outcome, submissions) => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, fault)
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt })
  expect(await finished(client, job.id)).toMatchObject(outcome)
  expect((await submissionsOf(prompt)).length).toBe(submissions)
  expect(await usageOf(client)).toMatchObject({
    reserved: 0,
    charged: outcome.status === 'succeeded' ? 5 : 0,
  })
})

test('a safety rejection is told as one', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'failed_prediction', times: 1, error: 'NSFW content detected' })
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt })
  expect((await finished(client, job.id)).error).toMatchObject({ code: 'content_rejected', retryable: false })
})

test('outputs that never arrive are not charged', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  // Of two outputs one is missing each of the three times that both are fetched.
  await breakModels(prompt, { kind: 'missing_output', times: 1 })
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt, count: 2 })
  await waitFor('the first is missed', async () => {
    const [row] = await asOwner<{ output_attempts: number }>(
      'select output_attempts from generations where id = $1',
      [job.id],
    )
    return row?.output_attempts === 1
  })
  await asOwner('update generations set output_attempts = 2 where id = $1', [job.id])
  await breakModels(prompt, { kind: 'missing_output', times: 1 })
  const done = await finished(client, job.id)
  expect(done).toMatchObject({ status: 'succeeded', creditsCharged: 3 })
  expect(done.outputs).toHaveLength(1)
  expect(await ledgerOf(job.id)).toEqual([
    { kind: 'charge', credits: 3 },
    { kind: 'refund', credits: 2 },
    { kind: 'reserve', credits: 5 },
  ])
})

test('a job past its deadline fails and is refunded', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', times: 1, delayMs: 20_000 })
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt })
  await asOwner(
    `update generations set deadline = -1, deadline_at = now() - interval '1 second' where id = $1`,
    [job.id],
  )
  const done = await finished(client, job.id)
  expect(done).toMatchObject({ status: 'failed', error: { code: 'deadline_exceeded' }, creditsCharged: 0 })
  expect(await usageOf(client)).toMatchObject({ remaining: 50 })
})

test('messages that come ten times at once do nothing twice', async () => {
  const { client, workspaceId } = await newTenant()
  const prompt = newPrompt()
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt })
  const message = { kind: 'generation', workspaceId, subjectId: job.id }
  await control(
    'enqueue',
    Array.from({ length: 10 }, () => message),
  )
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', creditsCharged: 5 })
  await control(
    'enqueue',
    Array.from({ length: 10 }, () => message),
  )
  expect(await submissionsOf(prompt)).toHaveLength(1)
  expect((await ledgerOf(job.id)).length).toBe(2)
})

test('malformed messages, and messages about nothing, are dropped', async () => {
  const { client, workspaceId } = await newTenant()
  await control('enqueue', [
    'text',
    { kind: 'generation' },
    { kind: 'generation', workspaceId, subjectId: crypto.randomUUID() },
  ])
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt: 'x' })
  expect((await finished(client, job.id)).status).toBe('succeeded')
})

test('the sweeper sends what was committed but never dispatched, and what a dead consumer held', async () => {
  const { client, workspaceId } = await newTenant()
  const insert = async (status: string, lease: string | null) => {
    const id = crypto.randomUUID()
    await asOwner(
      `with job as (
         insert into generations (workspace_id, id, kind, status, model, prompt, aspect_ratio, count, input_asset_ids,
           output_asset_ids, deadline_at, credits_reserved, request_hash, lease_expires_at)
         values ($1, $2, 'image', $3, 'product-studio', 'x', '1:1', 1, '{}', array[gen_random_uuid()],
           now() + interval '10 minutes', 5, '', now() + $4::interval) returning *),
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
  expect(await usageOf(client)).toMatchObject({ charged: 10, reserved: 0 })
})

test('lists by status, in pages, newest first', async () => {
  const { client } = await newTenant()
  const ids: string[] = []
  for (let i = 0; i < 3; i++) {
    const { body } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt: `${i}` })
    ids.unshift(body.id)
  }
  for (const id of ids) await finished(client, id)
  type Page = { data: GenerationBody[]; nextCursor: string | null }
  const { body: first } = await client.get<Page>('/generations?limit=2&status=succeeded')
  const { body: second } = await client.get<Page>(`/generations?limit=2&cursor=${first.nextCursor}`)
  expect([...first.data, ...second.data].map(({ id }) => id)).toEqual(ids)
  expect(first.data[0]?.outputs).toHaveLength(1)
  expect(second.nextCursor).toBeNull()
  expect((await client.get<Page>('/generations?status=failed')).body.data).toEqual([])
})

test('a viewer looks and does not touch', async () => {
  const { client, workspaceId } = await newTenant()
  const viewer = await addMember(workspaceId, 'viewer')
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt: 'x' })
  expect((await viewer.client.get(`/generations/${job.id}`)).status).toBe(200)
  expect((await viewer.client.post(`/generations/${job.id}/cancel`)).status).toBe(403)
  expect((await viewer.client.post('/generations', { kind: 'image', prompt: 'x' })).status).toBe(403)
})
