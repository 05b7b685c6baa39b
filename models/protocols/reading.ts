/** Understands an input the way the model would: what to make of which photos, how large, how many, how long. */

import { randomInt } from 'node:crypto'
import type { ModelSchema } from '../schemas.ts'
import type { Scale } from './context.ts'
import { findStyle, type Order, type Shape } from './order.ts'
import type { PhotoSource } from './photos.ts'

type Input = Record<string, unknown>

const megapixel = 1024 * 1024

/** Pixels of a picture by what its resolution is called. */
const picturePixels: Record<string, number> = {
  '512': megapixel / 4,
  '0.5K': megapixel / 4,
  '1K': megapixel,
  '2K': 4 * megapixel,
  '4K': 16 * megapixel,
}

/** The words that ask a model for more than its first capability. */
const wishes = {
  cutout: /\b(transparent background|remove the background|cut ?-?out)\b/i,
  packshot: /\b(packshot|white (background|backdrop))\b/i,
  upscale: /\b(upscale|enlarge (the|this) (photo|image|picture))\b/i,
  expand:
    /\b(outpaint|uncrop|(expand|extend) (the|this) (photo|image|picture|frame|canvas|background|scene))\b/i,
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

export const promptOf = (input: Input): string => text(input.prompt) || text(input.bg_prompt)

/** What stands between quotation marks: image models write it into the picture. */
const captionOf = (prompt: string): string => /["“]([^"”]{1,200})["”]/.exec(prompt)?.[1] ?? ''

/** Everything in the fields that take photos; a field that the model doesn't know is none of them. */
function photosOf({ photos }: ModelSchema, input: Input): PhotoSource[] {
  const found = (photos?.fields ?? []).flatMap((field) => input[field])
  return found.filter((value) => typeof value === 'string' || value instanceof Uint8Array)
}

function chooseTask({ capabilities }: ModelSchema, input: Input): 'scene' | keyof typeof wishes {
  const can = capabilities.filter((each) => each !== 'animate')
  const prompt = promptOf(input)
  if (input.background === 'transparent' && can.includes('cutout')) return 'cutout'
  if (input.background_type === 'white' && can.includes('packshot')) return 'packshot'
  const wanted = can.find((each) => each !== 'scene' && each !== can[0] && wishes[each].test(prompt))
  return wanted ?? can[0] ?? 'scene'
}

const holds = (when: Record<string, unknown[]>, input: Input): boolean =>
  Object.entries(when).every(([name, values]) => values.includes(input[name]))

function countOf({ picturesPerCall }: ModelSchema, input: Input): number {
  if (!picturesPerCall) return 1
  const { field, when = {} } = picturesPerCall
  return holds(when, input) ? Number(input[field] ?? 1) : 1
}

/** Why the run will fail; undefined when nothing speaks against it. */
function conflictOf({ conflicts, needs }: ModelSchema, input: Input): string | undefined {
  const isGiven = (name: string): boolean => [input[name] ?? []].flat().length > 0
  const missing = needs.find((names) => !names.some(isGiven))
  if (missing) return `Either ${missing.join(' or ')} must be provided`
  return conflicts.find(({ when, fields }) => holds(when, input) && fields.every(isGiven))?.error
}

/** Sides for a ratio like `4:3`, both a multiple of 8. */
function fitRatio(ratio: string, pixels: number): Shape {
  const [across = 1, down = 1] = ratio.split(':').map(Number)
  const height = Math.sqrt((pixels * down) / across)
  const round = (side: number) => Math.round(side / 8) * 8
  return { width: round((height * across) / down), height: round(height) }
}

function shapeOf(schema: ModelSchema, input: Input, task: string, hasPhoto: boolean): Shape {
  if (task === 'upscale') return { factor: 2 }
  // Models that are made for one task leave the photo as large as it is.
  if (schema.capabilities[0] === 'cutout' || input.original_quality === true) return { factor: 1 }
  const size = /^(\d+)x(\d+)$/.exec(text(input.size))
  if (size) return { width: Number(size[1]), height: Number(size[2]) }
  const sized = input.size === undefined || input.size === 'custom'
  if (sized && typeof input.width === 'number' && typeof input.height === 'number')
    return { width: Math.max(64, input.width), height: Math.max(64, input.height) }
  const pixels = picturePixels[text(input.resolution) || text(input.size)] ?? megapixel
  const ratio = text(input.aspect_ratio)
  if (/^\d+:\d+$/.test(ratio)) return fitRatio(ratio, pixels)
  return hasPhoto ? { pixels } : fitRatio('1:1', pixels)
}

function scaled(shape: Shape, by: number): Shape {
  if (by === 1 || 'factor' in shape) return shape
  if ('pixels' in shape) return { pixels: shape.pixels * by * by }
  const round = (side: number) => Math.max(64, Math.round((side * by) / 8) * 8)
  return { width: round(shape.width), height: round(shape.height) }
}

function filmShapeOf(schema: ModelSchema, input: Input, hasPhoto: boolean, filmScale: number): Shape {
  // 720p is 1280 × 720, and as many pixels in another ratio.
  const short = (Number.parseInt(text(input.resolution), 10) || 720) * filmScale
  const pixels = (short * short * 16) / 9
  const [ratio] = /^\d+:\d+$/.exec(text(input.aspect_ratio)) ?? []
  const follows = hasPhoto && (schema.followsPhoto || !ratio)
  return follows ? { pixels } : fitRatio(ratio ?? '16:9', pixels)
}

const formats: Record<string, 'png' | 'jpg' | 'webp'> = { png: 'png', jpg: 'jpg', jpeg: 'jpg', webp: 'webp' }

/** `input` has passed the schema and has its defaults. */
export function toOrder(schema: ModelSchema, input: Input, scale: Scale): Order {
  const prompt = promptOf(input)
  const photos = photosOf(schema, input)
  const hasPhoto = photos.length > 0
  const subject = {
    prompt,
    caption: captionOf(prompt),
    photos,
    rules: schema.photos,
    conflict: conflictOf(schema, input),
    style: findStyle(prompt),
    seed: typeof input.seed === 'number' ? input.seed : randomInt(2 ** 31),
  }
  if (schema.capabilities.includes('animate')) {
    const seconds = Number(input.duration)
    const shape = filmShapeOf(schema, input, hasPhoto, scale.film)
    return { ...subject, shape, format: 'mp4', seconds: seconds > 0 ? seconds : 5 }
  }
  const task = chooseTask(schema, input)
  return {
    ...subject,
    task,
    shape: scaled(shapeOf(schema, input, task, hasPhoto), scale.picture),
    count: countOf(schema, input),
    format: formats[text(input.output_format) || text(input.format)] ?? 'png',
  }
}
