/** The built-in catalogue: valid, and each offer's request is one that the provider takes as recorded. */
import { describe, expect, test } from 'vitest'
import { findSchema, loadSchemas } from '../../models/schemas.ts'
import { problemsWith } from '../../scripts/models-check.ts'
import { costOf, creditsOf, fieldsOf, misfitOf, type Wish } from '../../src/catalogue/input.ts'
import { builtIn } from '../../src/catalogue/offers.ts'
import { Catalogue } from '../../src/catalogue/schema.ts'
import { kindOf, tasks } from '../../src/words.ts'

const models = Catalogue.parse(builtIn)
const schemas = loadSchemas()
const offers = models.flatMap((model) => model.offers.map((offer) => ({ id: model.id, model, offer })))

test('there is a model for every task', () => {
  expect(new Set(models.map(({ task }) => task))).toEqual(new Set(tasks))
})

const wishFor = ({ model, offer }: (typeof offers)[number]): Wish => ({
  task: model.task,
  kind: kindOf(model.task),
  prompt: null,
  text: null,
  style: null,
  aspectRatio: null,
  count: model.maxCount,
  seed: null,
  duration: null,
  photos: Math.max(1, offer.input.photos?.min ?? 0),
})

describe.each(offers)('$id by $offer.provider', (one) => {
  const { offer } = one
  const recorded = findSchema(schemas, offer.provider, offer.model.split(':')[0] ?? '')

  test('sends what the recorded schema takes, and all that it requires', () => {
    expect(recorded && problemsWith(offer, recorded.input)).toEqual([])
  })

  test('asks for no more photos and outputs than the model takes, and not for what is shut down', () => {
    const { photos, count } = offer.input
    expect(photos?.max ?? 0).toBeLessThanOrEqual(recorded?.photos?.max ?? 100)
    expect(count?.max ?? 1).toBeLessThanOrEqual(recorded?.picturesPerCall?.max ?? 1)
    expect((recorded?.retires ?? '9999') > '2026-12-31').toBe(true)
    const { shape } = offer.input
    const sizes = recorded?.size && typeof shape === 'object' && 'values' in shape ? shape.values : {}
    for (const [ratio, size] of Object.entries(sizes)) {
      const [width = 0, height = 0] = size.split('x').map(Number)
      const [across = 0, down = 0] = ratio.split(':').map(Number)
      const { multipleOf = 1, minPixels = 0, maxPixels = 0 } = recorded?.size ?? {}
      expect([width % multipleOf, height % multipleOf, width * down]).toEqual([0, 0, height * across])
      expect(width * height).toBeGreaterThanOrEqual(minPixels)
      expect(width * height).toBeLessThanOrEqual(maxPixels)
    }
  })

  test('fits the smallest wish, and costs as many credits as cents', () => {
    const wish = wishFor(one)
    expect(misfitOf(offer, wish)).toBeUndefined()
    const dollars = costOf(offer, wish, wish.count)
    expect(creditsOf(offer, wish)).toBe(Math.max(1, Math.ceil(Number((dollars * 100).toFixed(4)))))
  })
})

test('a prompt says what stays, what to do and how; quotes are lettering only where asked for', () => {
  const one = offers.find(({ offer }) => offer.model === 'google/nano-banana')
  if (!one) throw new Error('no offer')
  const wish = { ...wishFor(one), prompt: 'On a beach, "SALE" is not to be painted', style: 'fresh' as const }
  const { prompt } = fieldsOf(one.offer, wish, 1)
  expect(prompt).toContain('stays exactly as in the picture')
  expect(prompt).toContain('On a beach')
  expect(prompt).toContain('light greens')
  expect(prompt).toContain('Add no lettering')
})

test.each([
  ['an unknown field', { ...models[0], colour: 'red' }, 'colour'],
  ['no offers', { ...models[0], offers: [] }, 'offers'],
  [
    'a provider that there is not',
    { ...models[0], offers: [{ ...models[0]?.offers[0], provider: 'x' }] },
    'provider',
  ],
  ['a film without seconds', { ...models[0], task: 'animate' }, 'seconds'],
])('a catalogue with %s is refused, with its place', (_, model, place) => {
  const { error } = Catalogue.safeParse([model])
  expect(JSON.stringify(error?.issues)).toContain(place)
})
