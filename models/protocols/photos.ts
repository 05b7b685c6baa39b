/** Fetches the photos of an order when its run starts, and checks them against what the model takes. */
import sharp, { type Metadata } from 'sharp'
import type { PhotoRules } from '../schemas.ts'
import { download } from './download.ts'

/** An address, `data:` ones too, or the bytes that came with the request. */
export type PhotoSource = string | Uint8Array

export interface Photo {
  data: Uint8Array
  /** Upright, in pixels. */
  width: number
  height: number
}

export class PhotoError extends Error {
  readonly reason:
    | 'unreachable'
    | 'unreadable'
    | 'type'
    | 'bytes'
    | 'small'
    | 'large'
    | 'ratio'
    | 'alpha'
    | 'count'
  /** Which photo of the request, from 0. */
  readonly index: number

  constructor(reason: PhotoError['reason'], index: number, message: string) {
    super(message)
    this.reason = reason
    this.index = index
  }
}

const types: Record<string, string> = {
  jpeg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
  gif: 'image/gif',
  tiff: 'image/tiff',
  svg: 'image/svg+xml',
}

/** The media type by the file's own bytes. */
const typeOf = ({ format, compression }: Metadata): string =>
  types[format] ?? (compression === 'av1' ? 'image/avif' : `image/${format}`)

async function read(data: Uint8Array, index: number): Promise<Metadata> {
  try {
    return await sharp(data).metadata()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new PhotoError('unreadable', index, `The image could not be read: ${reason}`)
  }
}

function check(photo: Photo, metadata: Metadata, rules: PhotoRules, index: number): void {
  const refuse = (reason: PhotoError['reason'], message: string): never => {
    throw new PhotoError(reason, index, message)
  }
  const { data, width, height } = photo
  const type = typeOf(metadata)
  if (rules.types && !rules.types.includes(type))
    refuse('type', `Unsupported image format ${type}; use one of ${rules.types.join(', ')}`)
  if (rules.maxBytes && data.byteLength > rules.maxBytes)
    refuse('bytes', `Image is larger than ${rules.maxBytes} bytes`)
  if (rules.minSide && Math.min(width, height) < rules.minSide)
    refuse('small', `Image is ${width}x${height}; both sides must have at least ${rules.minSide} pixels`)
  if (rules.maxSide && Math.max(width, height) > rules.maxSide)
    refuse('large', `Image is ${width}x${height}; both sides must have at most ${rules.maxSide} pixels`)
  const ratio = width / height
  if (ratio < (rules.minRatio ?? 0) || ratio > (rules.maxRatio ?? Number.POSITIVE_INFINITY))
    refuse('ratio', `Image ratio must be between ${rules.minRatio} and ${rules.maxRatio}`)
  if (!rules.alpha && metadata.hasAlpha) refuse('alpha', 'Image must not have a transparency channel')
}

async function load(source: PhotoSource, index: number, signal: AbortSignal): Promise<Uint8Array> {
  if (typeof source !== 'string') return source
  try {
    return await download(source, signal)
  } catch (error) {
    signal.throwIfAborted()
    throw new PhotoError('unreachable', index, error instanceof Error ? error.message : String(error))
  }
}

/** Rejects with a PhotoError for the first photo that can't be had, read or used. */
export async function loadPhotos(
  sources: PhotoSource[],
  rules: PhotoRules | undefined,
  signal: AbortSignal,
): Promise<Photo[]> {
  if (rules && sources.length < rules.min) throw new PhotoError('count', 0, 'An input image is required')
  if (rules?.max && sources.length > rules.max)
    throw new PhotoError('count', rules.max, `At most ${rules.max} input images are supported`)
  return Promise.all(
    sources.map(async (source, index) => {
      const data = await load(source, index, signal)
      const metadata = await read(data, index)
      const { width, height } = metadata.autoOrient
      const photo = { data, width, height }
      if (rules) check(photo, metadata, rules, index)
      return photo
    }),
  )
}
