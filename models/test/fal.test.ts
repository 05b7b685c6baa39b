/** fal's queue, as the local model server plays it, by plain fetch. */
import { createHash, createPublicKey, type JsonWebKey, verify } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { describe, expect, test } from 'vitest'
import { fetchOutput, listen, measureTeal, token, useModels } from './models.ts'

const models = useModels()
const banana = 'google/nano-banana-2.1/edit'
const wan = 'fal-ai/wan-25-preview/image-to-video'
const headers = { authorization: `Key ${token}` }

const call = async (url: string, init: RequestInit = {}) => {
  const response = await fetch(url, { headers, ...init })
  return { response, status: response.status, body: await response.json() }
}

const submit = (model: string, input: object, query = '') =>
  call(`${models.server.falUrl}/${model}${query}`, { method: 'POST', body: JSON.stringify(input) })

const complete = async (model: string, input: object) => {
  const { body } = await submit(model, input)
  await expect
    .poll(async () => (await call(body.status_url)).body.status, { timeout: 15_000 })
    .toBe('COMPLETED')
  return { result: await call(body.response_url), status: (await call(body.status_url)).body }
}

describe('the queue', () => {
  test('takes a request and gives its pictures at addresses of its own', async () => {
    const { status, body } = await submit(banana, {
      prompt: 'A mug in a luxury style',
      image_urls: [models.smallPhotoUrl],
      num_images: 2,
      aspect_ratio: '16:9',
      output_format: 'jpeg',
    })
    expect([status, body.status]).toEqual([200, 'IN_QUEUE'])
    for (const url of [body.status_url, body.response_url, body.cancel_url])
      expect(url).not.toContain(body.request_id)
    await expect
      .poll(async () => (await call(body.status_url)).body.status, { timeout: 15_000 })
      .toBe('COMPLETED')
    const { body: result } = await call(body.response_url)
    expect(result.images).toHaveLength(2)
    expect(result.images[0]).toMatchObject({
      content_type: 'image/jpeg',
      url: expect.stringMatching(/\.jpg$/),
    })
    expect(await measureTeal(await fetchOutput(result.images[0].url))).toBeGreaterThan(0.03)
  })

  test('tells the place in line, and has no result before the end', async () => {
    await models.fault({ kind: 'cold_boot', times: 2, delayMs: 60_000 })
    const input = { prompt: 'x', image_urls: [models.smallPhotoUrl] }
    const first = (await submit(banana, input)).body
    const second = (await submit(banana, input)).body
    expect(await call(first.status_url)).toMatchObject({
      status: 202,
      body: { status: 'IN_QUEUE', queue_position: 0 },
    })
    expect((await call(second.status_url)).body.queue_position).toBe(1)
    expect((await call(first.response_url)).status).toBe(400)
    for (const { cancel_url } of [first, second])
      expect((await call(cancel_url, { method: 'PUT' })).body).toEqual({ status: 'CANCELLATION_REQUESTED' })
    expect((await call(first.status_url)).body).toMatchObject({
      status: 'COMPLETED',
      error_type: 'request_cancelled',
    })
  })

  test('cancels nothing that has begun', async () => {
    await models.fault({ kind: 'slow', delayMs: 1_000 })
    const { body } = await submit(banana, { prompt: 'x', image_urls: [models.smallPhotoUrl] })
    await expect.poll(async () => (await call(body.status_url)).body.status).toBe('IN_PROGRESS')
    expect(await call(body.cancel_url, { method: 'PUT' })).toMatchObject({
      status: 400,
      body: { status: 'ALREADY_COMPLETED' },
    })
  })
})

describe('what is wrong with an input', () => {
  test('comes as the result, not as the answer', async () => {
    const { result, status } = await complete(wan, { prompt: 'x', image_url: ['a'], duration: 5 })
    expect(result.status).toBe(422)
    expect(result.response.headers.get('x-fal-error-type')).toBe('invalid_input')
    expect(result.body.detail).toMatchObject([
      { loc: ['body', 'image_url'], type: 'string_type' },
      { loc: ['body', 'duration'], type: 'string_type' },
    ])
    expect(status.error_type).toBe('invalid_input')
  })

  test('of a photo names the field', async () => {
    const gone = await listen(() => 404)
    const { result } = await complete(wan, { prompt: 'x', image_url: `${gone}/mug.jpg` })
    expect(result).toMatchObject({
      status: 422,
      body: { detail: [{ loc: ['body', 'image_url'], type: 'file_download_error' }] },
    })
  })

  test('of its content is a policy', async () => {
    const { result } = await complete(banana, { prompt: 'nsfw', image_urls: [models.smallPhotoUrl] })
    expect(result.body.detail).toMatchObject([{ loc: ['body', 'prompt'], type: 'content_policy_violation' }])
    await models.fault({ kind: 'failed_prediction', provider: 'fal' })
    const failed = await complete(banana, { prompt: 'x', image_urls: [models.smallPhotoUrl] })
    expect(failed.result).toMatchObject({ status: 500, body: { detail: [{ msg: 'CUDA out of memory' }] } })
  })
})

