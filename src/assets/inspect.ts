/** Detects a file's type by its content: media type, kind, and for images the size in pixels. */
import { imageSize } from 'image-size'
import { AppError } from '../errors.ts'
import { type AssetKind, mediaKinds } from '../words.ts'
import { heicSize } from './boxes.ts'

const unsupported = (detail: string, cause?: unknown) =>
  new AppError('unsupported_media_type', { detail, cause })

/** @throws {AppError} unsupported_media_type */
export const kindOf = (mimeType: string): AssetKind => {
  const kind = Object.hasOwn(mediaKinds, mimeType) ? mediaKinds[mimeType] : undefined
  if (!kind) throw unsupported(`Files of type ${mimeType} are not supported here.`)
  return kind
}

export interface FileDescription {
  mimeType: string
  kind: AssetKind
  /** Pixels, as shown: an EXIF rotation is applied. */
  width: number | null
  height: number | null
}

/** Checks that a file is UTF-8 text: call it with every part in order, then without one for the end. */
const textChecker = () => {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })
  return (bytes?: Uint8Array) => {
    try {
      if (!/[^\P{Cc}\t\n\v\f\r]/u.test(decoder.decode(bytes, { stream: bytes !== undefined }))) return
    } catch {}
    throw unsupported('The file is neither text nor of another type that is supported here.')
  }
}

/** Pixels a side; more is a forged header. */
const MAX_SIDE = 65_535

/** A HEIC has several pictures, of which one is shown. @throws {Error} if it can't be read */
const sizeOf = (mimeType: string, head: Uint8Array) => {
  if (mimeType !== 'image/heic') return imageSize(head)
  const size = heicSize(Buffer.from(head.buffer, head.byteOffset, head.length))
  if (!size) throw new Error('its boxes say no size')
  return { ...size, orientation: 1 }
}

const pixels = (mimeType: string, head: Uint8Array) => {
  try {
    const { width, height, orientation = 1 } = sizeOf(mimeType, head)
    if (Math.min(width, height) > 0 && Math.max(width, height) <= MAX_SIDE)
      return orientation >= 5 ? { width: height, height: width } : { width, height }
  } catch (cause) {
    throw unsupported('The dimensions of the image cannot be read.', cause)
  }
  throw unsupported(`The image must have from 1 to ${MAX_SIDE} pixels a side.`)
}

/** One inspector per file: `head` describes it by its first part, `rest` checks every later one, `end` the end. */
export const createInspector = () => {
  let checkText: ((bytes?: Uint8Array) => void) | undefined
  return {
    /** @throws {AppError} unsupported_media_type */
    async head(bytes: Uint8Array): Promise<FileDescription> {
      // A seventh of what lists of assets would load.
      const { fileTypeFromBuffer } = await import('file-type')
      const type = await fileTypeFromBuffer(bytes).catch(() => undefined)
      const kind = type && mediaKinds[type.mime]
      if (kind) {
        return {
          mimeType: type.mime,
          kind,
          ...(kind === 'image' ? pixels(type.mime, bytes) : { width: null, height: null }),
        }
      }
      // A text may begin with the letters of some signature, but markup is not plain text.
      if (type && /xml|html|svg/.test(type.mime))
        throw unsupported(`Files of type ${type.mime} are not supported here.`)
      checkText = textChecker()
      checkText(bytes)
      return { mimeType: 'text/plain', kind: 'document', width: null, height: null }
    },
    /** @throws {AppError} unsupported_media_type */
    rest(bytes: Uint8Array) {
      checkText?.(bytes)
    },
    /** @throws {AppError} unsupported_media_type */
    end() {
      checkText?.()
    },
  }
}
