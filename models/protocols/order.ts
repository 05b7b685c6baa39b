/** What a client asks the studio for, whatever protocol it speaks, and how the studio carries it out. */

import type { PhotoRules } from '../schemas.ts'
import { planMove, planPush } from '../studio/camera.ts'
import { getTake } from '../studio/layout.ts'
import type { RetouchOptions } from '../studio/retouch.ts'
import type { Studio } from '../studio/studio.ts'
import { type StyleName, styles } from '../studio/styles.ts'
import { encodeVideo } from '../studio/video.ts'
import { loadPhotos, type Photo, PhotoError, type PhotoSource } from './photos.ts'

/** In pixels; or like the first photo, with about so many pixels in all or sides so many times as long. */
export type Shape = { width: number; height: number } | { pixels: number } | { factor: number }

interface Subject {
  prompt: string
  /** What is written into the picture; empty for nothing. */
  caption: string
  photos: PhotoSource[]
  /** What the photos must be. */
  rules?: PhotoRules | undefined
  /** Why it can't be made. */
  conflict?: string | undefined
  style: StyleName
  shape: Shape
  seed: number
}

interface PictureOrder extends Subject {
  format: 'png' | 'webp' | 'jpg'
  task: 'scene' | RetouchOptions['task']
  count: number
}

interface FilmOrder extends Subject {
  format: 'mp4'
  seconds: number
}

export type Order = PictureOrder | FilmOrder

/** The style that a prompt names, best as in "a warm style"; `modern` if it names none. */
export function findStyle(prompt: string): StyleName {
  const names = Object.keys(styles).join('|')
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
/** Pixels of the longer side: what is larger is painted in this size and enlarged. */
const paintedSide = 1536
const maxSide = 8192
/** Of what takes the photo's shape: the models know no longer one. */
const maxRatio = 4

/** In how many steps `onProgress` counts: for a film these are percents. */
export function countSteps(order: Order): number {
  if (order.format === 'mp4') return 100
  const cutouts = order.task === 'scene' ? Math.min(order.photos.length, order.count) : 0
  return cutouts + order.count
}

function resolveShape(shape: Shape, photo: Photo | undefined): { width: number; height: number } {
  if ('width' in shape) return shape
  const { width, height } = photo ?? { width: 1024, height: 1024 }
  if ('factor' in shape) {
    const scale = Math.min(shape.factor, maxSide / Math.max(width, height))
    const enlarge = (side: number) => Math.max(1, Math.round(side * scale))
    return { width: enlarge(width), height: enlarge(height) }
  }
  const ratio = Math.max(1 / maxRatio, Math.min(maxRatio, width / height))
  // Films need even sides, and the models round too.
  const round = (side: number) => Math.round(side / 8) * 8
  return { width: round(Math.sqrt(shape.pixels * ratio)), height: round(Math.sqrt(shape.pixels / ratio)) }
}

/** Whatever fails because of the photo says so. */
async function withPhoto<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new PhotoError('unreadable', 0, `The image could not be read: ${reason}`)
  }
}

async function makePictures(order: PictureOrder, course: Course): Promise<Uint8Array[]> {
  const { task, count, prompt, caption, style, seed, format } = order
  const { studio, signal, onProgress } = course
  const photos = await loadPhotos(order.photos, order.rules, signal)
  const { width, height } = resolveShape(order.shape, photos[0])
  let step = 0
  const advance = (): void => {
    signal.throwIfAborted()
    onProgress(++step)
  }
  const used = photos.slice(0, count)
  const files: Uint8Array[] = []
  if (task !== 'scene' && used.length > 0) {
    for (let index = 0; index < count; index++) {
      const { data } = used[index % used.length] as Photo
      files.push(await withPhoto(studio.retouch({ task, photo: data, width, height, format })))
      advance()
    }
    return files
  }
  const products = []
  for (const { data } of used) {
    products.push(await withPhoto(studio.cutOut(data)))
    advance()
  }
  const scale = Math.min(1, paintedSide / Math.max(width, height))
  const painted = { width: Math.round(width * scale), height: Math.round(height * scale) }
  const enlargeTo = scale < 1 ? { width, height } : undefined
  for (let index = 0; index < count; index++) {
    signal.throwIfAborted()
    const product = products[index % Math.max(1, products.length)]
    files.push(
      await studio.render({ product, prompt, caption, style, ...painted, enlargeTo, seed, index, format }),
    )
    advance()
  }
  return files
}

async function makeFilm(order: FilmOrder, course: Course): Promise<Uint8Array[]> {
  const { prompt, caption, style, seed, seconds } = order
  const { studio, signal, onProgress } = course
  const [photo] = await loadPhotos(order.photos, order.rules, signal)
  const { width, height } = resolveShape(order.shape, photo)
  const larger = { width: Math.round(width * stillScale), height: Math.round(height * stillScale) }
  onProgress(percentOfPhoto)
  const index = (seed >>> 2) % 4
  const data = await (photo
    ? withPhoto(studio.still({ photo: photo.data, ...larger }))
    : studio.render({ prompt, caption, style, ...larger, seed, index, format: 'raw' }))
  signal.throwIfAborted()
  onProgress(percentOfStill)
  const film = {
    still: { data, ...larger },
    width,
    height,
    seconds,
    move: photo ? planPush(seed) : planMove(width, height, getTake(width, height, index), seed),
    fades: !photo,
  }
  const video = await encodeVideo(film, signal, (share) =>
    onProgress(Math.floor(percentOfStill + (99 - percentOfStill) * share)),
  )
  onProgress(100)
  return [video]
}

/** Rejects with a PhotoError when a photo can't be had or used, and when the signal says so. */
export async function renderOrder(order: Order, course: Course): Promise<Uint8Array[]> {
  if (order.conflict) throw new Error(order.conflict)
  return order.format === 'mp4' ? makeFilm(order, course) : makePictures(order, course)
}
