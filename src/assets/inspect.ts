/** Judges a file by its content: real type, kind, and for images the size in pixels. */
import { fileTypeFromBuffer } from 'file-type'
import { imageSize } from 'image-size'
import type { assetKinds } from '../db/schema.ts'
import { AppError } from '../errors.ts'

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

/** Throws unless the bytes go on being UTF-8 text; call it for every part of a text file in order. */
const textChecker = () => {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })
  return (bytes: Uint8Array) => {
    try {
      if (!/[^\P{Cc}\t\n\v\f\r]/u.test(decoder.decode(bytes, { stream: true }))) return
    } catch {}
    throw unsupported('The file is of no type that is accepted here.')
  }
}

const pixels = (head: Uint8Array) => {
  try {
    const { width, height, orientation = 1 } = imageSize(head)
    if (width > 0 && height > 0)
      return orientation >= 5 ? { width: height, height: width } : { width, height }
  } catch (cause) {
    throw unsupported('The image cannot be read.', cause)
  }
  throw unsupported('The image cannot be read.')
}

/** One inspector a file: `head` describes it from its first part, `rest` checks every later one. */
export const createInspector = () => {
  let checkText: ((bytes: Uint8Array) => void) | undefined
  return {
    /** @throws {AppError} unsupported_media_type */
    async head(bytes: Uint8Array): Promise<FileDescription> {
      const type = await fileTypeFromBuffer(bytes).catch(() => undefined)
      if (!type) {
        checkText = textChecker()
        checkText(bytes)
        return { mimeType: 'text/plain', kind: 'document', width: null, height: null }
      }
      const kind = kinds[type.mime]
      if (!kind) throw unsupported(`Files of type ${type.mime} are not accepted here.`)
      return {
        mimeType: type.mime,
        kind,
        ...(kind === 'image' ? pixels(bytes) : { width: null, height: null }),
      }
    },
    /** @throws {AppError} unsupported_media_type */
    rest(bytes: Uint8Array) {
      checkText?.(bytes)
    },
  }
}