test('webhooks are signed with a key that is published, and sent again', async () => {
  const received: { headers: IncomingHttpHeaders; body: string }[] = []
  const webhook = await listen((request, body) => {
    received.push({ headers: request.headers, body })
    return received.length === 1 ? 500 : 200
  })
  const query = `?fal_webhook=${encodeURIComponent(`${webhook}/hook?a=b`)}`
  const { body } = await submit(banana, { prompt: 'x' }, query)
  await expect.poll(() => received.length, { timeout: 5000 }).toBe(2)
  const { keys } = await (await fetch(models.server.falJwksUrl)).json()
  const key = createPublicKey({ key: keys[0] as JsonWebKey, format: 'jwk' })
  for (const { headers, body: text } of received) {
    const digest = createHash('sha256').update(text).digest('hex')
    const [id, user, timestamp, signature] = ['request-id', 'user-id', 'timestamp', 'signature'].map((name) =>
      String(headers[`x-fal-webhook-${name}`]),
    )
    expect(id).toBe(body.request_id)
    expect(Math.abs(Number(timestamp) - Date.now() / 1000)).toBeLessThan(30)
    const message = Buffer.from([id, user, timestamp, digest].join('\n'))
    expect(verify(null, message, key, Buffer.from(signature ?? '', 'hex'))).toBe(true)
    expect(JSON.parse(text)).toMatchObject({
      request_id: body.request_id,
      status: 'ERROR',
      payload: { detail: [{ type: 'missing', loc: ['body', 'image_urls'] }] },
    })
  }
})

test('webhooks may come long after they were signed', async () => {
  const stamps: number[] = []
  const webhook = await listen((request) => {
    stamps.push(Number(request.headers['x-fal-webhook-timestamp'] ?? request.headers['webhook-timestamp']))
    return 200
  })
  await models.fault({ kind: 'webhook_stale', times: 2 })
  await models.fault({ kind: 'empty_output', times: 2 })
  await submit(banana, { prompt: 'x', image_urls: [models.smallPhotoUrl] }, `?fal_webhook=${webhook}`)
  await models.client.predictions.create({
    version: 'google/nano-banana',
    input: { prompt: 'x' },
    webhook,
    webhook_events_filter: ['completed'],
  })
  await expect.poll(() => stamps.length, { timeout: 10_000 }).toBe(2)
  for (const stamp of stamps) expect(Date.now() / 1000 - stamp).toBeGreaterThan(590)
})

test('schemas are published', async () => {
  const { body } = await call(`${models.server.falUrl}/api/openapi/queue/openapi.json?endpoint_id=${wan}`, {
    headers: {},
  })
  expect(body.components.schemas.Input.properties.duration.enum).toEqual(['5', '10'])
})

describe('refusals', () => {
  test.each([
    ['unauthorized', 401, 'Authentication is required'],
    ['payment_required', 403, 'Exhausted balance'],
    ['forbidden', 403, 'Access denied'],
    ['not_found', 404, 'not found'],
    ['rate_limited', 429, 'Too many requests'],
  ])('%s', async (kind, status, detail) => {
    await models.fault({ kind, provider: 'fal' })
    const refused = await submit(banana, { prompt: 'x' })
    expect(refused.status).toBe(status)
    expect(refused.body.detail).toContain(detail)
  })

  test('of unknown models, unknown requests and wrong keys', async () => {
    expect((await submit('nobody/knows/this', {})).status).toBe(404)
    expect((await call(`${models.server.falUrl}/queue/nothing/status`)).status).toBe(404)
    const wrong = { authorization: `Bearer ${token}` }
    expect((await call(`${models.server.falUrl}/${banana}`, { method: 'POST', headers: wrong })).status).toBe(
      401,
    )
  })
})
