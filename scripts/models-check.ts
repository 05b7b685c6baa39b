/**
 * `npm run models:check`: whether each offer of the catalogue still is what its provider publishes. Generates nothing and
 * costs nothing. Live where a provider's key is set in the environment, else against the recorded schemas (models/schemas).
 * Ends with 1 when something has to be done.
 */

import { findSchema, type InputSchema, loadSchemas, type ModelSchema } from '../models/schemas.ts'
import { builtIn } from '../src/catalogue/offers.ts'
import { Catalogue, type Offer } from '../src/catalogue/schema.ts'

/** Days before a retirement from which it is told. */
const NOTICE = 60

/** What the offer sends under each name, as samples. */
const samplesOf = ({ provider, input }: Offer): Map<string, unknown[]> => {
  const { prompt, negativePrompt, photos, shape, count, seconds, seed, fixed } = input
  const samples = new Map<string, unknown[]>(Object.entries(fixed).map(([name, value]) => [name, [value]]))
  const add = (name: string | undefined, ...values: unknown[]) =>
    name !== undefined && samples.set(name, values)
  add(prompt, 'words')
  add(negativePrompt, 'words')
  if (photos) {
    const url = 'https://example.com/photo.jpg'
    const many = Array.from({ length: photos.max }, () => url)
    if (photos.as === 'numbered') for (const [i] of many.entries()) add(`${photos.field}${i}`, url)
    else if (provider === 'gemini') add(photos.field, { mimeType: 'image/jpeg', data: '' })
    else add(photos.field, photos.as === 'one' ? url : many)
  }
  if (typeof shape === 'object') {
    if ('values' in shape) add(shape.field, ...Object.values(shape.values))
    else for (const name of [shape.width, shape.height]) add(name, Math.floor(Math.sqrt(shape.pixels)))
  }
  add(count?.field, 1, count?.max)
  add(
    seconds?.field,
    ...(seconds?.values ?? []).map((value) => (seconds?.as === 'string' ? String(value) : value)),
  )
  add(seed, 7)
  return samples
}

const typeOf = (value: unknown): InputSchema['type'][] => {
  if (Array.isArray(value)) return ['array']
  if (typeof value === 'number') return Number.isInteger(value) ? ['integer', 'number'] : ['number']
  return [typeof value as 'string' | 'boolean' | 'object']
}

/** All properties by their own names, however deep: Gemini's input is nested, and the offers name its leaves. */
const propertiesOf = ({ properties = {}, items }: InputSchema): Record<string, InputSchema> => ({
  ...(items && propertiesOf(items)),
  ...Object.assign({}, ...Object.values(properties).map(propertiesOf)),
  ...properties,
})

/** Why the provider would refuse or drop what the offer sends. */
export const problemsWith = (offer: Offer, schema: InputSchema): string[] => {
  const properties = propertiesOf(schema)
  const samples = samplesOf(offer)
  const problems: string[] = []
  for (const [name, values] of samples) {
    const wanted = properties[name] ?? properties[name.replace('[]', '')]
    if (!wanted) {
      problems.push(`there is no input ${name}: it would be dropped`)
      continue
    }
    for (const value of values) {
      if (!typeOf(value).includes(wanted.type))
        problems.push(`${name} is a ${wanted.type}, and not ${JSON.stringify(value)}`)
      else if (wanted.enum && !wanted.enum.includes(value as string))
        problems.push(`${name} does not offer ${value}`)
      else if (Array.isArray(value) && value.length > (wanted.maxItems ?? 1000))
        problems.push(`${name} takes ${wanted.maxItems} at most`)
      else if (
        typeof value === 'number' &&
        (value < (wanted.minimum ?? value) || value > (wanted.maximum ?? value))
      )
        problems.push(`${name} does not take ${value}`)
    }
  }
  const isNested = offer.provider === 'gemini'
  const always = [...samples.keys()].map((name) => name.replace('[]', ''))
  for (const name of schema.required ?? [])
    if (!always.includes(name) && name !== 'model' && !isNested)
      problems.push(`${name} is required and never sent`)
  return problems
}

/** What a live answer says of an offer, or why there is none. */
interface Live {
  schema?: InputSchema
  retires?: string | undefined
  problem?: string
}

