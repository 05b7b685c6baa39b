/** The local model server's other protocols: OpenAI's images and Cloudflare Workers AI, by plain fetch. */
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { noSubmissions, token, useModels } from './models.ts'

const models = useModels()
const sunburst = 'gpt-image-2.6-sunburst'
const lucid = '@cf/leonardo/lucid-origin'

const imagine = (body: object, init: RequestInit = {}) =>
  fetch(`${models.server.openaiUrl}/images/generations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: sunburst, ...body }),
    ...init,
  })

const edit = (form: FormData) =>
  fetch(`${models.server.openaiUrl}/images/edits`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: form,
  })

const runLucid = (body: object, init: RequestInit = {}) =>
  fetch(`${models.server.cloudflareUrl}/accounts/abc123/ai/run/${lucid}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...init,
  })

const decode = (base64: string) => Buffer.from(base64, 'base64')

const readStats = async () =>
  (await (await fetch(`${models.server.origin}/stats`)).json()) as {
    submissions: number
    submissionsByProvider: Record<string, number>
    predictions: { provider: string; status: string }[]
  }

const resetStats = () => fetch(`${models.server.origin}/stats`, { method: 'DELETE' })

describe('OpenAI', () => {
  test.each([
    ['1024x1024', 256, 256, 'png'],
    ['1536x1024', 384, 256, 'jpeg'],
    ['1024x1536', 256, 384, 'webp'],
  ])('makes pictures of %s, here a quarter of it', async (size, width, height, output_format) => {
    const response = await imagine({ prompt: 'A ceramic mug in a warm style', size, output_format, n: 2 })
    expect(response.status).toBe(200)
    const { created, data, usage, ...rest } = await response.json()
    expect(Math.abs(created - Date.now() / 1000)).toBeLessThan(10)
    expect(rest).toEqual({
      background: 'opaque',
      output_format,
      quality: 'medium',
      size: `${width}x${height}`,
    })
    expect(usage.total_tokens).toBe(usage.input_tokens + usage.output_tokens)
    expect(data).toHaveLength(2)
    for (const { b64_json } of data)
      expect(await sharp(decode(b64_json)).metadata()).toMatchObject({ width, height, format: output_format })
  })

  test.each(['image', 'image[]'])('edits photos sent as %s', async (name) => {
    const form = new FormData()
    form.set('model', sunburst)
    form.set('prompt', 'A mug in a luxury style. Caption: "Slow mornings"')
    form.set('n', '1')
    form.set('size', '1024x1024')
    form.append(name, new Blob([new Uint8Array(models.smallPhoto)], { type: 'image/jpeg' }), 'mug.jpg')
    const response = await edit(form)
    expect(response.status).toBe(200)
    const { data } = await response.json()
    const { dominant } = await sharp(decode(data[0].b64_json)).stats()
    expect(dominant.r + dominant.g + dominant.b, 'luxury is dark').toBeLessThan(200)
  })

  test('refuses an unreadable photo', async () => {
    const form = new FormData()
    form.set('model', sunburst)
    form.set('prompt', 'A mug')
    form.append('image', new Blob(['x'], { type: 'image/png' }), 'mug.png')
    const response = await edit(form)
    expect(response.status).toBe(400)
    expect((await response.json()).error).toMatchObject({ param: 'image', code: 'invalid_image_file' })
  })

  test.each([
    ['response_format', 'unknown_parameter', { prompt: 'x', response_format: 'url' }],
    ['prompt', 'missing_required_parameter', {}],
    ['n', 'invalid_value', { prompt: 'x', n: 11 }],
    ['size', 'invalid_value', { prompt: 'x', size: '512x512' }],
    ['model', 'invalid_value', { prompt: 'x', model: 'dall-e-3' }],
  ])('refuses a bad %s', async (param, code, body) => {
    const response = await imagine(body)
    expect(response.status).toBe(400)
    const { error } = await response.json()
    expect(error).toMatchObject({ type: 'invalid_request_error', param, code })
    expect(error.message).toContain(param)
  })

  test('refuses a wrong key, broken JSON and unknown paths', async () => {
    const wrong = await imagine({ prompt: 'x' }, { headers: { authorization: 'Bearer wrong' } })
    expect(wrong.status).toBe(401)
    expect((await wrong.json()).error).toMatchObject({ code: 'invalid_api_key', param: null })
    const broken = await imagine({}, { body: '{"prompt":' })
    expect(broken.status).toBe(400)
    expect((await broken.json()).error).toMatchObject({ type: 'invalid_request_error' })
    const headers = { authorization: `Bearer ${token}` }
    const unknown = await fetch(`${models.server.openaiUrl}/chat`, { headers })
    expect(unknown.status).toBe(404)
    expect((await unknown.json()).error).toMatchObject({ code: null })
  })
})

