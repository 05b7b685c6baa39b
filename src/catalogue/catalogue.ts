/** The catalogue as this deployment can serve it now: the offers of providers that are set up, and not yet retired. */
import type { Env } from '../env.ts'
import { providerOf } from '../providers/registry.ts'
import { type AspectRatio, aspectRatios, type Task } from '../words.ts'
import { builtIn } from './offers.ts'
import { Catalogue, type Model, type Offer } from './schema.ts'

const standard = Catalogue.parse(builtIn)

/** Every model of this deployment, whether it can be asked now or not. */
export const modelsOf = (env: Env): Model[] => env.MODEL_CATALOGUE ?? standard

export const usableOffers = (env: Env, { offers }: Model): Offer[] => {
  const today = new Date().toISOString().slice(0, 10)
  return offers.filter(
    ({ provider, retires }) =>
      providerOf(provider).isConfigured(env) && (retires === undefined || today < retires),
  )
}

export interface UsableModel {
  model: Model
  offers: [Offer, ...Offer[]]
}

const usableOf = (env: Env, models: readonly Model[]): UsableModel[] =>
  models.flatMap((model) => {
    const [offer, ...others] = usableOffers(env, model)
    return offer ? [{ model, offers: [offer, ...others] }] : []
  })

/** All models that can be asked now. */
export const usableModels = (env: Env): UsableModel[] => usableOf(env, modelsOf(env))

/** The named model of the task, or the task's first. */
export const findUsable = (env: Env, task: Task, id: string | undefined): UsableModel | undefined =>
  usableOf(
    env,
    modelsOf(env).filter((model) => model.task === task && (id === undefined || model.id === id)),
  )[0]

/** Whether it can be asked now or not. */
export const findModel = (env: Env, task: Task, id: string): Model | undefined =>
  modelsOf(env).find((model) => model.task === task && model.id === id)

/** What callers may ask of the model: what at least one of its offers can do. */
export const inputsOf = ({ model, offers }: UsableModel) => {
  const inputs = offers.map(({ input }) => input)
  const ratios = new Set<AspectRatio>(
    inputs.flatMap(({ shape }) => {
      if (shape === undefined || shape === 'from-photo') return []
      // `as`: keys of a record keep their type by the schema.
      return 'values' in shape ? (Object.keys(shape.values) as AspectRatio[]) : aspectRatios
    }),
  )
  const seconds = new Set(inputs.flatMap((input) => input.seconds?.values ?? []))
  return {
    prompt: inputs.some(({ prompt }) => prompt !== undefined),
    text: inputs.some(({ prompt, letters }) => prompt !== undefined && letters),
    seed: inputs.some(({ seed }) => seed !== undefined),
    minInputAssets: Math.min(...inputs.map(({ photos }) => photos?.min ?? 0)),
    maxInputAssets: Math.max(...inputs.map(({ photos }) => photos?.max ?? 0)),
    maxCount: model.maxCount,
    aspectRatios: aspectRatios.filter((ratio) => ratios.has(ratio)),
    durations: seconds.size > 0 ? [...seconds].sort((a, b) => a - b) : null,
  }
}
