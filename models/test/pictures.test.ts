/** The local model server's pictures: their bytes, sizes and contents. */
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { fetchOutput, listen, remover, useModels } from './models.ts'

const models = useModels()

describe('pictures', () => {
  test('are the same bytes for a seed and others for another', async () => {
    const bytes = async (seed: number) => {
      const { output } = await models.generate({ prompt: 'Seeded', seed, num_outputs: 2 })
      return Promise.all(output.map(fetchOutput))
    }
    const [first, again, other] = await Promise.all([bytes(7), bytes(7), bytes(8)])
    expect(first[0].equals(again[0]) && first[1].equals(again[1])).toBe(true)
    expect(first[0].equals(first[1])).toBe(false)
    expect(first[0].equals(other[0])).toBe(false)
  })

  test.each([
    ['1:1', 256, 256, 'modern', 'webp'],
    ['4:3', 296, 224, 'fresh', 'jpg'],
    ['3:4', 224, 296, 'tech', 'png'],
    ['16:9', 344, 192, 'warm', 'webp'],
    ['9:16', 192, 344, 'business', 'webp'],
  ])(
    'of %s are %i × %i at a quarter of their size',
    async (aspect_ratio, width, height, style, output_format) => {
      const { output } = await models.generate({
        prompt: `Shape in a ${style} style`,
        aspect_ratio,
        output_format,
        num_outputs: 2,
      })
      expect(output).toHaveLength(2)
      for (const url of output) {
        const { format, ...size } = await sharp(await fetchOutput(url)).metadata()
        expect(size).toMatchObject({ width, height })
        expect(format).toBe(output_format === 'jpg' ? 'jpeg' : output_format)
      }
    },
  )

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
    const run = (prompt: string) => models.generate({ prompt, aspect_ratio: '9:16' })
    // In quotation marks it is written into the picture too.
    const all = await Promise.all(prompts.flatMap((prompt) => [run(prompt), run(`"${prompt}"`)]))
    expect(all.map(({ error }) => error)).toEqual(all.map(() => null))
  })

  test('fail with a reason when the photo can’t be had', async () => {
    const gone = await listen(() => 404)
    const text = await listen(() => 200)
    const cutOut = (image: string) => models.run(remover, { image })
    const [missing, unreadable, refused] = await Promise.all([
      cutOut(`${gone}/mug.jpg?signature=secret`),
      cutOut(`${text}/mug.jpg`),
      cutOut('http://127.0.0.1:1/mug.jpg'),
    ])
    expect(missing).toMatchObject({ status: 'failed', output: null })
    expect(missing.error).toBe(`Failed to fetch image ${gone}/mug.jpg: HTTP 404`)
    expect(unreadable.error).toMatch(/could not be read/)
    expect(refused.error).toMatch(/^Failed to fetch image http:\/\/127.0.0.1:1\/mug.jpg: /)
  })
})
