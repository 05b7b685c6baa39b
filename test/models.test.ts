// The local model server: Replicate's API through its official client, real pictures, signed webhooks, faults.
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import Replicate, { parseProgressFromLogs } from 'replicate'
import sharp from 'sharp'
import { Webhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type ModelServer, startModels } from '../dev/models/server.ts'
import { makeSamplePhoto } from '../dev/photo.ts'

const token = 'r8_local_test'
const webhookSecret = `whsec_${Buffer.from('a secret of the model server test').toString('base64')}`
const model = 'local/studio'

let server: ModelServer
let client: Replicate
let photoUrl: string

beforeAll(async () => {
  server = await startModels({ token, webhookSecret })
  client = new Replicate({ auth: token, baseUrl: server.url })
  photoUrl = `data:image/jpeg;base64,${(await makeSamplePhoto()).toString('base64')}`
})

afterEach(() => fetch(`${server.origin}/faults`, { method: 'DELETE' }))

afterAll(() => server.stop())

const generate = (input: object) => client.predictions.create({ model, input, wait: true })

const poll = async (id: string) => client.wait(await client.predictions.get(id), { interval: 20 })

async function fault(body: object): Promise<void> {
  const response = await fetch(`${server.origin}/faults`, { method: 'POST', body: JSON.stringify(body) })
  expect(response.status).toBe(204)
}

async function fetchOutput(url: string): Promise<Buffer> {
  const response = await fetch(url)
  expect(response.status).toBe(200)
  return Buffer.from(await response.arrayBuffer())
}

/** Creates a prediction without the client and its retries. */
const post = (path: string, body: BodyInit, headers: Record<string, string> = {}) =>
  fetch(`${server.url}${path}`, {
    method: 'POST',
    body,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
  })

