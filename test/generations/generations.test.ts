/** Generations as clients see them: made, refused, repeated, paid for, canceled, retried and listed. */
import sharp from 'sharp'
import { beforeAll, describe, expect, test } from 'vitest'
import { makeSamplePhoto } from '../../models/photo.ts'
import { tally, times } from '../support/at-once.ts'
import {
  type AssetBody,
  type Client,
  createClient,
  type GenerationBody,
  type Page,
} from '../support/client.ts'
import { stack } from '../support/control.ts'
import { asOwner, setPlan } from '../support/database.ts'
import {
  breakModels,
  creditsOf,
  eventsOf,
  finished,
  generate,
  ledgerOf,
  newPrompt,
  submissionsOf,
} from '../support/generations.ts'
import { addMember, NOBODY, newKey, newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

let photo: Buffer
beforeAll(async () => {
  photo = await makeSamplePhoto()
})

test('makes pictures of a product photo, stores them, and charges for them', async () => {
  const { client, workspaceId } = await newTenant()
  const { body: asset } = await client.upload('mug.jpg', photo)
  const accepted = await client.post<GenerationBody>('/generations', {
    task: 'scene',
    prompt: 'Morning ritual',
    style: 'luxury',
    inputAssetIds: [asset.id],
    count: 2,
    aspectRatio: '16:9',
  })
  expect(accepted.status).toBe(202)
  expect(accepted.headers.get('location')).toBe(`/api/v1/generations/${accepted.body.id}`)
  expect(accepted.body).toMatchObject({
    status: 'queued',
    creditsReserved: 8,
    creditsCharged: 0,
    outputs: [],
  })

  const done = await finished(client, accepted.body.id)
  expect(done).toMatchObject({
    status: 'succeeded',
    progress: 100,
    attempts: 2,
    creditsCharged: 8,
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
  expect(await creditsOf(client)).toMatchObject({ granted: 50, reserved: 0, charged: 8, remaining: 42 })
  expect(await ledgerOf(done.id)).toEqual([
    { kind: 'charge', credits: 8 },
    { kind: 'reserve', credits: 8 },
  ])
})

test('makes a film, and charges for its seconds', async () => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  const job = await generate(client, {
    task: 'animate',
    durationSeconds: 6,
    aspectRatio: '9:16',
    style: 'warm',
  })
  expect(job).toMatchObject({ durationSeconds: 6, creditsReserved: 60 })
  const done = await finished(client, job.id)
  expect(done).toMatchObject({ status: 'succeeded', creditsCharged: 60, attempts: 1 })
  expect(done.outputs).toHaveLength(1)
  expect(done.outputs[0]).toMatchObject({ kind: 'video', mimeType: 'video/mp4', source: 'generation' })
  const file = Buffer.from(await (await fetch(done.outputs[0]?.url as string)).arrayBuffer())
  expect(file.toString('latin1', 4, 8)).toBe('ftyp')
  const events = await eventsOf(job.id)
  expect(events[0]).toBe('queued')
  expect(events.at(-1)).toBe('succeeded')
})

describe('a request', () => {
  test.each([
    ['neither prompt nor input', { task: 'scene' }, '/prompt'],
    ['an unknown model', { task: 'scene', prompt: 'x', model: 'nope' }, '/model'],
    ['too many outputs', { task: 'scene', prompt: 'x', count: 5 }, '/count'],
    ['no outputs', { task: 'scene', prompt: 'x', count: 0 }, '/count'],
    ['an unknown style', { task: 'scene', prompt: 'x', style: 'baroque' }, '/style'],
    ['an unknown task', { task: 'sing', prompt: 'x' }, '/task'],
    ['a seed that the model does not take', { task: 'scene', prompt: 'x', seed: 1 }, '/seed'],
    [
      'a ratio that the model does not make',
      { task: 'animate', prompt: 'x', aspectRatio: '1:1' },
      '/aspectRatio',
    ],
    [
      'words for a model that takes none',
      { task: 'upscale', prompt: 'x', inputAssetIds: [NOBODY] },
      '/prompt',
    ],
    ['no photo for a task that needs one', { task: 'cutout', prompt: 'x' }, '/inputAssetIds'],
    ['nothing for a task that needs a photo', { task: 'cutout' }, '/inputAssetIds'],
    ['neither prompt nor photo for a film', { task: 'animate' }, '/prompt'],
    ['lettering of a model that can not', { task: 'animate', prompt: 'x', text: 'Sale' }, '/text'],
    ['less than it costs', { task: 'scene', prompt: 'x', count: 2, maxCredits: 7 }, '/maxCredits'],
    [
      'an input that is not an id',
      { task: 'scene', inputAssetIds: [stack.api, stack.api] },
      '/inputAssetIds/0',
    ],
    ['the same input twice', { task: 'scene', inputAssetIds: [NOBODY, NOBODY] }, '/inputAssetIds'],
    ['a fractional seed', { task: 'scene', prompt: 'x', seed: 1.5 }, '/seed'],
    ['a duration for a picture', { task: 'scene', prompt: 'x', durationSeconds: 3 }, '/durationSeconds'],
    ['a long video', { task: 'animate', prompt: 'x', durationSeconds: 7 }, '/durationSeconds'],
    ['two videos', { task: 'animate', prompt: 'x', count: 2 }, '/count'],
    ['a model of another task', { task: 'animate', prompt: 'x', model: 'studio-scene' }, '/model'],
  ])('answers 422 to %s, and reserves no credits', async (_, input, pointer) => {
    const { client } = await newTenant()
    const answer = await client.post<{ errors: { pointer: string }[] }>('/generations', input)
    expect(answer.status).toBe(422)
    expect(answer.body.errors[0]?.pointer).toBe(pointer)
    expect(await creditsOf(client)).toMatchObject({ remaining: 50 })
  })

  test.each([
    ...['{"task":"sing"}', '{"count":0}', '{"count":1.5}', '{"count":"2"}', '{"seed":-1}'],
    ...['{"seed":2147483648}', '{"inputAssetIds":{}}', `{"inputAssetIds":["${NOBODY}","${NOBODY}"]}`],
    `{"inputAssetIds":[${'"x",'.repeat(9_999)}"x"]}`,
  ])('answers 422 to a generation with %.40s', async (json) => {
    const { client } = await newTenant()
    const change = JSON.parse(json) as object
    const answer = await client.post('/generations', { task: 'scene', prompt: 'a', ...change })
    expect(answer).toMatchObject({
      status: 422,
      body: { errors: [{ pointer: `/${Object.keys(change)[0]}` }] },
    })
  })

  test("answers 404 for inputs that don't exist, are no images, or are another tenant's", async () => {
    const { client } = await newTenant()
    const other = await newTenant()
    const { body: theirs } = await other.client.upload('mug.jpg', photo)
    const { body: text } = await client.upload('notes.txt', 'just text')
    for (const id of [theirs.id, text.id, crypto.randomUUID()]) {
      const answer = await client.post('/generations', { task: 'scene', inputAssetIds: [id] })
      const errors = [{ pointer: '/inputAssetIds' }]
      expect(answer).toMatchObject({ status: 404, body: { code: 'not_found', errors } })
    }
    expect((await client.get<{ data: unknown[] }>('/generations')).body.data).toEqual([])
  })

  test('answers 402 in a workspace whose storage is full, and reserves no credits', async () => {
    const { client, workspaceId } = await newTenant()
    const { body: file } = await client.upload('mug.jpg', photo)
    const { body: filler } = await client.upload('notes.txt', 'just text')
    const fill = (bytes: number) =>
      asOwner('update assets set size = $3 where workspace_id = $1 and id = $2', [
        workspaceId,
        filler.id,
        bytes - file.size,
      ])
    await fill(1024 ** 3)
    const refused = () => client.post('/generations', { task: 'scene', inputAssetIds: [file.id] })
    expect(await refused()).toMatchObject({ status: 402, body: { code: 'storage_quota_exceeded' } })
    expect(await creditsOf(client)).toMatchObject({ reserved: 0, remaining: 50 })
    await fill(1024 ** 3 - 1)
    expect((await refused()).status).toBe(202)
  })

  test('twenty requests at once with one idempotency key make one job and one reservation', async () => {
    const { client } = await newTenant()
    const prompt = newPrompt()
    const send = (body: object) =>
      client.post<GenerationBody>('/generations', body, { 'idempotency-key': 'order-1' })
    const answers = await times(20, () => send({ task: 'scene', prompt }))
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
    expect(answers.every(({ status }) => status === 202)).toBe(true)
    expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(19)
    await finished(client, answers[0]?.body.id as string)
    expect(await submissionsOf(prompt)).toHaveLength(1)
    expect(await creditsOf(client)).toMatchObject({ charged: 4, reserved: 0, remaining: 46 })

    // The first answer again, and not what has become of the job; the order of the fields means nothing.
    const late = await send({ prompt, task: 'scene' })
    expect(late.headers.get('idempotent-replayed')).toBe('true')
    expect(late.headers.get('location')).toBe(`/api/v1/generations/${answers[0]?.body.id}`)
    const first = answers.find(({ headers }) => headers.get('idempotent-replayed') === null)
    expect(first?.body).toMatchObject({ status: 'queued', outputs: [] })
    for (const { status, body } of [...answers, late])
      expect({ status, body }).toEqual({ status: 202, body: first?.body })
    expect(await send({ task: 'scene', prompt: 'another' })).toMatchObject({
      status: 422,
      body: { code: 'idempotency_key_reused' },
    })
  })

  test("an idempotency key is its caller's own: colleagues and keys may use the same", async () => {
    const { client, workspaceId } = await newTenant()
    const colleague = await addMember(workspaceId, 'member')
    const { key } = await newKey(client, ['generation.create'])
    const callers = [client, colleague.client, createClient({ token: key })]
    const send = (by: Client) =>
      by.post<GenerationBody>('/generations', { task: 'scene', prompt: 'x' }, { 'idempotency-key': 'same' })
    const first = await Promise.all(callers.map(send))
    expect(first.map(({ status }) => status)).toEqual([202, 202, 202])
    expect(new Set(first.map(({ body }) => body.id)).size).toBe(3)
    const second = await Promise.all(callers.map(send))
    expect(second.map(({ body }) => body)).toEqual(first.map(({ body }) => body))
  })

  test('what is sent counts and not what it defaults to, so that a new default changes no replay', async () => {
    const { client } = await newTenant()
    const send = (body: object) => client.post('/generations', body, { 'idempotency-key': 'a' })
    expect((await send({ task: 'scene', prompt: 'x' })).status).toBe(202)
    expect(await send({ task: 'scene', prompt: 'x', count: 1 })).toMatchObject({
      status: 422,
      body: { code: 'idempotency_key_reused' },
    })
  })

  test('the same idempotency key in another workspace makes another job', async () => {
    const [one, two] = [await newTenant(), await newTenant()]
    const send = ({ client }: typeof one) =>
      client.post<GenerationBody>(
        '/generations',
        { task: 'scene', prompt: 'x' },
        { 'idempotency-key': 'same' },
      )
    const [first, second] = [await send(one), await send(two)]
    expect(first.body.id).not.toBe(second.body.id)
  })

  test('of forty jobs at once on fifty credits exactly twelve are accepted', async () => {
    const { client, workspaceId } = await newTenant()
    const answers = await times(40, () =>
      client.post<GenerationBody>('/generations', { task: 'scene', prompt: 'x' }),
    )
    expect(tally(answers)).toEqual({ 202: 12, 402: 28 })
    const accepted = answers.filter(({ status }) => status === 202)
    await Promise.all(accepted.map(({ body }) => finished(client, body.id)))
    expect(await creditsOf(client)).toMatchObject({ charged: 48, reserved: 0, remaining: 2 })
    const [row] = await asOwner('select count(*)::int as jobs from generations where workspace_id = $1', [
      workspaceId,
    ])
    expect(row).toEqual({ jobs: 12 })
  })
})

describe('an end', () => {
  test('cancels a job: refunds it, tells the provider, and answers the same when repeated', async () => {
    const { client } = await newTenant()
    const prompt = newPrompt()
    await breakModels(prompt, { kind: 'slow', times: 1, delayMs: 20_000 })
    const job = await generate(client, { prompt })
    await waitFor('the provider has it', async () => (await submissionsOf(prompt)).length === 1)
    const canceled = await client.post<GenerationBody>(`/generations/${job.id}/cancel`)
    expect(canceled).toMatchObject({ status: 200, body: { status: 'canceled', creditsCharged: 0 } })
    expect(await client.post(`/generations/${job.id}/cancel`)).toMatchObject({
      status: 200,
      body: { status: 'canceled' },
    })
    await waitFor('the provider knows', async () => (await submissionsOf(prompt))[0]?.status === 'canceled')
    expect(await creditsOf(client)).toMatchObject({ reserved: 0, charged: 0, remaining: 50 })
    expect(await ledgerOf(job.id)).toEqual([
      { kind: 'refund', credits: 4 },
      { kind: 'reserve', credits: 4 },
    ])
  })

  test('answers 409 to the cancellation of a finished job', async () => {
    const { client } = await newTenant()
    const job = await generate(client)
    await finished(client, job.id)
    expect(await client.post(`/generations/${job.id}/cancel`)).toMatchObject({
      status: 409,
      body: { code: 'already_finished' },
    })
  })

  test('a cancellation that races with success leaves one end, and a ledger that agrees with it', async () => {
    const { client } = await newTenant()
    for (let round = 0; round < 5; round++) {
      const job = await generate(client)
      await waitFor(
        'it runs',
        async () => (await client.get(`/generations/${job.id}`)).body.status !== 'queued',
      )
      await times(3, () => client.post(`/generations/${job.id}/cancel`))
      const { status } = await finished(client, job.id)
      const kinds = (await ledgerOf(job.id)).map(({ kind }) => kind)
      expect(kinds).toEqual([status === 'succeeded' ? 'charge' : 'refund', 'reserve'])
    }
  })

  test('a retry costs what the model costs today, and is refused once the model is gone', async () => {
    const { client } = await newTenant()
    const { id } = await generate(client)
    await client.post(`/generations/${id}/cancel`)
    await asOwner('update generations set credits_reserved = 1, deadline = 1 where id = $1', [id])
    const again = () => client.post<GenerationBody>(`/generations/${id}/retry`)
    const retried = await again()
    expect(retried).toMatchObject({ status: 202, body: { creditsReserved: 4, retryOf: id } })
    const [row] = await asOwner('select deadline from generations where id = $1', [retried.body.id])
    expect(row).toEqual({ deadline: 600 })
    await asOwner(`update generations set model = 'retired' where id = $1`, [id])
    expect(await again()).toMatchObject({ status: 409, body: { code: 'not_retryable' } })
  })

  test('a retry is refused once a photo of it is deleted, or is more than its model takes today', async () => {
    const { client } = await newTenant()
    const { body: asset } = await client.upload('mug.jpg', photo)
    const { id } = await generate(client, { inputAssetIds: [asset.id] })
    await client.post(`/generations/${id}/cancel`)
    const again = (key: string) =>
      client.post<GenerationBody>(`/generations/${id}/retry`, undefined, { 'idempotency-key': key })
    const first = await again('before')
    expect(first.status).toBe(202)
    await asOwner('update assets set size = 1e9 where id = $1', [asset.id])
    expect(await again('large')).toMatchObject({ status: 409, body: { code: 'not_retryable' } })
    expect((await client.delete(`/assets/${asset.id}`)).status).toBe(204)
    const refused = await again('after')
    expect(refused).toMatchObject({
      status: 409,
      body: { code: 'not_retryable', detail: expect.stringContaining('photo of it has been deleted') },
    })
    expect(refused.body).not.toHaveProperty('errors')
    expect((await again('before')).body).toEqual(first.body)
    expect(await client.post(`/generations/${NOBODY}/retry`)).toMatchObject({ status: 404 })
  })

  test('a failed job is retried once for each idempotency key; answers 409 for one that succeeded', async () => {
    const { client } = await newTenant()
    const prompt = newPrompt()
    await breakModels(prompt, { kind: 'failed_prediction', times: 1, error: 'NSFW content detected' })
    const job = await generate(client, { prompt, style: 'tech' })
    expect(await finished(client, job.id)).toMatchObject({ status: 'failed' })
    const again = () =>
      client.post<GenerationBody>(`/generations/${job.id}/retry`, undefined, { 'idempotency-key': 'r1' })
    const [first, second] = await Promise.all([again(), again()])
    expect(first).toMatchObject({ status: 202, body: { retryOf: job.id, prompt, style: 'tech' } })
    expect(second.body).toEqual(first.body)
    expect(await finished(client, first.body.id)).toMatchObject({ status: 'succeeded' })
    expect((await again()).body).toEqual(first.body)
    const inCapitals = `/generations/${job.id.toUpperCase()}/retry`
    expect((await client.post(inCapitals, undefined, { 'idempotency-key': 'r1' })).body).toEqual(first.body)
    const refused = await client.post(`/generations/${first.body.id}/retry`)
    expect(refused).toMatchObject({ status: 409, body: { code: 'not_retryable' } })
    expect(await creditsOf(client)).toMatchObject({ charged: 4, reserved: 0 })
  })
})

test('lists by status, page by page, newest first', async () => {
  const { client } = await newTenant()
  const ids: string[] = []
  for (let i = 0; i < 3; i++) {
    ids.unshift((await generate(client, { prompt: `${i}` })).id)
  }
  for (const id of ids) await finished(client, id)
  const { body: first } = await client.get<Page<GenerationBody>>('/generations?limit=2&status=succeeded')
  const { body: second } = await client.get<Page<GenerationBody>>(
    `/generations?limit=2&cursor=${first.nextCursor}`,
  )
  expect([...first.data, ...second.data].map(({ id }) => id)).toEqual(ids)
  expect(first.data[0]?.outputs).toHaveLength(1)
  expect(second.nextCursor).toBeNull()
  expect((await client.get<Page<GenerationBody>>('/generations?status=failed')).body.data).toEqual([])
})

test('answers 403 to a viewer who creates or cancels, and 200 to one who reads', async () => {
  const { client, workspaceId } = await newTenant()
  const viewer = await addMember(workspaceId, 'viewer')
  const job = await generate(client)
  expect((await viewer.client.get(`/generations/${job.id}`)).status).toBe(200)
  expect((await viewer.client.post(`/generations/${job.id}/cancel`)).status).toBe(403)
  expect((await viewer.client.post('/generations', { task: 'scene', prompt: 'x' })).status).toBe(403)
})