describe('Cloudflare', () => {
  test('makes a JPEG of the asked size, the same for a seed', async () => {
    const body = { prompt: 'A honey jar in a fresh style', seed: 4, width: 1024, height: 768 }
    const [first, again] = await Promise.all(
      [body, body].map(async (each) => {
        const response = await runLucid(each)
        expect(response.status).toBe(200)
        return response.json()
      }),
    )
    expect(first).toMatchObject({ success: true, errors: [], messages: [] })
    expect(first.result.image).toBe(again.result.image)
    const metadata = await sharp(decode(first.result.image)).metadata()
    expect(metadata).toMatchObject({ format: 'jpeg', width: 256, height: 192 })
  })

  test('refuses what its schema doesn’t have and a wrong token', async () => {
    for (const [status, code, body, headers] of [
      [400, 5006, {}, undefined],
      [400, 5006, { prompt: 'x', width: 5000 }, undefined],
      [400, 5006, { prompt: '' }, undefined],
      [403, 10000, { prompt: 'x' }, { authorization: 'Bearer wrong' }],
      [401, 10000, { prompt: 'x' }, {}],
    ] as const) {
      const response = await runLucid(body, headers && { headers })
      expect(response.status).toBe(status)
      const refusal = await response.json()
      expect(refusal).toMatchObject({ result: null, success: false, errors: [{ code }], messages: [] })
      expect(refusal.errors[0].message).toBeTypeOf('string')
    }
  })
})

describe.each([
  ['openai', imagine, 'data', [{ b64_json: expect.any(String) }], []],
  ['cloudflare', runLucid, 'result', { image: expect.any(String) }, {}],
] as const)('faults of %s', (provider, call, key, proper, empty) => {
  const prompt = `victim of ${provider}`
  const fault = (body: object) => models.fault({ provider, match: prompt, ...body })
  const succeed = async () => {
    const response = await call({ prompt })
    expect(response.status).toBe(200)
    expect((await response.json())[key]).toEqual(proper)
  }
  /** The code of a refusal, wherever the protocol has it. */
  const refuse = async (status: number) => {
    const response = await call({ prompt })
    expect(response.status).toBe(status)
    const { error, errors } = await response.json()
    return { response, code: error ? error.code : errors[0].code }
  }

  test('affect only the named protocol', async () => {
    await fault({ kind: 'server_error' })
    const others = { openai: runLucid, cloudflare: imagine }
    expect((await others[provider]({ prompt })).status).toBe(200)
    expect((await models.generate({ prompt })).status).toBe('succeeded')
    expect((await call({ prompt })).status).toBe(500)
    await succeed()
  })

  test('rate_limit, server_error', async () => {
    await fault({ kind: 'rate_limit', retryAfter: 7 })
    const { response, code } = await refuse(429)
    expect(response.headers.get('retry-after')).toBe('7')
    expect(code).toBe(provider === 'openai' ? 'rate_limit_exceeded' : 3040)
    await fault({ kind: 'server_error' })
    expect((await refuse(500)).code).toBe(provider === 'openai' ? null : 3043)
  })

  test('failed_prediction: unsafe, and out of order', async () => {
    await fault({ kind: 'failed_prediction', error: 'NSFW content detected' })
    expect((await refuse(400)).code).toBe(provider === 'openai' ? 'moderation_blocked' : 3030)
    await fault({ kind: 'failed_prediction' })
    expect((await refuse(500)).code).toBe(provider === 'openai' ? null : 3043)
  })

  test('malformed_json, broken_output, missing_output, partial_output', async () => {
    await fault({ kind: 'malformed_json' })
    await expect(call({ prompt }).then((response) => response.json())).rejects.toThrow(SyntaxError)
    await fault({ kind: 'broken_output' })
    await expect(call({ prompt }).then((response) => response.json())).rejects.toThrow()
    for (const kind of ['missing_output', 'partial_output']) {
      await fault({ kind })
      const response = await call({ prompt })
      expect(response.status).toBe(200)
      expect((await response.json())[key]).toEqual(empty)
    }
    await succeed()
  })

  test('hang and slow end when the caller goes, and are counted', async () => {
    await resetStats()
    await fault({ kind: 'slow', delayMs: 60_000 })
    const gone = new AbortController()
    const slow = call({ prompt }, { signal: gone.signal }).catch((error: unknown) => error)
    await expect.poll(async () => (await readStats()).predictions[0]?.status).toBe('processing')
    await fault({ kind: 'hang' })
    const hanging = call({ prompt }, { signal: gone.signal }).catch((error: unknown) => error)
    await expect.poll(async () => (await readStats()).submissions).toBe(2)
    gone.abort()
    expect(await slow).toMatchObject({ name: 'AbortError' })
    expect(await hanging).toMatchObject({ name: 'AbortError' })
    await expect.poll(async () => (await readStats()).predictions[0]?.status).toBe('canceled')
    await succeed()
    const { submissionsByProvider, predictions } = await readStats()
    expect(submissionsByProvider).toEqual({ ...noSubmissions, [provider]: 3 })
    expect(predictions.map((each) => [each.provider, each.status])).toEqual([
      [provider, 'succeeded'],
      [provider, 'canceled'],
    ])
    const { results } = await models.client.predictions.list()
    expect(JSON.stringify(results), 'Replicate shows its own only').not.toMatch(/gpt-image|lucid/)
  })
})
