/** The local model server's other protocols: OpenAI's images and Cloudflare Workers AI, by plain fetch. */
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { noSubmissions, token, useModels } from './models.ts'

const models = useModels()
const flux = '@cf/black-forest-labs/flux-1-schnell'

const imagine = (body: object, init: RequestInit = {}) =>
  fetch(`${models.server.openaiUrl}/images/generations`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'gpt-image-1', ...body }),
    ...init,
  })

const edit = (form: FormData) =>
  fetch(`${models.server.openaiUrl}/images/edits`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: form,
  })

const runFlux = (body: object, init: RequestInit = {}) =>
  fetch(`${models.server.cloudflareUrl}/accounts/abc123/ai/run/${flux}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...init,
  })

const decode = (base64: string) => Buffer.from(base64, 'base64')

const pixels = (file: Buffer) => sharp(file).resize(16, 16, { fit: 'fill' }).removeAlpha().raw().toBuffer()

/** How far two pictures are apart, 0 to 255. */
async function compare(one: Buffer, other: Buffer): Promise<number> {
  const [a, b] = await Promise.all([pixels(one), pixels(other)])
  return a.reduce((sum, value, i) => sum + Math.abs(value - (b[i] ?? 0)), 0) / a.length
}

const readStats = async () =>
  (await (await fetch(`${models.server.origin}/stats`)).json()) as {
    submissions: number
    submissionsByProvider: Record<string, number>
    predictions: { provider: string; status: string }[]
  }

const resetStats = () => fetch(`${models.server.origin}/stats`, { method: 'DELETE' })

describe('OpenAI', () => {
  test.each([
    ['1024x1024', 1024, 1024, 'png', 'png'],
    ['1536x1024', 1536, 1024, 'jpeg', 'jpeg'],
    ['1024x1536', 1024, 1536, 'webp', 'webp'],
  ])('makes pictures of %s', async (size, width, height, output_format, format) => {
    const response = await imagine({ prompt: 'A ceramic mug in a warm style', size, output_format, n: 2 })
    expect(response.status).toBe(200)
    const { created, data, usage, ...rest } = await response.json()
    expect(Math.abs(created - Date.now() / 1000)).toBeLessThan(10)
    expect(rest).toEqual({ background: 'opaque', output_format, quality: 'medium', size })
    expect(usage.total_tokens).toBe(usage.input_tokens + usage.output_tokens)
    expect(data).toHaveLength(2)
    for (const { b64_json } of data)
      expect(await sharp(decode(b64_json)).metadata()).toMatchObject({ width, height, format })
  })

  test.each(['image', 'image[]'])('edits photos sent as %s', async (name) => {
    const form = new FormData()
    form.set('model', 'gpt-image-1')
    form.set('prompt', 'A mug in a luxury style. Caption: "Slow mornings"')
    form.set('n', '1')
    form.set('size', '1024x1024')
    form.append(name, new Blob([new Uint8Array(models.photo)], { type: 'image/jpeg' }), 'mug.jpg')
    const response = await edit(form)
    expect(response.status).toBe(200)
    const { data } = await response.json()
    const { dominant } = await sharp(decode(data[0].b64_json)).stats()
    expect(dominant.r + dominant.g + dominant.b, 'luxury is dark').toBeLessThan(200)
  })

  test('refuses a missing or unreadable photo and one of another type', async () => {
    const send = async (photo?: Blob) => {
      const form = new FormData()
      form.set('model', 'gpt-image-1')
      form.set('prompt', 'A mug')
      if (photo) form.append('image', photo, 'mug.jpg')
      const response = await edit(form)
      expect(response.status).toBe(400)
      return (await response.json()).error
    }
    expect(await send()).toMatchObject({ param: 'image', code: 'invalid_value' })
    expect(await send(new Blob(['x']))).toMatchObject({ code: 'unsupported_file_mimetype' })
    expect(await send(new Blob(['x'], { type: 'image/png' }))).toMatchObject({ code: 'invalid_image_file' })
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
    const body = { prompt: 'A honey jar in a fresh style', seed: 4, num_steps: 4, width: 768, height: 512 }
    const [first, again] = await Promise.all(
      [body, body].map(async (each) => {
        const response = await runFlux(each)
        expect(response.status).toBe(200)
        return response.json()
      }),
    )
    expect(first).toMatchObject({ success: true, errors: [], messages: [] })
    expect(first.result.image).toBe(again.result.image)
    const metadata = await sharp(decode(first.result.image)).metadata()
    expect(metadata).toMatchObject({ format: 'jpeg', width: 768, height: 512 })
  })

  test('takes a photo, and style and caption from the prompt', async () => {
    const make = async (prompt: string, image_b64?: string) => {
      const response = await runFlux({ prompt, seed: 1, width: 512, height: 512, image_b64 })
      const { result } = await response.json()
      return decode(result.image)
    }
    const photo = models.photo.toString('base64')
    const [dark, bright, withPhoto] = await Promise.all([
      make('A modern mug in a luxury style. Caption: "Slow"'),
      make('A modern mug in a fresh style. Caption: "Slow"'),
      make('A modern mug in a luxury style. Caption: "Slow"', photo),
    ])
    const brightness = async (file: Buffer) => (await sharp(file).greyscale().stats()).channels[0]?.mean ?? 0
    expect(await brightness(dark)).toBeLessThan(80)
    expect(await brightness(bright)).toBeGreaterThan(150)
    expect(await compare(dark, withPhoto)).toBeGreaterThan(2)
  })

  test('refuses what its schema doesn’t have, a wrong token and a bad photo', async () => {
    for (const [status, code, body, headers] of [
      [400, 5006, {}, undefined],
      [400, 5006, { prompt: 'x', width: 5000 }, undefined],
      [400, 5006, { prompt: 'x'.repeat(2049) }, undefined],
      [400, 5004, { prompt: 'x', image_b64: 'AAAA' }, undefined],
      [403, 10000, { prompt: 'x' }, { authorization: 'Bearer wrong' }],
      [401, 10000, { prompt: 'x' }, {}],
    ] as const) {
      const response = await runFlux(body, headers && { headers })
      expect(response.status).toBe(status)
      const refusal = await response.json()
      expect(refusal).toMatchObject({ result: null, success: false, errors: [{ code }], messages: [] })
      expect(refusal.errors[0].message).toBeTypeOf('string')
    }
  })
})

describe.each([
  ['openai', imagine, 'data', [{ b64_json: expect.any(String) }], []],
  ['cloudflare', runFlux, 'result', { image: expect.any(String) }, {}],
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
    const others = { openai: runFlux, cloudflare: imagine }
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
    expect(JSON.stringify(results), 'Replicate shows its own only').not.toContain('gpt-image')
  })
})
