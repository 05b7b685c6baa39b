/** What the studio makes for each task, measured in its pixels. */
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { fetchOutput, measureTeal, useModels } from './models.ts'

// Shares of a picture are measured here, to the percent.
const models = useModels({ picture: 0.5 })

const make = async (version: string, input: object): Promise<Buffer> => {
  const { output, error } = await models.run(version, input)
  expect(error).toBeNull()
  return fetchOutput(String(output))
}

async function decode(file: Buffer) {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true })
  const { width, height, channels } = info
  const at = (x: number, y: number) => {
    const from = (y * width + x) * channels
    return Array.from(data.subarray(from, from + channels))
  }
  const corners = [at(0, 0), at(width - 1, 0), at(0, height - 1), at(width - 1, height - 1)]
  return { data, width, height, channels, at, corners }
}

/** The box around what isn't white, in shares of the picture. */
async function findProduct(file: Buffer) {
  const small = await sharp(file).resize(256, 256, { fit: 'fill', kernel: 'nearest' }).toBuffer()
  const { data, channels } = await decode(small)
  const found: { x: number; y: number }[] = []
  for (let i = 0; i < 256 * 256; i++) {
    const [red = 0, green = 0, blue = 0] = data.subarray(i * channels, i * channels + 3)
    const [lightest, darkest] = [Math.max(red, green, blue), Math.min(red, green, blue)]
    // The shadow is grey, and doesn't count.
    if (lightest - darkest >= 24 || darkest < 90) found.push({ x: i % 256, y: Math.floor(i / 256) })
  }
  const measure = (values: number[]) => (Math.max(...values) - Math.min(...values) + 1) / 256
  return { width: measure(found.map(({ x }) => x)), height: measure(found.map(({ y }) => y)) }
}

describe('tasks', () => {
  test('cutout has a real alpha channel: nothing around the product, all of it inside', async () => {
    const image = models.smallPhotoUrl
    const files = await Promise.all([
      make('bria/remove-background', { image }),
      make('851-labs/background-remover', { image }),
    ])
    for (const file of files) {
      const { width, height, channels, at, corners } = await decode(file)
      expect([width, height, channels]).toEqual([400, 400, 4])
      expect(corners.map(([, , , alpha]) => alpha)).toEqual([0, 0, 0, 0])
      expect(at(178, 220)[3], 'the mug').toBe(255)
      expect(at(283, 220)[3], 'the view through its handle').toBe(0)
      const { channels: statistics } = await sharp(file).stats()
      const cover = (statistics[3]?.mean ?? 0) / 255
      expect(cover).toBeGreaterThan(0.15)
      expect(cover).toBeLessThan(0.35)
    }
  })

  test.each(['16:9', '9:16'])('packshot of %s is pure white and 85 % filled', async (aspect_ratio) => {
    const file = await make('google/nano-banana', {
      prompt: 'This exact product on a pure white background',
      image_input: [models.smallPhotoUrl],
      aspect_ratio,
      output_format: 'jpg',
    })
    const { corners } = await decode(file)
    expect(corners).toEqual(Array(4).fill([255, 255, 255]))
    const { width, height } = await findProduct(file)
    expect(Math.max(width, height)).toBeGreaterThan(0.83)
    expect(Math.max(width, height)).toBeLessThan(0.87)
  })

  test('upscale is the photo twice as large, and sharper than enlarging alone', async () => {
    const file = await make('recraft-ai/recraft-crisp-upscale', { image: models.smallPhotoUrl })
    const plain = await sharp(models.smallPhoto).resize(800).png().toBuffer()
    expect(await sharp(file).metadata()).toMatchObject({ width: 800, height: 800 })
    const [mine, theirs] = await Promise.all([sharp(file).stats(), sharp(plain).stats()])
    expect(mine.sharpness).toBeGreaterThan(theirs.sharpness * 1.1)
    const difference = await sharp(file)
      .removeAlpha()
      .composite([{ input: plain, blend: 'difference' }])
      .toBuffer()
    const { channels } = await sharp(difference).stats()
    for (const { mean } of channels.slice(0, 3)) expect(mean, 'it is the same picture').toBeLessThan(4)
  })

  test('expand keeps the photo in the middle and goes on as its edges end', async () => {
    const file = await make('black-forest-labs/flux-kontext-pro', {
      prompt: 'Extend this photo to both sides',
      input_image: models.smallPhotoUrl,
      aspect_ratio: '16:9',
    })
    const { width, height, at } = await decode(file)
    expect(width / height).toBeCloseTo(16 / 9, 1)
    const middle = await sharp(file)
      .extract({ left: Math.round((width - height) / 2), top: 0, width: height, height })
      .toBuffer()
    const teal = await measureTeal(models.smallPhoto)
    expect(Math.abs((await measureTeal(middle)) - teal)).toBeLessThan(0.02)
    const [edge = 0] = await sharp(models.smallPhoto)
      .extract({ left: 2, top: 200, width: 1, height: 1 })
      .raw()
      .toBuffer()
    expect(Math.abs((at(20, Math.round(height / 2))[0] ?? 0) - edge)).toBeLessThan(12)
  })

  test('scene puts the product somewhere else', async () => {
    const file = await make('bria/generate-background', {
      bg_prompt: 'A dark stage in a luxury style',
      image: models.smallPhotoUrl,
      seed: 1,
    })
    expect(await measureTeal(file)).toBeGreaterThan(0.03)
    const { corners } = await decode(file)
    for (const corner of corners) expect(Math.max(...corner.slice(0, 3))).toBeLessThan(120)
  })
})
