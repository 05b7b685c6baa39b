/** The local model server: Replicate's API through its official client, webhooks, refusals. */
import { parseProgressFromLogs } from 'replicate'
import sharp from 'sharp'
import { Webhook } from 'standardwebhooks'
import { describe, expect, test } from 'vitest'
import { listen, model, remover, token, useModels, webhookSecret } from './models.ts'

const models = useModels()

describe('predictions', () => {
  test('wait for the result and serve it with its type and length', async () => {
    const prediction = await models.run(remover, { image: models.smallPhotoUrl })
    expect(prediction).toMatchObject({ status: 'succeeded', model: remover, error: null })
    expect(prediction.id).toMatch(/^[a-z0-9]{26}$/)
    expect(prediction.metrics?.predict_time).toBeGreaterThan(0)
    expect(parseProgressFromLogs(prediction)).toEqual({ percentage: 1, current: 1, total: 1 })
    const response = await fetch(prediction.output)
    const bytes = await response.bytes()
    expect(response.headers.get('content-type')).toBe('image/png')
    expect(response.headers.get('content-length')).toBe(String(bytes.length))
    expect(await sharp(bytes).metadata()).toMatchObject({ format: 'png', width: 400, height: 400 })
  })

  test('start at once without a wait and are found by polling and in the list', async () => {
    const started = await models.client.predictions.create({
      version: model,
      input: { prompt: 'Polled' },
    })
    expect(started).toMatchObject({ status: 'starting', output: null, model, version: 'hidden' })
    expect((await models.poll(started.id)).status).toBe('succeeded')
    const { results } = await models.client.predictions.list()
    expect(results.map(({ id }) => id)).toContain(started.id)
  })

  test('that outlast the wait are shown as starting', async () => {
    await models.fault({ kind: 'slow', times: 1, delayMs: 60_000, match: 'outlast' })
    const prediction = await models.client.predictions.create({
      version: model,
      input: { prompt: 'outlast' },
      wait: 1,
    })
    expect(prediction.status).toBe('starting')
    await models.client.predictions.cancel(prediction.id)
  })

  test('can be canceled while they run and then deliver nothing', async () => {
    await models.fault({ kind: 'slow', times: 1, delayMs: 60_000, match: 'cancel me' })
    const { id } = await models.client.predictions.create({ version: model, input: { prompt: 'cancel me' } })
    await expect.poll(async () => (await models.client.predictions.get(id)).status).toBe('processing')
    expect((await models.client.predictions.cancel(id)).status).toBe('canceled')
    expect(await models.client.predictions.get(id)).toMatchObject({ status: 'canceled', output: null })
    expect((await fetch(`${models.server.origin}/outputs/${id}/0.webp`)).status).toBe(404)
  })

  test('end a wait when they are canceled, and not a second time', async () => {
    await models.fault({ kind: 'slow', times: 1, delayMs: 60_000, match: 'waited for' })
    const waiting = models.generate({ prompt: 'waited for' })
    const find = async () => {
      const { results } = await models.client.predictions.list()
      return results.find(({ input }) => 'prompt' in input && input.prompt === 'waited for')?.id
    }
    await expect.poll(find).toBeDefined()
    await models.client.predictions.cancel((await find()) ?? '')
    const canceled = await waiting
    expect(canceled.status).toBe('canceled')
    expect(await models.client.predictions.cancel(canceled.id)).toEqual(canceled)
  })

  test('run in parallel, each with its own result', async () => {
    const prompts = ['one', 'two', 'three', 'four', 'five', 'six']
    const all = await Promise.all(prompts.map((prompt) => models.generate({ prompt, aspect_ratio: '16:9' })))
    expect(all.map(({ status }) => status)).toEqual(prompts.map(() => 'succeeded'))
    expect(new Set(all.flatMap(({ output }) => output)).size).toBe(prompts.length)
  })
})

describe('webhooks', () => {
  test('are signed, filtered and sent again after a failure', async () => {
    const received: { id: unknown; prediction: unknown }[] = []
    const verifier = new Webhook(webhookSecret)
    const webhook = await listen(({ headers }, body) => {
      const prediction = verifier.verify(body, headers as Record<string, string>)
      received.push({ id: headers['webhook-id'], prediction })
      return received.length === 1 ? 500 : 204
    })
    const { id } = await models.client.predictions.create({
      version: model,
      input: { prompt: 'Hooked' },
      webhook,
      webhook_events_filter: ['completed'],
    })
    await expect.poll(() => received.length, { timeout: 5000 }).toBe(2)
    expect(received[1]).toEqual(received[0])
    expect(received[0]?.prediction).toEqual(await models.client.predictions.get(id))
  })

  test('tell of the start, the logs, the output and the end when asked to', async () => {
    const received: string[] = []
    const webhook = await listen((_request, body) => {
      received.push(JSON.parse(body).status)
      return 200
    })
    await models.client.predictions.create({
      version: remover,
      input: { image: models.smallPhotoUrl },
      webhook,
      webhook_events_filter: ['start', 'logs', 'output', 'completed'],
    })
    await expect.poll(() => received, { timeout: 5000 }).toContain('succeeded')
    const told = received.filter((status) => status === 'processing').length
    expect(told, 'the start, the logs at least once, the output').toBeGreaterThanOrEqual(3)
  })

  test('share their secret', async () => {
    expect(await models.client.webhooks.default.secret.get()).toEqual({ key: webhookSecret })
  })
})

describe('refusals', () => {
  test('of a missing or wrong token', async () => {
    for (const authorization of ['', 'Bearer wrong', token]) {
      const response = await models.post('/predictions', '{}', { authorization })
      expect(response.status).toBe(401)
      expect(await response.json()).toMatchObject({ title: 'Unauthenticated', status: 401 })
    }
    const listed = await fetch(`${models.server.url}/predictions`, {
      headers: { authorization: `Token ${token}` },
    })
    expect(listed.status).toBe(200)
  })

  test.each([
    ['version', { input: {} }],
    ['input', { version: model }],
    ['input.num_outputs', { version: model, input: { prompt: 'x', num_outputs: 5 } }],
    ['input.image', { version: remover, input: { image: 'file:///etc/passwd' } }],
    ['input.seed', { version: model, input: { prompt: 'x', seed: 1.5 } }],
    ['webhook', { version: model, input: { prompt: 'x' }, webhook: 'nowhere' }],
    ['webhook_events_filter.0', { version: model, input: { prompt: 'x' }, webhook_events_filter: ['all'] }],
  ])('of a bad %s', async (field, body) => {
    const response = await models.post('/predictions', JSON.stringify(body))
    expect(response.status).toBe(422)
    expect(await response.json()).toMatchObject({ status: 422, invalid_fields: [{ field }] })
  })

  test('of broken JSON, unknown predictions, unknown paths and unknown faults', async () => {
    expect((await models.post('/predictions', '{"input":')).status).toBe(400)
    expect((await models.post('/predictions/unknown/cancel', '')).status).toBe(404)
    await expect(models.client.predictions.get('unknown')).rejects.toMatchObject({
      response: { status: 404 },
    })
    expect((await models.post('/nothing', '{}')).status).toBe(404)
    const unknown = await fetch(`${models.server.origin}/faults`, {
      method: 'POST',
      body: '{"kind":"flood"}',
    })
    expect(unknown.status).toBe(422)
  })
})
