/** The local model server's pictures: their bytes, sizes and contents. */
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { fetchOutput, listen, useModels } from './models.ts'

const models = useModels()

describe('pictures', () => {
  test('are the same bytes for a seed and others for another', async () => {
    const bytes = async (seed: number) => {
      const { output } = await models.generate({
        prompt: 'Seeded',
        image: models.photoUrl,
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
    const { output } = await models.generate({
      prompt: 'Shape',
      aspect_ratio,
      style,
      output_format,
      num_outputs: 2,
    })
    expect(output).toHaveLength(2)
    for (const url of output) {
      const { format, ...size } = await sharp(await fetchOutput(url)).metadata()
      expect(size).toMatchObject({ width, height })
      expect(format).toBe(output_format === 'jpg' ? 'jpeg' : output_format)
    }
  })

  test('show the product from the photo without its backdrop', async () => {
    const { output } = await models.generate({
      prompt: '',
      image: [models.photoUrl],
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
    const all = await Promise.all(prompts.map((prompt) => models.generate({ prompt, aspect_ratio: '9:16' })))
    expect(all.map(({ error }) => error)).toEqual(prompts.map(() => null))
  })

  test('fail with a reason when the photo can’t be had', async () => {
    const gone = await listen(() => 404)
    const text = await listen(() => 200)
    const [missing, unreadable, refused] = await Promise.all([
      models.generate({ image: `${gone}/mug.jpg?signature=secret` }),
      models.generate({ image: `${text}/mug.jpg` }),
      models.generate({ image: 'http://127.0.0.1:1/mug.jpg' }),
    ])
    expect(missing).toMatchObject({ status: 'failed', output: null })
    expect(missing.error).toBe(`Failed to fetch image ${gone}/mug.jpg: HTTP 404`)
    expect(unreadable.error).toMatch(/could not be read/)
    expect(refused.error).toMatch(/^Failed to fetch image http:\/\/127.0.0.1:1\/mug.jpg: /)
  })
})
