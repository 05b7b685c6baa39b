/** The real models of Replicate, as the local model server plays them. */
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { fetchOutput, listen, measureTeal, remover, useModels } from './models.ts'

const models = useModels()
const banana = 'google/nano-banana'
const removerVersion = 'a029dff38972b5fda4ec5d75d7d1cd25aeff621d2cf4946a41055d7db66b80bc'
const kling = 'kwaivgi/kling-v2.5-turbo-pro'

const create = async (path: string, body: object, headers: Record<string, string> = {}) => {
  const response = await models.post(path, JSON.stringify(body), headers)
  return { response, status: response.status, body: await response.json() }
}

describe('addresses', () => {
  test('predictions by version take official and community models, with and without a hash', async () => {
    await models.fault({ kind: 'cold_boot', times: 3, delayMs: 60_000 })
    const image = models.smallPhotoUrl
    for (const [version, input, shown] of [
      [banana, { prompt: 'A mug' }, 'hidden'],
      [remover, { image }, removerVersion],
      [`${remover}:${removerVersion}`, { image }, removerVersion],
    ] as const) {
      const { status, body } = await create('/predictions', { version, input })
      expect([status, body.status, body.version]).toEqual([201, 'starting', shown])
      await models.client.predictions.cancel(body.id)
    }
  })

  test('a model’s own address is for official models', async () => {
    const detail = 'The requested resource could not be found.'
    for (const name of [remover, 'nobody/nothing'])
      expect(
        await create(`/models/${name}/predictions`, { input: { image: models.smallPhotoUrl } }),
      ).toMatchObject({ status: 404, body: { detail } })
  })

  test.each([
    ['a model instead of a version', { model: banana, input: { prompt: 'x' } }],
    ['the latest version', { version: `${banana}:latest`, input: { prompt: 'x' } }],
    ['an unknown model', { version: 'nobody/nothing', input: { prompt: 'x' } }],
  ])('refuse %s', async (_, body) => {
    expect((await create('/predictions', body)).status).toBe(422)
  })

  test('describe each model by its schema', async () => {
    const model = await models.client.models.get('kwaivgi', 'kling-v2.5-turbo-pro')
    const schema = model.latest_version?.openapi_schema as {
      components: { schemas: Record<string, Record<string, unknown>> }
    }
    const { Input, Output, duration } = schema.components.schemas
    expect(Input?.required).toEqual(['prompt'])
    expect(Input?.properties).toMatchObject({
      start_image: { type: 'string', format: 'uri' },
      duration: { allOf: [{ $ref: '#/components/schemas/duration' }], default: 5 },
    })
    expect(duration).toMatchObject({ type: 'integer', enum: [5, 10] })
    expect(Output).toMatchObject({ type: 'string', format: 'uri' })
    await expect(models.client.models.get('nobody', 'nothing')).rejects.toMatchObject({
      response: { status: 404 },
    })
  })
})

