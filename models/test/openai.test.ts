/** OpenAI's current image models, as the local model server plays them, by plain fetch. */
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { measureTeal, token, useModels } from './models.ts'

const models = useModels()
const sunburst = 'gpt-image-2.6-sunburst'
const headers = { authorization: `Bearer ${token}` }

const edit = async (
  fields: Record<string, string>,
  photos: Blob[] = [new Blob([new Uint8Array(models.smallPhoto)], { type: 'image/jpeg' })],
  name = 'image[]',
) => {
  const form = new FormData()
  for (const [key, value] of Object.entries({ model: sunburst, prompt: 'A mug', ...fields }))
    form.set(key, value)
  for (const photo of photos) form.append(name, photo, 'mug')
  const response = await fetch(`${models.server.openaiUrl}/images/edits`, {
    method: 'POST',
    headers,
    body: form,
  })
  return { response, status: response.status, body: await response.json() }
}

const decode = (body: { data: { b64_json: string }[] }) =>
  body.data.map(({ b64_json }) => Buffer.from(b64_json, 'base64'))

describe('edits', () => {
  test('make as many pictures as asked, of any size that fits', async () => {
    const { status, body } = await edit({
      prompt: 'Luxury style',
      size: '1088x832',
      n: '2',
      output_format: 'webp',
    })
    expect(status).toBe(200)
    const files = decode(body)
    expect(files).toHaveLength(2)
    for (const file of files) {
      expect(await sharp(file).metadata()).toMatchObject({ width: 272, height: 208, format: 'webp' })
      expect(await measureTeal(file)).toBeGreaterThan(0.03)
    }
  })

  test('are remembered as they were sent', async () => {
    await fetch(`${models.server.origin}/stats`, { method: 'DELETE' })
    await edit({ size: '1x1' })
    const submissions = await (await fetch(`${models.server.origin}/submissions`)).json()
    const size = models.smallPhoto.byteLength
    expect(submissions).toEqual([
      {
        provider: 'openai',
        model: sunburst,
        input: { model: sunburst, prompt: 'A mug', size: '1x1', image: [`<image/jpeg, ${size} bytes>`] },
      },
    ])
  })

  test('have an alpha channel on request', async () => {
    const { body } = await edit({ size: '1024x1024', background: 'transparent' })
    const [file] = decode(body)
    const { channels } = await sharp(file).stats()
    expect(channels).toHaveLength(4)
    expect(channels[3]).toMatchObject({ min: 0, max: 255 })
    expect(body.background).toBe('transparent')
  })

  test.each(['1000x1000', '1024x320', '512x512', '3856x1600', '3840x2176', '4096x1024'])(
    'refuse the size %s',
    async (size) => {
      const { status, body } = await edit({ size })
      expect([status, body.error.param]).toEqual([400, 'size'])
    },
  )

  test.each([
    ['input_fidelity', 'high', 'invalid_input_fidelity_model'],
    ['seed', '1', 'unknown_parameter'],
    ['aspect_ratio', '1:1', 'unknown_parameter'],
    ['response_format', 'url', 'unknown_parameter'],
    ['n', '11', 'invalid_value'],
    ['n', 'two', 'invalid_type'],
    ['quality', 'best', 'invalid_value'],
  ])('refuse %s %s', async (name, value, code) => {
    const { status, body } = await edit({ [name]: value })
    expect(status).toBe(400)
    expect(body.error).toMatchObject({ code, param: name, type: 'invalid_request_error' })
  })

  test('of an earlier model take input_fidelity, and three sizes', async () => {
    await models.fault({ kind: 'missing_output', times: 1 })
    const old = { model: 'gpt-image-1.5', input_fidelity: 'high' }
    expect((await edit({ ...old, size: '1024x1536' })).status).toBe(200)
    expect((await edit({ ...old, size: '1088x832' })).status).toBe(400)
  })

  test('refuse photos of an unknown type, too many, too large and none', async () => {
    const refuse = async (photos: Blob[], name?: string) => {
      const { status, body } = await edit({}, photos, name)
      expect(status).toBe(400)
      return body.error.code
    }
    const bytes = new Uint8Array(models.smallPhoto)
    const photo = new Blob([bytes], { type: 'image/jpeg' })
    expect(await refuse([new Blob([bytes])])).toBe('unsupported_file_mimetype')
    expect(await refuse([new Blob([bytes], { type: 'application/octet-stream' })])).toBe(
      'unsupported_file_mimetype',
    )
    expect(await refuse(Array(17).fill(photo))).toBe('invalid_value')
    expect(await refuse([new Blob([new Uint8Array(52_428_800)], { type: 'image/png' })], 'image')).toBe(
      'image_too_large',
    )
    expect(await refuse([])).toBe('invalid_value')
  })
})

describe('models', () => {
  test('that are shut down are gone, and the next to go say when', async () => {
    const gone = await edit({ model: 'gpt-image-1' })
    expect(gone).toMatchObject({ status: 404, body: { error: { code: 'model_not_found' } } })
    const list = await fetch(`${models.server.openaiUrl}/models`, { headers })
    const { data } = await list.json()
    expect(data).toContainEqual(expect.objectContaining({ id: 'gpt-image-1.5', shutdown_date: '2026-12-01' }))
    expect(data).toContainEqual(expect.objectContaining({ id: sunburst, shutdown_date: null }))
    const one = (model: string) => fetch(`${models.server.openaiUrl}/models/${model}`, { headers })
    expect((await one(sunburst)).status).toBe(200)
    expect((await one('gpt-image-1')).status).toBe(404)
  })
})

describe('refusals', () => {
  test.each([
    ['unauthorized', 401, 'invalid_api_key'],
    ['payment_required', 429, 'insufficient_quota'],
    ['forbidden', 403, null],
    ['not_found', 404, 'model_not_found'],
    ['rate_limited', 429, 'rate_limit_exceeded'],
    ['refused_content', 400, 'moderation_blocked'],
  ])('%s', async (kind, status, code) => {
    await models.fault({ kind, provider: 'openai', retryAfter: 3 })
    const { response, body, ...refused } = await edit({})
    expect([refused.status, body.error.code]).toEqual([status, code])
    if (kind === 'forbidden') expect(body.error.message).toContain('organization must be verified')
    expect(response.headers.get('retry-after')).toBe(kind === 'rate_limited' ? '3' : null)
  })
})
