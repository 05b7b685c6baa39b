/** The catalogue: what can be generated, by which provider's model, for how many credits. */
import type { generationKinds } from '../db/schema.ts'

export const styles = ['modern', 'luxury', 'fresh', 'tech', 'warm', 'business'] as const
export const aspectRatios = ['1:1', '4:3', '3:4', '16:9', '9:16'] as const

export interface Model {
  id: string
  kind: (typeof generationKinds)[number]
  name: string
  /** What the provider calls it. */
  providerModel: `${string}/${string}`
  /** Per generation, whatever its count. */
  credits: number
  inputs: { maxCount: number; maxInputAssets: number; aspectRatios: readonly (typeof aspectRatios)[number][] }
  /** Seconds from acceptance until a job that has not finished fails. */
  deadline: number
}

export const models: readonly [Model, ...Model[]] = [
  {
    id: 'product-studio',
    kind: 'image',
    name: 'Product Studio',
    providerModel: 'merchant-content/product-studio',
    credits: 5,
    inputs: { maxCount: 4, maxInputAssets: 4, aspectRatios },
    deadline: 600,
  },
]

/** The named model, or the kind's first. */
export const findModel = (kind: Model['kind'], id: string | undefined): Model | undefined =>
  models.find((model) => model.kind === kind && (id === undefined || model.id === id))