describe('inputs', () => {
  test('that are unknown are dropped: a photo in the wrong field makes somebody else’s product', async () => {
    const photo = models.smallPhotoUrl
    const options = { prompt: 'A bottle in a luxury style', aspect_ratio: '16:9', output_format: 'png' }
    const [right, wrong] = await Promise.all([
      models.run(banana, { ...options, image_input: [photo] }),
      models.run(banana, { ...options, image: [photo], num_outputs: 4, style: 'baroque' }),
    ])
    expect([right.status, wrong.status]).toEqual(['succeeded', 'succeeded'])
    expect(right.output, 'one picture, and no list').toMatch(/^http.*\.png$/)
    expect(wrong.output).toMatch(/^http.*\.png$/)
    expect(right.logs, 'it tells no progress').toBe('')
    expect(await measureTeal(await fetchOutput(right.output))).toBeGreaterThan(0.05)
    expect(await measureTeal(await fetchOutput(wrong.output))).toBeLessThan(0.02)
  })

  test.each([
    [
      banana,
      { prompt: 'x', aspect_ratio: '2:1' },
      /^- input.aspect_ratio: aspect_ratio must be one of the following: "match_input_image", "1:1", /,
    ],
    [banana, {}, /^- input: prompt is required\n$/],
    [
      banana,
      { prompt: 'x', image_input: ['mug.jpg'] },
      /^- input.image_input.0: Does not match format 'uri'/,
    ],
    [
      'black-forest-labs/flux-kontext-pro',
      { prompt: 'x', input_image: ['https://a.example/a.jpg'] },
      /^- input.input_image: Invalid type. Expected: string, given: array\n$/,
    ],
    ['google/veo-3.1', { prompt: 'x', duration: 5 }, /duration must be one of the following: 4, 6, 8/],
    ['minimax/hailuo-2.3', { prompt: 'x', duration: '6' }, /Invalid type. Expected: integer, given: string/],
    ['bytedance/seedream-4', { prompt: 'x', max_images: 16 }, /Must be less than or equal to 15/],
  ])('of %s are refused when they are %j', async (version, input, detail) => {
    const { status, body } = await create('/predictions', { version, input })
    expect(status).toBe(422)
    expect(body.detail).toMatch(detail)
    expect(body.invalid_fields).toHaveLength(1)
  })

  test('as photos are looked at when the run starts', async () => {
    const tiny = `data:image/png;base64,${(
      await sharp({ create: { width: 200, height: 400, channels: 3, background: '#888' } })
        .png()
        .toBuffer()
    ).toString('base64')}`
    const runs = await Promise.all([
      models.run(kling, { prompt: 'x', start_image: tiny }),
      models.run('google/nano-banana-pro', { prompt: 'x', image_input: Array(15).fill(tiny) }),
      models.run('bria/remove-background', {}),
    ])
    expect(runs.map(({ status, error }) => [status, error])).toEqual([
      ['failed', 'Image is 200x400; both sides must have at least 300 pixels'],
      ['failed', 'At most 14 input images are supported'],
      ['failed', 'An input image is required'],
    ])
  })

  test('may be right each for itself, and not together', async () => {
    const [photo] = [models.smallPhotoUrl]
    const runs = await Promise.all([
      models.run('minimax/hailuo-2.3', { prompt: 'x', duration: 10, resolution: '1080p' }),
      models.run('bytedance/seedance-2.0', { prompt: 'x', image: photo, reference_images: [photo] }),
      models.run('google/veo-3.1', { prompt: 'x', reference_images: [photo], duration: 4 }),
      models.run('bria/generate-background', { image: photo }),
    ])
    expect(runs.map(({ error }) => error)).toEqual([
      '10 seconds are only available for 768p',
      'Reference images cannot be used together with a first frame',
      'Reference images only work with 16:9 and 8 seconds',
      'Either bg_prompt or ref_image_url must be provided',
    ])
  })

  test('as photos are fetched after the cold boot, and not all addresses last as long', async () => {
    let status = 200
    const photo = await listen(() => status, models.smallPhoto)
    await models.fault({ kind: 'cold_boot', delayMs: 300, model: remover })
    const { body } = await create('/predictions', {
      version: remover,
      input: { image: `${photo}/mug.jpg?sig=1` },
    })
    expect(body.status).toBe('starting')
    status = 403
    const ended = await models.end(body.id)
    expect(ended).toMatchObject({
      status: 'failed',
      error: `Failed to fetch image ${photo}/mug.jpg: HTTP 403`,
    })
  })
})

