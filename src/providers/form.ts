/** multipart/form-data as it is read: photos pass through from storage to the provider. */
import { readChunks, toStream } from '../streams.ts'
import { ProviderError, type Submission } from './provider.ts'

/** @throws {ProviderError} when storage does not give a photo: no fault of the provider's */
export const readPhoto = async (url: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> => {
  const refuse = (detail: string, cause?: unknown) =>
    new ProviderError({ reason: 'no_input', detail }, { isRefusal: true, cause })
  const response = await fetch(url, { signal }).catch((cause: unknown) => {
    throw refuse('an input could not be read', cause)
  })
  if (response.ok && response.body) return response.body
  throw refuse(`an input answered ${response.status}`)
}

/** A form of text fields and photos, by the names that `nameOf` gives them. */
export const formOf = async (
  { fields, photos }: Pick<Submission, 'fields' | 'photos'>,
  nameOf: (index: number) => string,
  signal: AbortSignal,
): Promise<{ body: ReadableStream<Uint8Array>; contentType: string }> => {
  const boundary = `form-${crypto.randomUUID()}`
  const text = new TextEncoder()
  // Opened before the provider is asked, so that what can't be read costs nothing.
  const bodies = await Promise.all(photos.map(({ url }) => readPhoto(url, signal)))
  const parts = async function* () {
    for (const [name, value] of Object.entries(fields)) {
      yield text.encode(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
    }
    for (const [i, body] of bodies.entries()) {
      const type = photos[i]?.mimeType ?? ''
      const filename = `photo-${i}.${type.split('/')[1]}`
      yield text.encode(
        `--${boundary}\r\nContent-Disposition: form-data; name="${nameOf(i)}"; filename="${filename}"\r\nContent-Type: ${type}\r\n\r\n`,
      )
      for await (const chunk of readChunks(body)) yield chunk.slice()
      yield text.encode('\r\n')
    }
    yield text.encode(`--${boundary}--\r\n`)
  }
  return { body: toStream(parts()), contentType: `multipart/form-data; boundary=${boundary}` }
}
