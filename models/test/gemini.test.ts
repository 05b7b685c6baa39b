/** Gemini's image models, as the local model server plays them, by plain fetch. */
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { measureTeal, token, useModels } from './models.ts'

const models = useModels()
const flash = 'gemini-3.1-flash-image'

const generate = async (
  body: object,
  model = flash,
  headers: Record<string, string> = { 'x-goog-api-key': token },
) => {
  const response = await fetch(`${models.server.geminiUrl}/models/${model}:generateContent`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  })
  return { status: response.status, body: await response.json() }
}

const ask = (text: string, photos: Buffer[] = [], imageConfig?: object, mimeType = 'image/jpeg') => ({
  contents: [
    {
      role: 'user',
      parts: [
        { text },
        ...photos.map((photo) => ({ inlineData: { mimeType, data: photo.toString('base64') } })),
      ],
    },
  ],
  ...(imageConfig && { generationConfig: { responseModalities: ['TEXT', 'IMAGE'], imageConfig } }),
})

describe('generateContent', () => {
  test('answers with one picture of the asked shape', async () => {
    const request = ask('A mug in a luxury style', [models.smallPhoto], {
      aspectRatio: '16:9',
      imageSize: '512',
    })
    const { status, body } = await generate(request)
    expect(status).toBe(200)
    expect(body.candidates).toHaveLength(1)
    const [candidate] = body.candidates
    expect(candidate.finishReason).toBe('STOP')
    expect(candidate.content.parts).toHaveLength(1)
    const { mimeType, data } = candidate.content.parts[0].inlineData
    expect(mimeType).toBe('image/png')
    const file = Buffer.from(data, 'base64')
    const { width, height } = await sharp(file).metadata()
    expect(width / height).toBeCloseTo(16 / 9, 1)
    expect(await measureTeal(file)).toBeGreaterThan(0.03)
    expect(body.usageMetadata.candidatesTokenCount).toBe(747)
  })

  test('may answer with text only', async () => {
    await models.fault({ kind: 'empty_output', provider: 'gemini' })
    const { body } = await generate(ask('x', [], { imageSize: '512' }))
    expect(body.candidates[0].content.parts).toEqual([{ text: expect.any(String) }])
  })

  test('answers refused content with a reason instead of a picture', async () => {
    const blocked = await generate(ask('Something nsfw'))
    expect(blocked).toMatchObject({
      status: 200,
      body: { promptFeedback: { blockReason: 'PROHIBITED_CONTENT' } },
    })
    expect(blocked.body.candidates).toBeUndefined()
    await models.fault({ kind: 'refused_content', stage: 'output' })
    const { body } = await generate(ask('Something else'))
    expect(body.candidates[0].finishReason).toBe('IMAGE_SAFETY')
    expect(body.candidates[0].content).toBeUndefined()
  })
})

describe('refusals', () => {
  test.each([
    ['a wrong ratio', () => ask('x', [], { aspectRatio: '2:1' }), /image_config.aspect_ratio/],
    ['an unknown field', () => ({ ...ask('x'), image: 'y' }), /Unknown name "image"/],
    ['no contents', () => ({}), /contents: must be set/],
    [
      'a GIF',
      () => ask('x', [models.smallPhoto], undefined, 'image/gif'),
      /Unsupported MIME type: image\/gif/,
    ],
    ['a photo of more than 7 MB', () => ask('x', [Buffer.alloc(7_340_033)]), /limit of 7340032 bytes/],
    ['15 photos', () => ask('x', Array(15).fill(models.smallPhoto)), /at most 14 images/],
    ['no photo at all', () => ask('x', [Buffer.from('text')]), /could not be read/],
  ])('of %s', async (_, make, message) => {
    const { status, body } = await generate(make())
    expect(status).toBe(400)
    expect(body.error).toMatchObject({ code: 400, status: 'INVALID_ARGUMENT' })
    expect(body.error.message).toMatch(message)
  })

  test('of a wrong key, as a bad argument, and of an unknown model', async () => {
    expect(await generate(ask('x'), flash, { 'x-goog-api-key': 'wrong' })).toMatchObject({
      status: 400,
      body: { error: { details: [{ reason: 'API_KEY_INVALID' }] } },
    })
    for (const model of ['gemini-3.1-flash-image-preview', 'imagen-4.0-generate-001'])
      expect(await generate(ask('x'), model)).toMatchObject({
        status: 404,
        body: { error: { status: 'NOT_FOUND' } },
      })
  })

  test.each([
    ['unauthorized', 400, 'INVALID_ARGUMENT'],
    ['payment_required', 429, 'RESOURCE_EXHAUSTED'],
    ['forbidden', 403, 'PERMISSION_DENIED'],
    ['not_found', 404, 'NOT_FOUND'],
    ['rate_limited', 429, 'RESOURCE_EXHAUSTED'],
  ])('%s', async (kind, status, word) => {
    await models.fault({ kind, provider: 'gemini', retryAfter: 7 })
    const refused = await generate(ask('x'))
    expect(refused).toMatchObject({ status, body: { error: { status: word } } })
    if (kind === 'rate_limited') expect(refused.body.error.details[0].retryDelay).toBe('7s')
  })
})

test('models are described', async () => {
  const headers = { 'x-goog-api-key': token }
  const found = await fetch(`${models.server.geminiUrl}/models/gemini-3-pro-image`, { headers })
  expect(await found.json()).toMatchObject({ name: 'models/gemini-3-pro-image' })
  expect((await fetch(`${models.server.geminiUrl}/models/gemini-1`, { headers })).status).toBe(404)
})
