/** Judges a file by its content: real type, kind, and for images the size in pixels. */
import { fileTypeFromBuffer } from 'file-type'
import { imageSize } from 'image-size'
import { AppError } from '../errors.ts'
import type { assetKinds } from '../words.ts'

const kinds: Record<string, (typeof assetKinds)[number]> = {
  'image/jpeg': 'image',
  'image/png': 'image',
  'image/webp': 'image',
  'image/gif': 'image',
  'image/avif': 'image',
  'video/mp4': 'video',
  'video/webm': 'video',
  'application/pdf': 'document',
  'application/vnd.openxmlformats-officedocument.wordprocessingml.document': 'document',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'document',
}

export interface FileDescription {
  mimeType: string
  kind: (typeof assetKinds)[number]
  /** Pixels, as shown: an EXIF rotation is applied. */
  width: number | null
  height: number | null
}

const unsupported = (detail: string, cause?: unknown) =>
  new AppError('unsupported_media_type', { detail, cause })

/** Throws unless the bytes go on being UTF-8 text; call it for every part of a text file in order, then for the end. */
const textChecker = () => {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })
  return (bytes?: Uint8Array) => {
    try {
      if (!/[^\P{Cc}\t\n\v\f\r]/u.test(decoder.decode(bytes, { stream: bytes !== undefined }))) return
    } catch {}
    throw unsupported('The file is of no type that is accepted here.')
  }
}

/** Pixels a side: what no camera or model makes, and no header of an honest file claims. */
const MAX_SIDE = 65_535

const pixels = (head: Uint8Array) => {
  try {
    const { width, height, orientation = 1 } = imageSize(head)
    if (Math.min(width, height) > 0 && Math.max(width, height) <= MAX_SIDE)
      return orientation >= 5 ? { width: height, height: width } : { width, height }
  } catch (cause) {
    throw unsupported('The image cannot be read.', cause)
  }
  throw unsupported('The image cannot be read.')
}

/** One inspector a file: `head` describes it from its first part, `rest` checks every later one, `end` the whole. */
export const createInspector = () => {
  let checkText: ((bytes?: Uint8Array) => void) | undefined
  return {
    /** @throws {AppError} unsupported_media_type */
    async head(bytes: Uint8Array): Promise<FileDescription> {
      const type = await fileTypeFromBuffer(bytes).catch(() => undefined)
      const kind = type && kinds[type.mime]
      if (kind) {
        return {
          mimeType: type.mime,
          kind,
          ...(kind === 'image' ? pixels(bytes) : { width: null, height: null }),
        }
      }
      // Some signatures are plain letters that a text may begin with; markup is no plain text.
      if (type && /xml|html|svg/.test(type.mime))
        throw unsupported(`Files of type ${type.mime} are not accepted here.`)
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
