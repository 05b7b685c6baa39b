/** Reads the one `file` of a multipart/form-data body (RFC 7578) as a stream. */
import { make, type PartInfo } from 'multipasta'
import { AppError, invalidField } from '../errors.ts'
import { readChunks } from '../streams.ts'

export interface FilePart {
  /** As the client sent it: not to be trusted as a path. */
  filename: string
  /** Ends with the part; throws when the body is cut off or not what was promised. */
  chunks: AsyncIterable<Uint8Array>
}

/** Browsers send names as raw UTF-8, which the parser's own reading of this header doesn't take. */
const parameter = (info: PartInfo, name: 'name' | 'filename'): string | undefined => {
  const header = [info.headers['content-disposition']].flat().join()
  const value = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^;\\s]*))`, 'i').exec(header)
  return (value?.[1] ?? value?.[2])?.replace(/\\(["\\])/g, '$1').replaceAll('%22', '"')
}

/** @throws {AppError} malformed_multipart, validation_failed */
export const readFilePart = async (
  body: ReadableStream<Uint8Array>,
  contentType: string,
): Promise<FilePart> => {
  const pending: Uint8Array[] = []
  let filename: string | undefined
  let failure: AppError | undefined
  const fail = (error: AppError) => {
    failure ??= error
  }
  const parser = make({
    headers: { 'content-type': contentType },
    maxParts: 10,
    isFile: () => true,
    onField: () => undefined,
    onFile: (info) => {
      const name = parameter(info, 'name')
      if (name !== 'file') fail(invalidField(`/${name ?? ''}`, 'is not a known field'))
      else if (filename !== undefined) fail(invalidField('/file', 'came more than once'))
      filename ??= parameter(info, 'filename') ?? ''
      return (chunk) => {
        if (chunk && !failure) pending.push(chunk)
      }
    },
    onError: (error) => fail(new AppError('malformed_multipart', { cause: error })),
    onDone: () => undefined,
  })

  // The parser copies what it holds back when the next chunk comes, so it lives with chunks that are used again.
  const source = readChunks(body)
  /** Feeds the parser once; false at the end of the body. */
  const advance = async (): Promise<boolean> => {
    let done: boolean | undefined
    try {
      const read = await source.next()
      done = read.done
      if (read.value) parser.write(read.value)
      else parser.end()
    } catch (cause) {
      throw new AppError('malformed_multipart', { cause })
    }
    if (failure) throw failure
    return !done
  }

  while (filename === undefined) {
    if (!(await advance())) throw invalidField('/file', 'is missing')
  }
  const chunks = async function* () {
    do {
      yield* pending.splice(0)
    } while (await advance())
    yield* pending.splice(0)
  }
  return { filename, chunks: chunks() }
}
