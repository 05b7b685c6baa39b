/** From a request to what one offer's provider is sent: its own names, its own values, and nothing that it would drop. */
import {
  type AspectRatio,
  aspectRatios,
  type GenerationKind,
  type PreparedInput,
  type Style,
  type Task,
} from '../words.ts'
import { composePrompt, NEGATIVE_PROMPT } from './prompts.ts'
import type { Offer } from './schema.ts'

/** What a job asks for, whoever does it. Null is for the offer to choose. */
export interface Wish {
  task: Task
  kind: GenerationKind
  prompt: string | null
  text: string | null
  style: Style | null
  aspectRatio: AspectRatio | null
  /** Outputs. */
  count: number
  seed: number | null
  /** Seconds. */
  duration: number | null
  /** Photos to start from. */
  photos: number
}

/** The request's fields, in the order in which they are looked at. */
const checked = [
  'inputAssetIds',
  'style',
  'text',
  'prompt',
  'aspectRatio',
  'durationSeconds',
  'seed',
] as const

interface Misfit {
  field: (typeof checked)[number]
  /** What it could be. */
  message: string
  /** Where it could be one of a few. */
  values?: readonly (string | number)[]
}

const wordsOf = (wish: Wish) => ({ ...wish, hasPhotos: wish.photos > 0 })

const ratiosOf = ({ input: { shape } }: Offer): AspectRatio[] | 'any' | 'none' => {
  if (shape === undefined || shape === 'from-photo') return 'none'
  // `as`: keys of a record keep their type by the schema.
  return 'values' in shape ? (Object.keys(shape.values) as AspectRatio[]) : 'any'
}

/** As the contract counts characters. */
const lengthOf = (text: string) => Array.from(text).length

const oneOf = (values: readonly (string | number)[], given = '') => ({
  message: `must be one of ${values.join(', ')} for this model${given}`,
  values,
})

/** All that the offer can do there, whatever else is asked for; none where it is not one of a few. */
const valuesOf = (offer: Offer, field: Misfit['field']): readonly (string | number)[] => {
  if (field === 'durationSeconds') return offer.input.seconds?.values ?? []
  if (field !== 'aspectRatio') return []
  const ratios = ratiosOf(offer)
  if (ratios === 'none') return []
  return ratios === 'any' ? aspectRatios : ratios
}

/** What else is asked for there, in words. */
const givenOf = (field: Misfit['field'], { photos }: Wish) => {
  if (field !== 'inputAssetIds') return `with this ${field}`
  return photos === 0 ? 'without a photo' : 'with these photos'
}

/** The first thing of the request that the offer can't do. */
export const misfitOf = (offer: Offer, wish: Wish): Misfit | undefined => {
  const { prompt, letters, photos, seconds, seed, maxPrompt } = offer.input
  const least = photos?.min ?? 0
  const most = photos?.max ?? 0
  const ratios = ratiosOf(offer)
  if (wish.photos < least || wish.photos > most) {
    const range = least === most ? `exactly ${most}` : `${least} to ${most}`
    return { field: 'inputAssetIds', message: `must name ${range} of your images for this model` }
  }
  if (!prompt && wish.style !== null) return { field: 'style', message: 'is not taken by this model' }
  if (wish.text !== null && !(prompt && letters))
    return { field: 'text', message: 'is not taken by this model, which cannot render text' }
  if (!prompt && wish.prompt !== null) return { field: 'prompt', message: 'is not taken by this model' }
  if (wish.prompt === null && wish.photos === 0)
    return { field: 'prompt', message: 'is needed, unless there are inputAssetIds' }
  if (prompt) {
    const over = lengthOf(composePrompt(wordsOf(wish))) - maxPrompt
    if (over > 0) {
      const room = Math.max(0, lengthOf(wish.prompt ?? '') - over)
      return { field: 'prompt', message: `must have at most ${room} characters for this model` }
    }
  }
  if (wish.aspectRatio !== null && ratios === 'none')
    return { field: 'aspectRatio', message: "must be left out: this model keeps the photo's ratio" }
  if (wish.aspectRatio !== null && Array.isArray(ratios) && !ratios.includes(wish.aspectRatio))
    return { field: 'aspectRatio', ...oneOf(ratios) }
  if (wish.duration !== null && !seconds) return { field: 'durationSeconds', message: 'is for films only' }
  if (wish.duration !== null && !seconds?.values.includes(wish.duration))
    return { field: 'durationSeconds', ...oneOf(seconds?.values ?? []) }
  if (wish.seed !== null && !seed) return { field: 'seed', message: 'is not taken by this model' }
  return undefined
}

/**
 * What to tell of a request that none of the offers can do: of the one that comes nearest, with what any of them could, and
 * with what else of the request keeps others from doing more.
 */
