/**
 * What the model server takes besides the real models, until nothing asks for it any more: the two invented models
 * of Replicate, a retired one of OpenAI and Workers AI's flux-1-schnell with a photo, size and seed. To be deleted
 * together with the option `legacy` of `startModels`.
 */
import { randomInt } from 'node:crypto'
import { z } from 'zod'
import { type Order, styleNames } from './protocols/order.ts'
import type { InvalidField } from './protocols/replicate-input.ts'
import { findSchema, type ModelSchema } from './schemas.ts'

/** The model that makes videos; all other names make pictures. */
const videoModel = 'merchant-content/product-motion'

const aspectRatios = ['1:1', '4:3', '3:4', '16:9', '9:16'] as const

type Sizes = Record<(typeof aspectRatios)[number], [width: number, height: number]>

const imageSizes: Sizes = {
  '1:1': [1024, 1024],
  '4:3': [1024, 768],
  '3:4': [768, 1024],
  '16:9': [1024, 576],
  '9:16': [576, 1024],
}

const videoSizes: Sizes = {
  '1:1': [960, 960],
  '4:3': [1120, 840],
  '3:4': [840, 1120],
  '16:9': [1280, 720],
  '9:16': [720, 1280],
}

const common = {
  prompt: z.string().max(10_000).default(''),
  image: z.preprocess(
    (value) => (typeof value === 'string' ? [value] : (value ?? [])),
    z.array(z.url({ protocol: /^(https?|data)$/, error: "Does not match format 'uri'" })).max(10),
  ),
  style: z.enum(styleNames).default('modern'),
  seed: z.int().nullish(),
}

const pickSeed = (seed: number | null | undefined): number => seed ?? randomInt(2 ** 31)

const imageInput = z
  .object({
    ...common,
    aspect_ratio: z.enum(aspectRatios).default('1:1'),
    num_outputs: z.int().min(1).max(4).default(1),
    output_format: z.enum(['png', 'webp', 'jpg']).default('webp'),
  })
  .transform(({ image, aspect_ratio, num_outputs, output_format, ...input }): Order => {
    const [width, height] = imageSizes[aspect_ratio]
    const shape = { width, height }
    const seed = pickSeed(input.seed)
    return { ...input, seed, photos: image, shape, task: 'scene', count: num_outputs, format: output_format }
  })

const videoInput = z.object({
  ...common,
  aspect_ratio: z.enum(aspectRatios).default('16:9'),
  /** Seconds. */
  duration: z.number().min(1).max(10).default(5),
})

function toFilm(
  { image, aspect_ratio, duration, ...input }: z.infer<typeof videoInput>,
  scale: number,
): Order {
  const [width, height] = videoSizes[aspect_ratio].map((side) => 2 * Math.round((side * scale) / 2))
  const shape = { width: width ?? 0, height: height ?? 0 }
  const seed = pickSeed(input.seed)
  return { ...input, seed, photos: image, shape, format: 'mp4', seconds: duration, opening: 'scene' }
}

/** The order for an invented model of Replicate, or what is wrong with the request's `input`. */
export function readLegacyInput(
  model: string,
  input: unknown,
  filmScale: number,
): { order: Order; invalid?: never } | { order?: never; invalid: InvalidField[] } {
  const film = videoInput.transform((checked) => toFilm(checked, filmScale))
  const parsed = (model === videoModel ? film : imageInput).safeParse(input)
  if (parsed.success) return { order: parsed.data }
  const invalid = parsed.error.issues.map(({ code, path, message }) => ({
    type: code,
    field: ['input', ...path].join('.'),
    description: message,
  }))
  return { invalid }
}

/** The recorded schemas behind their looser versions. */
export function addLegacySchemas(schemas: ModelSchema[]): ModelSchema[] {
  const gpt = findSchema(schemas, 'openai', 'gpt-image-1.5')
  const flux = findSchema(schemas, 'workers-ai', '@cf/black-forest-labs/flux-1-schnell')
  if (!gpt || !flux) throw new Error('The schemas that the legacy ones are made of are missing.')
  const side = { type: 'integer', minimum: 256, maximum: 2048, default: 1024 } as const
  return [
    { ...gpt, model: 'gpt-image-1', capabilities: ['scene'], retires: undefined },
    {
      ...flux,
      photos: { fields: ['image_b64'], min: 0, alpha: true },
      input: {
        type: 'object',
        required: ['prompt'],
        properties: {
          ...flux.input.properties,
          seed: { type: 'integer' },
          num_steps: { type: 'integer', minimum: 1, maximum: 20 },
          width: side,
          height: side,
          image_b64: { type: 'string' },
        },
      },
    },
    ...schemas,
  ]
}
