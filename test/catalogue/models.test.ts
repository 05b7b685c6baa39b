/** What `GET /models` says of each model is what `POST /generations` refuses the rest by: the field, and what it could be. */
import { describe, expect, test } from 'vitest'
import { makeSamplePhoto } from '../../models/photo.ts'
import { aspectRatios } from '../../src/words.ts'
import { newTenant } from '../support/tenants.ts'

interface Price {
  per: string
  credits: number
}
interface Model {
  id: string
  task: string
  price: Price & { withPrompt: Price | null; withText: Price | null }
  inputs: {
    prompt: boolean
    text: boolean
    minInputAssets: number
    maxInputAssets: number
    maxCount: number
    aspectRatios: string[]
    durations: number[] | null
  }
}

const { client } = await newTenant()
const { body: catalogue } = await client.get<{ data: Model[] }>('/models')
const photo = await makeSamplePhoto()
const photos: string[] = []
for (let i = 0; i <= Math.max(...catalogue.data.map(({ inputs }) => inputs.maxInputAssets)); i++) {
  photos.push((await client.upload('mug.jpg', photo)).body.id)
}

describe.each(catalogue.data)('$id', ({ id, task, price, inputs }) => {
  const refusalOf = async (changes: object) => {
    const { status, body } = await client.post<{ errors: { pointer: string; message: string }[] }>(
      '/generations',
      {
        task,
        model: id,
        ...(inputs.prompt && { prompt: 'x' }),
        inputAssetIds: photos.slice(0, inputs.minInputAssets),
        ...changes,
      },
    )
    expect(status, JSON.stringify(changes)).toBe(422)
    return body.errors[0]
  }

  test.each([
    ['by photos alone', price, {}],
    ['with a prompt', price.withPrompt, { prompt: 'x' }],
    ['with a style', price.withPrompt, { style: 'modern' }],
    ['with lettering', price.withText, { text: 'x' }],
  ])('says what it costs %s', async (_, one, words) => {
    const seconds = inputs.durations?.[0]
    const { status, body } = await client.post<{ credits: number }>('/generations/quote', {
      task,
      model: id,
      inputAssetIds: photos.slice(0, Math.max(1, inputs.minInputAssets)),
      ...(seconds && { durationSeconds: seconds }),
      ...words,
    })
    if (!one) return expect(status).toBe(422)
    const units = one.per === 'second' ? (seconds ?? 1) : 1
    expect(body.credits, JSON.stringify(body)).toBe(Math.max(1, Math.ceil(one.credits * units)))
  })

  test('names the ratios that it makes', async () => {
    for (const aspectRatio of aspectRatios.filter((one) => !inputs.aspectRatios.includes(one))) {
      const refusal = await refusalOf({ aspectRatio })
      expect(refusal?.pointer).toBe('/aspectRatio')
      if (inputs.aspectRatios.length > 0)
        expect(refusal?.message).toBe(`must be one of ${inputs.aspectRatios.join(', ')} for this model`)
      else expect(refusal?.message).toBe("must be left out: this model keeps the photo's ratio")
    }
  })

  test('names the durations that it makes', async () => {
    for (const durationSeconds of [1, 7, 60]) {
      const refusal = await refusalOf({
        durationSeconds,
        inputAssetIds: photos.slice(0, inputs.maxInputAssets),
      })
      expect(refusal?.pointer).toBe('/durationSeconds')
      expect(refusal?.message.match(/\d+/g)?.map(Number) ?? null).toEqual(inputs.durations)
    }
  })

  test('names the most outputs and photos that it takes', async () => {
    const tooMany = await refusalOf({ count: inputs.maxCount + 1 })
    expect(tooMany).toEqual({ pointer: '/count', message: `must be at most ${inputs.maxCount}` })
    const refusal = await refusalOf({ inputAssetIds: photos.slice(0, inputs.maxInputAssets + 1) })
    expect(refusal).toMatchObject({ pointer: '/inputAssetIds' })
    expect(refusal?.message).toMatch(new RegExp(`^must name .*\\b${inputs.maxInputAssets} of your images`))
  })
})

test.each([
  ["a duration that is nobody's", 1, {}, 7, 'must be one of 5, 6, 8, 10 for this model'],
  ['one that takes a photo', 0, {}, 5, 'must be one of 6, 8 for this model without a photo'],
  [
    'one that keeps its ratio',
    1,
    { aspectRatio: '9:16' },
    5,
    'must be one of 6, 8 for this model with this aspectRatio',
  ],
])('a refusal says what it depends on: %s', async (_, count, wish, durationSeconds, message) => {
  const { body } = await client.post('/generations/quote', {
    task: 'animate',
    prompt: 'x',
    inputAssetIds: photos.slice(0, count),
    durationSeconds,
    ...wish,
  })
  expect(body.errors).toEqual([{ pointer: '/durationSeconds', message }])
})