/** Listens for the test's own requests; `answer` gives the status of each. */
async function listen(answer: (request: IncomingMessage, body: string) => number): Promise<string> {
  const receiver = createServer(async (request, response) => {
    const body = (await request.toArray()).join('')
    response.writeHead(answer(request, body)).end('not an image')
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  onTestFinished(() => void receiver.close())
  return `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`
}

describe('predictions', () => {
  test('wait for the result and serve it with its type and length', async () => {
    const prediction = await generate({ prompt: 'Ceramic mug', image: photoUrl, output_format: 'png' })
    expect(prediction).toMatchObject({ status: 'succeeded', model, error: null })
    expect(prediction.id).toMatch(/^[a-z0-9]{26}$/)
    expect(prediction.metrics?.predict_time).toBeGreaterThan(0)
    expect(parseProgressFromLogs(prediction)).toEqual({ percentage: 1, current: 2, total: 2 })
    const response = await fetch(prediction.output[0])
    const bytes = await response.bytes()
    expect(response.headers.get('content-type')).toBe('image/png')
    expect(response.headers.get('content-length')).toBe(String(bytes.length))
    expect(await sharp(bytes).metadata()).toMatchObject({ format: 'png', width: 1024, height: 1024 })
  })

  test('start at once without a wait and are found by polling and in the list', async () => {
    const started = await client.predictions.create({ version: `${model}:abc`, input: { prompt: 'Polled' } })
    expect(started).toMatchObject({ status: 'starting', output: null, model, version: 'abc' })
    expect((await poll(started.id)).status).toBe('succeeded')
    const { results } = await client.predictions.list()
    expect(results.map(({ id }) => id)).toContain(started.id)
  })

  test('that outlast the wait are shown as starting', async () => {
    await fault({ kind: 'slow', times: 1, delayMs: 60_000, match: 'outlast' })
    const prediction = await client.predictions.create({ model, input: { prompt: 'outlast' }, wait: 1 })
    expect(prediction.status).toBe('starting')
    await client.predictions.cancel(prediction.id)
  })

  test('can be canceled while they run and then deliver nothing', async () => {
    await fault({ kind: 'slow', times: 1, delayMs: 60_000, match: 'cancel me' })
    const { id } = await client.predictions.create({ model, input: { prompt: 'cancel me' } })
    await expect.poll(async () => (await client.predictions.get(id)).status).toBe('processing')
    expect((await client.predictions.cancel(id)).status).toBe('canceled')
    expect(await client.predictions.get(id)).toMatchObject({ status: 'canceled', output: null })
    expect((await fetch(`${server.origin}/outputs/${id}/0.webp`)).status).toBe(404)
  })

  test('end a wait when they are canceled, and not a second time', async () => {
    await fault({ kind: 'slow', times: 1, delayMs: 60_000, match: 'waited for' })
    const waiting = generate({ prompt: 'waited for' })
    const find = async () => {
      const { results } = await client.predictions.list()
      return results.find(({ input }) => 'prompt' in input && input.prompt === 'waited for')?.id
    }
    await expect.poll(find).toBeDefined()
    await client.predictions.cancel((await find()) ?? '')
    const canceled = await waiting
    expect(canceled.status).toBe('canceled')
    expect(await client.predictions.cancel(canceled.id)).toEqual(canceled)
  })

  test('run in parallel, each with its own result', async () => {
    const prompts = ['one', 'two', 'three', 'four', 'five', 'six']
    const all = await Promise.all(prompts.map((prompt) => generate({ prompt, aspect_ratio: '16:9' })))
    expect(all.map(({ status }) => status)).toEqual(prompts.map(() => 'succeeded'))
    expect(new Set(all.flatMap(({ output }) => output)).size).toBe(prompts.length)
  })
})

describe('pictures', () => {
  test('are the same bytes for a seed and others for another', async () => {
    const bytes = async (seed: number) => {
      const { output } = await generate({
        prompt: 'Seeded',
        image: photoUrl,
        style: 'luxury',
        seed,
        num_outputs: 2,
      })
      return Promise.all(output.map(fetchOutput))
    }
    const [first, again, other] = await Promise.all([bytes(7), bytes(7), bytes(8)])
    expect(first[0].equals(again[0]) && first[1].equals(again[1])).toBe(true)
    expect(first[0].equals(first[1])).toBe(false)
    expect(first[0].equals(other[0])).toBe(false)
  })

  test.each([
    ['1:1', 1024, 1024, 'modern', 'webp'],
    ['4:3', 1024, 768, 'fresh', 'jpg'],
    ['3:4', 768, 1024, 'tech', 'png'],
    ['16:9', 1024, 576, 'warm', 'webp'],
    ['9:16', 576, 1024, 'business', 'webp'],
  ])('of %s are %i × %i', async (aspect_ratio, width, height, style, output_format) => {
    const { output } = await generate({ prompt: 'Shape', aspect_ratio, style, output_format, num_outputs: 2 })
    expect(output).toHaveLength(2)
    for (const url of output) {
      const { format, ...size } = await sharp(await fetchOutput(url)).metadata()
      expect(size).toMatchObject({ width, height })
      expect(format).toBe(output_format === 'jpg' ? 'jpeg' : output_format)
    }
  })

  test('show the product from the photo without its backdrop', async () => {
    const { output } = await generate({
      prompt: '',
      image: [photoUrl],
      style: 'luxury',
      seed: 1,
      output_format: 'png',
    })
    const { data, info } = await sharp(await fetchOutput(output[0]))
      .raw()
      .toBuffer({ resolveWithObject: true })
    const pixel = (x: number, y: number) =>
      Array.from(data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3))
    const [red = 0, green = 0] = pixel(500, 560)
    expect(green - red, 'the teal glaze of the mug').toBeGreaterThan(40)
    expect(Math.max(...pixel(130, 560)), 'the dark stage beside it').toBeLessThan(90)
  })

  test('survive any text', async () => {
    const prompts = [
      '',
      '\u0000\u0007<svg>&"\'',
      '🎉🎉',
      '新款陶瓷杯',
      '\ud800',
      'x'.repeat(9000),
      '\u0301\u0301 a\u0301',
      '](--)>',
    ]
    const all = await Promise.all(prompts.map((prompt) => generate({ prompt, aspect_ratio: '9:16' })))
    expect(all.map(({ error }) => error)).toEqual(prompts.map(() => null))
  })

  test('fail with a reason when the photo can’t be had', async () => {
    const gone = await listen(() => 404)
    const text = await listen(() => 200)
    const [missing, unreadable, refused] = await Promise.all([
      generate({ image: `${gone}/mug.jpg?signature=secret` }),
      generate({ image: `${text}/mug.jpg` }),
      generate({ image: 'http://127.0.0.1:1/mug.jpg' }),
    ])
    expect(missing).toMatchObject({ status: 'failed', output: null })
    expect(missing.error).toBe(`Failed to fetch image ${gone}/mug.jpg: HTTP 404`)
    expect(unreadable.error).toMatch(/could not be read/)
    expect(refused.error).toMatch(/^Failed to fetch image http:\/\/127.0.0.1:1\/mug.jpg: /)
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
    const { id } = await client.predictions.create({
      model,
      input: { prompt: 'Hooked' },
      webhook,
      webhook_events_filter: ['completed'],
    })
    await expect.poll(() => received.length, { timeout: 5000 }).toBe(2)
    expect(received[1]).toEqual(received[0])
    expect(received[0]?.prediction).toEqual(await client.predictions.get(id))
  })

  test('tell of the start, the logs, the output and the end when asked to', async () => {
    const received: string[] = []
    const webhook = await listen((_request, body) => {
      received.push(JSON.parse(body).status)
      return 200
    })
    await client.predictions.create({
      model,
      input: { prompt: 'Every event' },
      webhook,
      webhook_events_filter: ['start', 'logs', 'output', 'completed'],
    })
    await expect
      .poll(() => received.toSorted())
      .toEqual(['processing', 'processing', 'processing', 'succeeded'])
  })

  test('share their secret', async () => {
    expect(await client.webhooks.default.secret.get()).toEqual({ key: webhookSecret })
  })
})

describe('refusals', () => {
  test('of a missing or wrong token', async () => {
    for (const authorization of ['', 'Bearer wrong', token]) {
      const response = await post('/predictions', '{}', { authorization })
      expect(response.status).toBe(401)
      expect(await response.json()).toMatchObject({ title: 'Unauthenticated', status: 401 })
    }
    const listed = await fetch(`${server.url}/predictions`, { headers: { authorization: `Token ${token}` } })
    expect(listed.status).toBe(200)
  })

  test.each([
    ['version', { input: {} }],
    ['input', { version: 'v' }],
    ['input.num_outputs', { version: 'v', input: { num_outputs: 5 } }],
    ['input.style', { version: 'v', input: { style: 'baroque' } }],
    ['input.aspect_ratio', { version: 'v', input: { aspect_ratio: '2:1' } }],
    ['input.image.0', { version: 'v', input: { image: 'file:///etc/passwd' } }],
    ['input.seed', { version: 'v', input: { seed: 1.5 } }],
    ['webhook', { version: 'v', input: {}, webhook: 'nowhere' }],
    ['webhook_events_filter.0', { version: 'v', input: {}, webhook_events_filter: ['all'] }],
  ])('of a bad %s', async (field, body) => {
    const response = await post('/predictions', JSON.stringify(body))
    expect(response.status).toBe(422)
    expect(await response.json()).toMatchObject({ status: 422, invalid_fields: [{ field }] })
  })

  test('of broken JSON, unknown predictions, unknown paths and unknown faults', async () => {
    expect((await post('/predictions', '{"input":')).status).toBe(400)
    expect((await post('/predictions/unknown/cancel', '')).status).toBe(404)
    await expect(client.predictions.get('unknown')).rejects.toMatchObject({ response: { status: 404 } })
    expect((await post('/nothing', '{}')).status).toBe(404)
    const unknown = await fetch(`${server.origin}/faults`, { method: 'POST', body: '{"kind":"flood"}' })
    expect(unknown.status).toBe(422)
  })
})

describe('faults', () => {
  test('hit only the prompts they match, as often as they say', async () => {
    await fault({ kind: 'server_error', times: 1, match: 'victim' })
    expect((await generate({ prompt: 'bystander' })).status).toBe('succeeded')
    await expect(generate({ prompt: 'a victim' })).rejects.toMatchObject({ response: { status: 500 } })
    expect((await generate({ prompt: 'a victim' })).status).toBe('succeeded')
  })

  test('rate_limit', async () => {
    await fault({ kind: 'rate_limit', times: 1, retryAfter: 3, match: 'limited' })
    const response = await post(`/models/${model}/predictions`, '{"input":{"prompt":"limited"}}')
    expect(response.status).toBe(429)
    expect(response.headers.get('retry-after')).toBe('3')
  })

  test('hang', async () => {
    await fault({ kind: 'hang', times: 1, match: 'hangs' })
    const gone = new AbortController()
    let ended = false
    const hanging = client.predictions
      .create({ model, input: { prompt: 'hangs' }, signal: gone.signal })
      .finally(() => {
        ended = true
      })
      .catch((error: unknown) => error)
    await expect.poll(async () => (await generate({ prompt: 'hangs' })).status).toBe('succeeded')
    expect(ended).toBe(false)
    gone.abort()
    expect(await hanging).toMatchObject({ name: 'AbortError' })
  })

  test('malformed_json', async () => {
    await fault({ kind: 'malformed_json', times: 1, match: 'garbled' })
    await expect(generate({ prompt: 'garbled' })).rejects.toThrow(SyntaxError)
  })

  test('failed_prediction', async () => {
    await fault({ kind: 'failed_prediction', times: 1, error: 'NSFW content detected', match: 'fails' })
    await fault({ kind: 'failed_prediction', times: 1, match: 'fails' })
    expect(await generate({ prompt: 'fails' })).toMatchObject({
      status: 'failed',
      error: 'NSFW content detected',
    })
    expect(await generate({ prompt: 'fails' })).toMatchObject({
      status: 'failed',
      error: 'CUDA out of memory',
    })
  })

  test('slow', async () => {
    await fault({ kind: 'slow', times: 1, delayMs: 300, match: 'slow' })
    const { status, metrics } = await generate({ prompt: 'slow' })
    expect(status).toBe('succeeded')
    expect(metrics?.predict_time).toBeGreaterThanOrEqual(0.3)
  })

  test('broken_output and missing_output', async () => {
    const { output } = await generate({ prompt: 'spoiled' })
    await fault({ kind: 'broken_output', times: 1, match: 'spoiled' })
    await fault({ kind: 'missing_output', times: 1, match: 'spoiled' })
    const broken = await fetch(output[0])
    expect(broken.status).toBe(200)
    await expect(broken.arrayBuffer()).rejects.toThrow()
    expect((await fetch(output[0])).status).toBe(404)
    expect((await fetchOutput(output[0])).length).toBeGreaterThan(1000)
  })

  test('and statistics can be reset', async () => {
    const read = async () => (await fetch(`${server.origin}/stats`)).json()
    await fetch(`${server.origin}/stats`, { method: 'DELETE' })
    expect(await read()).toEqual({ submissions: 0, predictions: [] })
    const { id, created_at, completed_at, metrics } = await generate({ prompt: 'Counted' })
    const counted = { id, status: 'succeeded', createdAt: created_at, completedAt: completed_at }
    expect(await read()).toEqual({
      submissions: 1,
      predictions: [{ ...counted, predictTime: metrics?.predict_time }],
    })
  })
})
