/** Workers AI's image models, as the local model server plays them, by plain fetch. */
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { measureTeal, token, useModels } from './models.ts'

const models = useModels({ picture: 1 })
const klein = '@cf/black-forest-labs/flux-2-klein-9b'
const schnell = '@cf/black-forest-labs/flux-1-schnell'

const run = async (model: string, body: BodyInit) => {
  const response = await fetch(`${models.server.cloudflareUrl}/accounts/abc123/ai/run/${model}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      ...(typeof body === 'string' && { 'content-type': 'application/json' }),
    },
    body,
  })
  return { status: response.status, body: await response.json() }
}

const toForm = (fields: Record<string, string | Blob>): FormData => {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  return form
}

const photo = () => new Blob([new Uint8Array(models.smallPhoto)], { type: 'image/jpeg' })
const decode = (body: { result: { image: string } }) => Buffer.from(body.result.image, 'base64')

describe('flux-2-klein', () => {
  test('takes photos in numbered fields, and ignores one called image', async () => {
    const fields = { prompt: 'A jar in a luxury style', width: '512', height: '384' }
    const [right, wrong] = await Promise.all([
      run(klein, toForm({ ...fields, input_image_0: photo() })),
      run(klein, toForm({ ...fields, image: photo(), aspect_ratio: '16:9' })),
    ])
    expect([right.status, wrong.status]).toEqual([200, 200])
    expect(await sharp(decode(right.body)).metadata()).toMatchObject({ width: 512, height: 384 })
    expect(await measureTeal(decode(right.body))).toBeGreaterThan(0.03)
    expect(await measureTeal(decode(wrong.body))).toBeLessThan(0.02)
  })

  test('refuses a photo that it can’t read', async () => {
    const { status, body } = await run(klein, toForm({ prompt: 'A jar', input_image_0: new Blob(['x']) }))
    expect([status, body.errors[0].code]).toEqual([400, 5004])
  })

  test('wants a form even for a bare prompt', async () => {
    const { status, body } = await run(klein, JSON.stringify({ prompt: 'A mug' }))
    expect(status).toBe(400)
    expect(body.errors[0].code).toBe(5006)
    expect(body.errors[0].message).toContain(`required properties at '/' are 'multipart'`)
    expect((await run(klein, toForm({ prompt: '', width: '512' }))).body.errors[0].code).toBe(5006)
  })
})

test('schemas are published', async () => {
  const url = `${models.server.cloudflareUrl}/accounts/abc123/ai/models/schema?model=${encodeURIComponent(klein)}`
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } })
  const { result } = await response.json()
  expect(Object.keys(result.input.properties)).toContain('input_image_3')
})

test('flux-1-schnell takes a prompt and steps, and nothing else', async () => {
  const { status, body } = await run(schnell, JSON.stringify({ prompt: 'A jar', steps: 4 }))
  expect(status).toBe(200)
  expect(await sharp(decode(body)).metadata()).toMatchObject({ format: 'jpeg', width: 1024, height: 1024 })
  for (const more of [{ seed: 1 }, { width: 512 }, { image_b64: 'AAAA' }, { steps: 9 }]) {
    const refused = await run(schnell, JSON.stringify({ prompt: 'A jar', ...more }))
    expect([refused.status, refused.body.errors[0].code]).toEqual([400, 5006])
  }
})

test.each([
  ['unauthorized', 401, 10000],
  ['payment_required', 429, 4006],
  ['forbidden', 403, 5018],
  ['not_found', 400, 5007],
  ['rate_limited', 429, 3040],
  ['refused_content', 400, 3030],
])('%s', async (kind, status, code) => {
  await models.fault({ kind, provider: 'cloudflare' })
  const { body, ...refused } = await run(schnell, JSON.stringify({ prompt: 'A jar' }))
  expect([refused.status, body.success, body.errors[0].code]).toEqual([status, false, code])
})
