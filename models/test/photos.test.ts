/** Photos as merchants have them, and what the models make of them. */
import sharp, { type Sharp } from 'sharp'
import { describe, expect, test } from 'vitest'
import { fetchOutput, measureTeal, useModels } from './models.ts'

const models = useModels()
const remover = 'bria/remove-background'
const kling = 'kwaivgi/kling-v2.5-turbo-pro'

const plain = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#8a8f94' } })

const toUrl = async (image: Sharp): Promise<string> =>
  `data:application/octet-stream;base64,${(await image.toBuffer()).toString('base64')}`

describe('photos', () => {
  test('lie on their side and in CMYK, and come out upright and in colour', async () => {
    const upright = sharp(models.smallPhoto).extract({ left: 40, top: 0, width: 320, height: 400 })
    const lying = await upright.rotate(-90).withMetadata({ orientation: 6 }).jpeg().toBuffer()
    const { output } = await models.run(remover, { image: await toUrl(sharp(lying).keepMetadata()) })
    const file = await fetchOutput(String(output))
    expect(await sharp(file).metadata()).toMatchObject({ width: 320, height: 400, channels: 4 })

    const cmyk = sharp(models.smallPhoto).toColourspace('cmyk').jpeg()
    const printed = await models.run(remover, { image: await toUrl(cmyk) })
    expect(await measureTeal(await fetchOutput(String(printed.output)))).toBeGreaterThan(0.05)
  })

  test.each([
    [
      'black-forest-labs/flux-kontext-pro',
      'input_image',
      () => plain(64, 64).avif(),
      /^Unsupported image format image\/avif/,
    ],
    [
      'minimax/hailuo-2.3',
      'first_frame_image',
      () => plain(400, 400).gif(),
      /^Unsupported image format image\/gif/,
    ],
    [kling, 'start_image', () => plain(3200, 320).png(), /^Image ratio must be between 0.4 and 2.5/],
    [
      'wan-video/wan-2.5-i2v',
      'image',
      () => plain(2001, 400).png(),
      /both sides must have at most 2000 pixels/,
    ],
    ['wan-video/wan-2.5-i2v', 'image', () => plain(400, 400).ensureAlpha().png(), /transparency/],
    ['bytedance/seedance-2.0', 'image', () => plain(299, 400).png(), /at least 300 pixels/],
  ])('that %s doesn’t take as %s fail the run', async (version, field, make, error) => {
    const prediction = await models.run(version, { prompt: 'x', [field]: await toUrl(make()) })
    expect(prediction).toMatchObject({ status: 'failed', output: null, error: expect.stringMatching(error) })
  })

  test('of 20,000 × 100 pixels make a picture of a shape that the model knows', async () => {
    const image = await toUrl(plain(20_000, 100).png())
    const { output } = await models.run('google/nano-banana', { prompt: 'A shelf', image_input: [image] })
    const { width, height } = await sharp(await fetchOutput(String(output))).metadata()
    expect(width / height).toBeCloseTo(4, 0)
  })
})
