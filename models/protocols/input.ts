/** Checks what a client sends to create a prediction, the way Replicate reports it when something is wrong. */
import { randomInt } from 'node:crypto'
import { z } from 'zod'
import { type Order, styleNames } from './order.ts'

/** The model that makes videos; all other names make pictures. */
const videoModel = 'merchant-content/product-motion'

const eventNames = ['start', 'output', 'logs', 'completed'] as const

export type EventName = (typeof eventNames)[number]

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
    const seed = pickSeed(input.seed)
    return { ...input, seed, images: image, width, height, count: num_outputs, format: output_format }
  })

const videoInput = z
  .object({
    ...common,
    aspect_ratio: z.enum(aspectRatios).default('16:9'),
    /** Seconds. */
    duration: z.number().min(1).max(10).default(5),
  })
  .transform(({ image, aspect_ratio, duration, ...input }): Order => {
    const [width, height] = videoSizes[aspect_ratio]
    const seed = pickSeed(input.seed)
    return { ...input, seed, images: image, width, height, format: 'mp4', seconds: duration }
  })

const envelope = z.object({
  version: z.string().min(1).optional(),
  webhook: z.url({ protocol: /^https?$/ }).optional(),
  webhook_events_filter: z.array(z.enum(eventNames)).optional(),
})

const schemas = {
  image: envelope.extend({ input: imageInput }),
  video: envelope.extend({ input: videoInput }),
}

type Creation = z.infer<typeof schemas.image>

export interface InvalidField {
  type: string
  field: string
  description: string
}

/** `model` is the one that the request's URL names; without it the body has to name a version. */
export function parseCreation(
  body: unknown,
  model: string | undefined,
): { creation: Creation; invalid?: never } | { creation?: never; invalid: InvalidField[] } {
  const version = typeof body === 'object' && body !== null && 'version' in body ? body.version : undefined
  const [named] = (model ?? String(version ?? '')).split(':')
  const parsed = schemas[named === videoModel ? 'video' : 'image'].safeParse(body)
  if (!parsed.success) {
    const invalid = parsed.error.issues.map(({ code, path, message }) => ({
      type: code,
      field: path.join('.') || 'body',
      description: message,
    }))
    return { invalid }
  }
  if (model === undefined && !parsed.data.version) {
    return { invalid: [{ type: 'required', field: 'version', description: 'version is required' }] }
  }
  return { creation: parsed.data }
}
