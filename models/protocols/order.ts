/** What a client asks the studio for, whatever protocol it speaks, and how the studio carries it out. */

import { planMove } from '../studio/camera.ts'
import type { Cutout } from '../studio/cutout.ts'
import { getTake } from '../studio/layout.ts'
import type { Studio } from '../studio/studio.ts'
import { type StyleName, styles } from '../studio/styles.ts'
import { encodeVideo } from '../studio/video.ts'
import { download } from './download.ts'

interface Subject {
  prompt: string
  /** Addresses of product photos, `data:` ones too. */
  images: string[]
  style: StyleName
  /** Pixels. */
  width: number
  height: number
  seed: number
}

interface PictureOrder extends Subject {
  format: 'png' | 'webp' | 'jpg'
  count: number
}

interface VideoOrder extends Subject {
  format: 'mp4'
  seconds: number
}

export type Order = PictureOrder | VideoOrder

export const styleNames = Object.keys(styles) as StyleName[]

/** The style that a prompt names, best as in "a warm style"; `modern` if it names none. */
export function findStyle(prompt: string): StyleName {
  const names = styleNames.join('|')
  const [, name = 'modern'] =
    new RegExp(`\\b(${names})\\s+style\\b`, 'i').exec(prompt) ??
    new RegExp(`\\b(${names})\\b`, 'i').exec(prompt) ??
    []
  return name.toLowerCase() as StyleName
}

interface Course {
  studio: Studio
  signal: AbortSignal
  /** Called with the steps done so far. */
  onProgress(steps: number): void
}

const percentOfPhoto = 5
const percentOfStill = 12
const stillScale = 1.1

/** In how many steps `onProgress` counts: for a video these are percents. */
export const countSteps = (order: Order): number =>
  order.format === 'mp4' ? 100 : Math.min(order.images.length, order.count) + order.count

async function cutOut(url: string, { studio, signal }: Course): Promise<Cutout> {
  const photo = await download(url, signal)
  return studio.cutOut(photo).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Error(`The image could not be read: ${reason}`)
  })
}

async function makePictures(order: PictureOrder, course: Course): Promise<Uint8Array[]> {
  const { images, count, prompt, style, width, height, seed, format } = order
  const { studio, signal, onProgress } = course
  let step = 0
  const advance = (): void => {
    signal.throwIfAborted()
    onProgress(++step)
  }
  const products: Cutout[] = []
  for (const url of images.slice(0, count)) {
    products.push(await cutOut(url, course))
    advance()
  }
  const files: Uint8Array[] = []
  for (let index = 0; index < count; index++) {
    signal.throwIfAborted()
    const product = products[index % Math.max(1, products.length)]
    files.push(await studio.render({ product, prompt, style, width, height, seed, index, format }))
    advance()
  }
  return files
}

async function makeVideo(order: VideoOrder, course: Course): Promise<Uint8Array[]> {
  const { prompt, style, width, height, seed, seconds } = order
  const { studio, signal, onProgress } = course
  const [photo] = order.images
  const product = photo === undefined ? undefined : await cutOut(photo, course)
  signal.throwIfAborted()
  onProgress(percentOfPhoto)
  const index = (seed >>> 2) % 4
  const larger = { width: Math.round(width * stillScale), height: Math.round(height * stillScale) }
  const data = await studio.render({ product, prompt, style, ...larger, seed, index, format: 'raw' })
  signal.throwIfAborted()
  onProgress(percentOfStill)
  const still = { data, ...larger }
  const move = planMove(width, height, getTake(width, height, index), seed)
  const video = await encodeVideo({ still, width, height, seconds, move }, signal, (share) =>
    onProgress(Math.floor(percentOfStill + (99 - percentOfStill) * share)),
  )
  onProgress(100)
  return [video]
}

/** Rejects when a photo can't be had or read, or when the signal says so. */
export const renderOrder = (order: Order, course: Course): Promise<Uint8Array[]> =>
  order.format === 'mp4' ? makeVideo(order, course) : makePictures(order, course)
