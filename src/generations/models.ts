/** The catalogue: what can be generated, by which providers' models in which order, for how many credits. */

import type { ProviderName } from '../providers/registry.ts'
import { type AspectRatio, aspectRatios, type GenerationKind } from '../words.ts'

export interface Offer {
  provider: ProviderName
  /** What the provider calls the model. */
  model: string
  /** Whether it can start from pictures. */
  takesImages: boolean
}

export interface Model {
  id: string
  kind: GenerationKind
  name: string
  /** The first is asked first; the others when it fails. */
  offers: readonly [Offer, ...Offer[]]
  /** Per generation, whatever its count. */
  credits: number
  inputs: {
    maxCount: number
    maxInputAssets: number
    aspectRatios: readonly AspectRatio[]
    /** Seconds; null for pictures. */
    maxDuration: number | null
  }
  /** Seconds from its first step until a job that has not finished fails. */
  deadline: number
}

export const models: readonly [Model, ...Model[]] = [
  {
    id: 'product-studio',
    kind: 'image',
    name: 'Product Studio',
    offers: [
      { provider: 'replicate', model: 'merchant-content/product-studio', takesImages: true },
      { provider: 'openai', model: 'gpt-image-1', takesImages: true },
      { provider: 'workers-ai', model: '@cf/black-forest-labs/flux-1-schnell', takesImages: false },
    ],
    credits: 5,
    inputs: { maxCount: 4, maxInputAssets: 4, aspectRatios, maxDuration: null },
    deadline: 600,
  },
  {
    id: 'product-motion',
    kind: 'video',
    name: 'Product Motion',
    offers: [{ provider: 'replicate', model: 'merchant-content/product-motion', takesImages: true }],
    credits: 20,
    inputs: { maxCount: 1, maxInputAssets: 1, aspectRatios, maxDuration: 10 },
    deadline: 1800,
  },
]

/** The named model, or the kind's first. */
export const findModel = (kind: Model['kind'], id: string | undefined): Model | undefined =>
  models.find((model) => model.kind === kind && (id === undefined || model.id === id))