describe('outputs', () => {
  test('are a list where the schema says so, as long as was asked for', async () => {
    const run = async (input: object) => {
      await models.fault({ kind: 'empty_output' })
      return (await models.run('bytedance/seedream-4', { prompt: 'x', size: '1K', ...input })).output
    }
    expect(await run({})).toEqual([])
    const { output } = await models.run('black-forest-labs/flux-schnell', { prompt: 'A jar', num_outputs: 2 })
    expect(output).toHaveLength(2)
    expect(output[0]).toMatch(/\.webp$/)
  })

  test('may be nothing at all', async () => {
    await models.fault({ kind: 'empty_output', model: banana })
    expect(await models.run(banana, { prompt: 'x' })).toMatchObject({ status: 'succeeded', output: null })
  })

  test('and all other data vanish after a while', async () => {
    await models.fault({ kind: 'expired_output', delayMs: 400, model: 'black-forest-labs/flux-schnell' })
    const { id, output } = await models.run('black-forest-labs/flux-schnell', { prompt: 'Short-lived' })
    const files = [output].flat()
    expect(files).toHaveLength(1)
    await expect.poll(async () => (await fetch(files[0])).status, { timeout: 3000 }).toBe(404)
    const removed = { status: 'succeeded', output: null, input: {}, logs: '', data_removed: true }
    expect(await models.client.predictions.get(id)).toMatchObject(removed)
  })
})

describe('refused content', () => {
  test.each([
    [banana, 'failed', null],
    ['bytedance/seedream-4', 'succeeded', []],
    ['black-forest-labs/flux-schnell', 'failed', null],
  ])('of %s ends as %s', async (version, status, output) => {
    const prediction = await models.run(version, { prompt: 'A nude with a mug', aspect_ratio: '16:9' })
    expect([prediction.status, prediction.output]).toEqual([status, output])
    if (status === 'failed') expect(prediction.error).toMatch(/NSFW|IMAGE_SAFETY/)
  })

  test('leaves the safe pictures of several', async () => {
    await models.fault({ kind: 'refused_content', match: 'Half of them' })
    const input = { prompt: 'Half of them', num_outputs: 2, aspect_ratio: '21:9' }
    const { status, output } = await models.run('black-forest-labs/flux-schnell', input)
    expect([status, output.length]).toEqual(['succeeded', 1])
  })
})

describe('deadlines', () => {
  const start = async (prompt: string) =>
    (await create('/predictions', { version: banana, input: { prompt } }, { 'cancel-after': '1s' })).body.id

  test('abort what has not begun, and cancel what has', async () => {
    await models.fault({ kind: 'cold_boot', delayMs: 60_000, match: 'boots' })
    await models.fault({ kind: 'slow', delayMs: 60_000, match: 'dawdles' })
    const [boots, dawdles] = await Promise.all([start('boots'), start('dawdles')])
    expect(await models.end(boots)).toMatchObject({ status: 'aborted', started_at: null, output: null })
    expect(await models.end(dawdles)).toMatchObject({ status: 'canceled', output: null })
  })

  test('are refused when they are no time', async () => {
    const { status } = await create(
      '/predictions',
      { version: banana, input: {} },
      { 'cancel-after': 'soon' },
    )
    expect(status).toBe(400)
  })
})

describe('refusals', () => {
  test.each([
    ['unauthorized', 401, 'You did not pass a valid authentication token'],
    ['payment_required', 402, 'You have insufficient credit to run this model.'],
    ['forbidden', 403, 'You do not have permission to perform this action.'],
    ['not_found', 404, 'The requested resource could not be found.'],
  ])('%s', async (kind, status, detail) => {
    await models.fault({ kind, provider: 'replicate' })
    const refused = await create('/predictions', { version: banana, input: { prompt: 'x' } })
    expect(refused.status).toBe(status)
    expect(refused.body).toMatchObject({ status, title: expect.any(String) })
    expect(refused.body.detail).toContain(detail)
  })

  test('rate_limited says in the body how long', async () => {
    await models.fault({ kind: 'rate_limited', retryAfter: 30 })
    const { response, status, body } = await create('/predictions', {
      version: banana,
      input: { prompt: 'x' },
    })
    expect([status, body.retry_after]).toEqual([429, 30])
    expect(body.detail).toContain('resets in ~30s')
    expect(response.headers.has('retry-after')).toBe(false)
  })
})