const env = process.env
const ask = async (
  url: string,
  headers: Record<string, string>,
): Promise<{ body?: unknown; problem?: string }> => {
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(15_000) })
    if (response.ok) return { body: await response.json() }
    const meanings: Record<number, string> = {
      401: 'the key is refused',
      402: 'the account has no credit',
      403: 'the account may not use it',
      404: 'the model does not exist',
    }
    return { problem: meanings[response.status] ?? `it answered ${response.status}` }
  } catch (error) {
    return { problem: `it could not be reached: ${error instanceof Error ? error.message : error}` }
  }
}

/** cog writes enums as schemas of their own. */
const fromCog = (body: unknown): InputSchema | undefined => {
  const { latest_version } = body as {
    latest_version?: { openapi_schema?: { components?: { schemas?: Record<string, InputSchema> } } }
  }
  const schemas = latest_version?.openapi_schema?.components?.schemas
  const input = schemas?.Input
  if (!input) return undefined
  const properties = Object.entries(input.properties ?? {}).map(([name, property]) => {
    const { allOf } = property as { allOf?: { $ref: string }[] }
    const referred = allOf?.[0]?.$ref.split('/').at(-1)
    return [name, { ...property, ...(referred && schemas?.[referred]) }]
  })
  return { ...input, properties: Object.fromEntries(properties) }
}

const live: Record<Offer['provider'], ((offer: Offer) => Promise<Live>) | undefined> = {
  replicate: env.REPLICATE_API_TOKEN
    ? async ({ model }) => {
        const base = env.REPLICATE_BASE_URL ?? 'https://api.replicate.com/v1'
        const { body, problem } = await ask(`${base}/models/${model.split(':')[0]}`, {
          authorization: `Bearer ${env.REPLICATE_API_TOKEN}`,
        })
        const schema = body === undefined ? undefined : fromCog(body)
        return schema ? { schema } : { problem: problem ?? 'it publishes no schema' }
      }
    : undefined,
  openai: env.OPENAI_API_KEY
    ? async ({ model }) => {
        const base = env.OPENAI_BASE_URL ?? 'https://api.openai.com/v1'
        const { body, problem } = await ask(`${base}/models/${model}`, {
          authorization: `Bearer ${env.OPENAI_API_KEY}`,
        })
        return problem ? { problem } : { retires: (body as { shutdown_date?: string }).shutdown_date }
      }
    : undefined,
  gemini: env.GEMINI_API_KEY
    ? async ({ model }) => {
        const base = env.GEMINI_BASE_URL ?? 'https://generativelanguage.googleapis.com/v1beta'
        const { problem } = await ask(`${base}/models/${model}`, {
          'x-goog-api-key': String(env.GEMINI_API_KEY),
        })
        return problem ? { problem } : {}
      }
    : undefined,
  // Neither publishes a schema at an address that its documentation promises.
  fal: undefined,
  'workers-ai': undefined,
}

const check = async (
  offer: Offer,
  recorded: ModelSchema | undefined,
): Promise<{ by: string; problems: string[] }> => {
  const look = live[offer.provider]
  const { schema, retires, problem } = look ? await look(offer) : {}
  const problems = problem ? [problem] : []
  const known = schema ?? recorded?.input
  if (!known) problems.push('there is no recorded schema')
  else if (!problem) problems.push(...problemsWith(offer, known))
  const end = [retires, recorded?.retires, offer.retires].find((day) => day !== undefined)
  const days = end ? Math.floor((Date.parse(end) - Date.now()) / 86_400_000) : undefined
  if (days !== undefined && days < NOTICE)
    problems.push(days < 0 ? `it was shut down on ${end}` : `it ends on ${end}`)
  return { by: look ? 'live' : 'recorded', problems }
}

if (import.meta.main) {
  const parsed = Catalogue.safeParse(env.MODEL_CATALOGUE ? JSON.parse(env.MODEL_CATALOGUE) : builtIn)
  if (!parsed.success) {
    for (const { path, message } of parsed.error.issues)
      console.error(`MODEL_CATALOGUE ${path.join('.')}: ${message}`)
    process.exit(1)
  }
  const schemas = loadSchemas()
  const seen = new Set<string>()
  for (const model of parsed.data) {
    for (const offer of model.offers) {
      const name = `${model.id}: ${offer.provider} ${offer.model}`
      if (seen.has(name)) continue
      seen.add(name)
      const { by, problems } = await check(
        offer,
        findSchema(schemas, offer.provider, offer.model.split(':')[0] ?? ''),
      )
      console.log(`${problems.length === 0 ? 'ok ' : 'NO '} ${name} (${by})`)
      for (const problem of problems) {
        console.log(`      ${problem}`)
        process.exitCode = 1
      }
    }
  }
}