export const nearestOf = (offers: readonly Offer[], wish: Wish): Misfit | undefined => {
  const misfits = offers.flatMap((offer) => {
    const misfit = misfitOf(offer, wish)
    return misfit ? [{ offer, misfit }] : []
  })
  const nearest = misfits
    .map(({ misfit }) => misfit)
    .toSorted((a, b) => checked.indexOf(b.field) - checked.indexOf(a.field))[0]
  if (!nearest?.values) return nearest
  const { field } = nearest
  const could = misfits.flatMap(({ misfit }) => (misfit.field === field ? (misfit.values ?? []) : []))
  const values = [...new Set(could)].sort((a, b) =>
    typeof a === 'number' && typeof b === 'number' ? a - b : 0,
  )
  const kept = misfits.filter(
    ({ offer, misfit }) =>
      misfit.field !== field && valuesOf(offer, field).some((value) => !values.includes(value)),
  )
  const given = checked
    .filter((other) => kept.some(({ misfit }) => misfit.field === other))
    .map((other) => givenOf(other, wish))
  return { field, ...oneOf(values, given.length > 0 ? ` ${given.join(' and ')}` : '') }
}

/** Whether the model can use the photo, as it is prepared. */
export const takes = ({ input: { photos } }: Offer, { mimeType, width, height }: PreparedInput): boolean =>
  photos?.types.includes(mimeType) === true && Math.min(width, height) >= photos.minSide

/** Seconds of the film that the offer would make. */
const secondsOf = ({ input: { seconds } }: Offer, { duration }: Wish): number | undefined =>
  seconds && (duration ?? seconds.values[0])

const shapeOf = ({ input: { shape } }: Offer, { aspectRatio }: Wish): Record<string, unknown> => {
  if (shape === undefined || shape === 'from-photo') return {}
  if ('values' in shape) {
    const chosen = aspectRatio ?? '1:1'
    return { [shape.field]: shape.values[chosen] ?? Object.values(shape.values)[0] }
  }
  const [across = 1, down = 1] = (aspectRatio ?? '1:1').split(':').map(Number)
  const side = Math.sqrt(shape.pixels / (across * down))
  const round = (length: number) => Math.floor(length / shape.multipleOf) * shape.multipleOf
  return { [shape.width]: round(side * across), [shape.height]: round(side * down) }
}

/** All fields but the photos. `count`: outputs of this call. */
export const fieldsOf = (offer: Offer, wish: Wish, count: number): Record<string, unknown> => {
  const { prompt, negativePrompt, seconds, seed, count: several, fixed } = offer.input
  const duration = secondsOf(offer, wish)
  return {
    ...fixed,
    ...(prompt && { [prompt]: composePrompt(wordsOf(wish)) }),
    ...(negativePrompt && { [negativePrompt]: NEGATIVE_PROMPT }),
    ...shapeOf(offer, wish),
    ...(several && { [several.field]: count }),
    ...(seconds && { [seconds.field]: seconds.as === 'string' ? String(duration) : duration }),
    ...(seed && wish.seed !== null && { [seed]: wish.seed }),
  }
}

/** The photos under the offer's names. */
export const photoFieldsOf = (
  { input: { photos } }: Offer,
  urls: readonly string[],
): Record<string, unknown> => {
  if (!photos || urls.length === 0) return {}
  switch (photos.as) {
    case 'one':
      return { [photos.field]: urls[0] }
    case 'list':
      return { [photos.field]: urls }
    case 'numbered':
      return Object.fromEntries(urls.map((url, i) => [`${photos.field}${i}`, url]))
  }
}

/** Dollars of some outputs; of films, of one second each. */
const unitsOf = (offer: Offer, wish: Wish, outputs: number): number => {
  switch (offer.price.per) {
    case 'second':
      return (secondsOf(offer, wish) ?? 1) * outputs
    case 'image':
      return outputs
    // As the built-in offers are asked: about a megapixel each.
    case 'megapixel':
      return outputs
    case 'run':
      return Math.ceil(outputs / (offer.input.count?.max ?? 1))
  }
}

/** What the provider takes for it, in dollars. */
export const costOf = (offer: Offer, wish: Wish, outputs: number): number =>
  Math.round(unitsOf(offer, wish, outputs) * offer.price.usd * 1e6) / 1e6

/** Dollars behind a credit: the one formula from a provider's price to a customer's. */
const CREDIT = 0.01

/** Credits of one unit of the offer's price. */
export const creditsPer = ({ price: { per, usd } }: Offer) => ({
  per,
  credits: Math.round((usd / CREDIT) * 100) / 100,
})

export const creditsOf = (offer: Offer, wish: Wish): number =>
  Math.max(1, Math.ceil(Math.round((costOf(offer, wish, wish.count) / CREDIT) * 1e6) / 1e6))
