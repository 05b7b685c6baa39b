/** Loads the recorded schemas of real models: what each takes, what it gives, and where that is written. */
import { readdirSync, readFileSync } from 'node:fs'
import { z } from 'zod'

const providerNames = ['replicate', 'fal', 'openai', 'gemini', 'workers-ai'] as const

export type SchemaProvider = (typeof providerNames)[number]

/** The part of JSON Schema that the recorded inputs use. */
export interface InputSchema {
  type: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  required?: string[] | undefined
  properties?: Record<string, InputSchema> | undefined
  /** False where the provider refuses what it doesn't know; elsewhere it is ignored. */
  additionalProperties?: false | undefined
  items?: InputSchema | undefined
  minItems?: number | undefined
  maxItems?: number | undefined
  enum?: (string | number)[] | undefined
  default?: unknown
  format?: 'uri' | 'binary' | undefined
  pattern?: string | undefined
  minLength?: number | undefined
  maxLength?: number | undefined
  minimum?: number | undefined
  maximum?: number | undefined
}

const inputSchema: z.ZodType<InputSchema> = z.lazy(() =>
  z.strictObject({
    type: z.enum(['object', 'array', 'string', 'integer', 'number', 'boolean']),
    required: z.array(z.string()).optional(),
    properties: z.record(z.string(), inputSchema).optional(),
    additionalProperties: z.literal(false).optional(),
    items: inputSchema.optional(),
    minItems: z.int().optional(),
    maxItems: z.int().optional(),
    enum: z.array(z.union([z.string(), z.number()])).optional(),
    default: z.unknown().optional(),
    format: z.enum(['uri', 'binary']).optional(),
    pattern: z.string().optional(),
    minLength: z.int().optional(),
    maxLength: z.int().optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
  }),
)

/** Holds only for inputs with one of these values. */
const when = z.record(z.string(), z.array(z.union([z.string(), z.number(), z.boolean()])))

const modelSchema = z
  .strictObject({
    provider: z.enum(providerNames),
    model: z.string().min(1),
    /** Replicate's only: official models have an address of their own, the others need their version. */
    official: z.boolean().optional(),
    version: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
    /** Where it is written. */
    source: z.array(z.url()).min(1),
    /** The month in which that was read. */
    checked: z.string().regex(/^\d{4}-\d{2}$/),
    /** What it can do; the first is what it does unless the prompt asks for another. */
    capabilities: z.array(z.enum(['scene', 'cutout', 'packshot', 'upscale', 'expand', 'animate'])).min(1),
    /** How the input travels. */
    encoding: z.enum(['json', 'multipart']).default('json'),
    input: inputSchema,
    /** One result or a list of results. */
    output: z.enum(['string', 'array']),
    /** The field that asks for more than the one picture of a call. */
    picturesPerCall: z
      .strictObject({ field: z.string(), max: z.int().min(2), when: when.optional() })
      .optional(),
    /** A film takes the photo's shape, whatever ratio is asked for. */
    followsPhoto: z.boolean().default(false),
    /** The fields that take photos, the usual one first, and what a photo must be. Sides in pixels. */
    photos: z
      .strictObject({
        fields: z.array(z.string()).min(1),
        min: z.int().default(0),
        max: z.int().optional(),
        types: z.array(z.string()).optional(),
        maxBytes: z.int().optional(),
        minSide: z.int().optional(),
        maxSide: z.int().optional(),
        /** Width by height. */
        minRatio: z.number().optional(),
        maxRatio: z.number().optional(),
        /** False where transparency is refused. */
        alpha: z.boolean().default(true),
      })
      .optional(),
    /** What fails a run though each field is right: values that don't go together, or fields that exclude each other. */
    conflicts: z
      .array(
        z.strictObject({
          when: when.default({}),
          fields: z.array(z.string()).default([]),
          error: z.string(),
        }),
      )
      .default([]),
    /** Fields of which one at least has to be there. */
    needs: z.array(z.array(z.string()).min(2)).default([]),
    /** Bounds of a size given as `WxH`. */
    size: z
      .strictObject({
        multipleOf: z.int(),
        minRatio: z.number(),
        maxRatio: z.number(),
        minPixels: z.int(),
        maxPixels: z.int(),
        maxSide: z.int(),
      })
      .optional(),
    /** What comes instead of refused content: an error, an empty result, or what is left of the list. */
    refusal: z.strictObject({ as: z.enum(['error', 'empty', 'fewer']), text: z.string() }),
    price: z.array(z.strictObject({ per: z.string(), usd: z.number(), when: when.optional() })).optional(),
    /** The day on which it is shut down. */
    retires: z.iso.date().optional(),
    /** What is uncertain, in sentences. */
    notes: z.array(z.string()).optional(),
  })
  .refine(({ provider, official }) => (provider === 'replicate') === (official !== undefined), {
    message: 'official is for models of Replicate, and for all of them',
  })
  .refine(({ official, version }) => official !== false || version !== undefined, {
    message: 'a community model needs its version',
  })

export type ModelSchema = z.infer<typeof modelSchema>

export type PhotoRules = NonNullable<ModelSchema['photos']>

/** Reads all of them from `models/schemas/`. Throws with the file's name when one is not as it should be. */
export function loadSchemas(): ModelSchema[] {
  const folder = new URL('./schemas/', import.meta.url)
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => {
      const parsed = modelSchema.safeParse(JSON.parse(readFileSync(new URL(name, folder), 'utf8')))
      if (!parsed.success) throw new Error(`models/schemas/${name}: ${z.prettifyError(parsed.error)}`)
      return parsed.data
    })
}

export const findSchema = (
  schemas: ModelSchema[],
  provider: SchemaProvider,
  model: string,
): ModelSchema | undefined => schemas.find((each) => each.provider === provider && each.model === model)
