/** Reads the file of a body as a stream: the one `file` of multipart/form-data (RFC 7578), or the whole body. */
import { AppError, invalidField } from '../errors.ts'
import { openWindow, watchSilence } from '../streams.ts'

export interface FilePart {
  /** As the client sent it, possibly with a path; empty if it did not. */
  filename: string
  /** Each chunk is valid until the next is asked for. Throws when the body is cut off or not what was promised. */
  chunks: AsyncIterable<Uint8Array>
}

/** Bytes of one part's headers. */
const MAX_HEADERS = 16 * 1024
/** Bytes that a body may have besides its file: boundaries and headers. */
export const MULTIPART_OVERHEAD = 64 * 1024

/** Bytes that have to come in so many milliseconds of what nobody wants any more. */
const LEAST = 256 * 1024
const PERIOD = 5000

const malformed = (cause?: unknown) => new AppError('malformed_multipart', { cause })
const FORM = 'multipart/form-data'
export const isForm = (contentType: string) => contentType.toLowerCase().startsWith(FORM)

const boundaryOf = (contentType: string): string => {
  const match = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType)
  const boundary = match?.[1] ?? match?.[2]
  if (!boundary) throw malformed()
  return boundary
}

/** Browsers send names as UTF-8, with quotes as %22; curl with backslashes. */
const parameter = (headers: string, name: 'name' | 'filename' | 'filename\\*'): string | undefined => {
  const header = /^content-disposition:(.*)$/im.exec(headers)?.[1] ?? ''
  const value = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\\s]*))`, 'i').exec(header)
  return (value?.[1] ?? value?.[2])?.replace(/\\(["\\])/g, '$1').replaceAll('%22', '"')
}

/** The extended form (RFC 8187), which RFC 7578 forbids and some clients send all the same. */
const extendedFilename = (headers: string): string | undefined => {
  const encoded = /^utf-8'[^']*'(.+)$/i.exec(parameter(headers, 'filename\\*') ?? '')?.[1]
  try {
    return encoded && decodeURIComponent(encoded)
  } catch {
    return undefined
  }
}

/** A window over the body that ends in problems: one that breaks off, or falls silent, is malformed, one over `maxSize` bytes too large. */
const openBody = (body: ReadableStream<Uint8Array>, maxSize: number) => {
  const window = openWindow(body)
  const watch = watchSilence()
  let received = 0
  let ended = false

  /** False at the end of the body. */
  const fill = async (): Promise<boolean> => {
    const before = window.view().length
    try {
      if (ended || !(await watch.inTime(window.fill))) {
        ended = true
        return false
      }
    } catch (cause) {
      ended = true
      void window.cancel()
      throw malformed(cause)
    }
    received += window.view().length - before
    if (received > maxSize) throw new AppError('payload_too_large')
    return true
  }

  /** At least `length` bytes. */
  const need = async (length: number): Promise<Buffer> => {
    while (window.view().length < length) if (!(await fill())) throw malformed()
    return window.view()
  }

  return {
    ...window,
    fill,
    need,
    /** Reads the rest, within the size limit and while it comes, since a client that is busy sending sees no answer. */
    async discard(): Promise<void> {
      let [since, before] = [Date.now(), received]
      try {
        do {
          window.take(window.view().length)
          if (Date.now() - since < PERIOD) continue
          if (received - before < LEAST) throw malformed()
          ;[since, before] = [Date.now(), received]
        } while (await fill())
      } catch {
        await window.cancel()
      } finally {
        watch.end()
      }
    },
  }
}

/** A body that is the file. It must be read to its end likewise. @throws {AppError} payload_too_large, malformed_multipart */
export const openRaw = (body: ReadableStream<Uint8Array>, maxSize: number) => {
  const { view, take, fill, discard } = openBody(body, maxSize)
  const readFile = async function* (): AsyncGenerator<Uint8Array> {
    while (await fill()) {
      const bytes = view()
      take(bytes.length)
      yield bytes
    }
  }
  return {
    file: async (): Promise<FilePart> => ({ filename: '', chunks: readFile() }),
    discard,
  }
}

/**
 * The body must be read to its end, by `chunks` or by `discard`, for the client to see the answer.
 * @throws {AppError} malformed_multipart, validation_failed, payload_too_large
 */
export const openMultipart = (body: ReadableStream<Uint8Array>, contentType: string, maxSize: number) => {
  const delimiter = Buffer.from(`\r\n--${boundaryOf(contentType)}`)
  const { view, take, fill, need, discard } = openBody(body, maxSize + MULTIPART_OVERHEAD)

  /** What comes before the next delimiter, which is consumed too. */
  const untilDelimiter = async function* (): AsyncGenerator<Uint8Array> {
    for (;;) {
      const bytes = view()
      const at = bytes.indexOf(delimiter)
      // What could be the beginning of a delimiter waits for the rest.
      const safe = at >= 0 ? at : Math.max(0, bytes.length - delimiter.length + 1)
      if (safe > 0) yield bytes.subarray(0, safe)
      take(at >= 0 ? at + delimiter.length : safe)
      if (at >= 0) return
      if (!(await fill())) throw malformed()
    }
  }

  /** Reads the rest of a delimiter's line; false after the last delimiter. */
  const nextPart = async (): Promise<boolean> => {
    const mark = await need(2)
    if (mark[0] === 0x2d && mark[1] === 0x2d) return false
    for (let padding = 0; ; padding++) {
      const bytes = await need(padding + 2)
      if (bytes[padding] === 0x0d && bytes[padding + 1] === 0x0a) {
        take(padding)
        return true
      }
      if ((bytes[padding] !== 0x20 && bytes[padding] !== 0x09) || padding > 100) throw malformed()
    }
  }

  const readHeaders = async (): Promise<string> => {
    for (let length = 4; ; length = view().length + 1) {
      const bytes = await need(length)
      // The line break of the delimiter may be the first half of the empty line.
      const end = bytes.indexOf('\r\n\r\n')
      if (end > MAX_HEADERS || (end < 0 && bytes.length > MAX_HEADERS)) throw malformed()
      if (end < 0) continue
      const headers = bytes.toString('utf8', 0, end)
      take(end + 4)
      return headers
    }
  }

  const readFile = async function* (): AsyncGenerator<Uint8Array> {
    yield* untilDelimiter()
    if (await nextPart()) {
      const name = parameter(await readHeaders(), 'name')
      throw invalidField(
        `/${name ?? ''}`,
        name === 'file' ? 'must be sent only once' : 'is not a known field',
      )
    }
  }

  return {
    async file(): Promise<FilePart> {
      // A first delimiter has no line before it.
      const opening = delimiter.subarray(2)
      const start = await need(opening.length)
      if (start.indexOf(opening) === 0) take(opening.length)
      else for await (const _ of untilDelimiter());
      if (!(await nextPart())) throw invalidField('/file', 'is required')
      const headers = await readHeaders()
      const name = parameter(headers, 'name')
      if (name !== 'file') throw invalidField(`/${name ?? ''}`, 'is not a known field')
      const filename = extendedFilename(headers) ?? parameter(headers, 'filename') ?? ''
      return { filename, chunks: readFile() }
    },
    discard,
  }
}
