/** JSON that carries pictures as base64: read as it arrives, so that no picture is ever held whole. */

const QUOTE = 0x22
const BACKSLASH = 0x5c
/** Characters of all that is no picture. */
const MAX_REST = 8 * 1024 * 1024

/**
 * Reads JSON in which the strings under `field` are base64. Each goes to `keep` as bytes while it arrives; the rest is
 * answered as text, with an empty string in its place.
 * @throws {Error} if that is longer than MAX_REST
 */
export const readPictures = async (
  body: ReadableStream<Uint8Array> | null,
  field: string,
  keep: (bytes: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<{ pictures: number; rest: string }> => {
  if (!body) return { pictures: 0, rest: '' }
  const reader = body.getReader()
  const marker = new RegExp(`"${field}"\\s*:\\s*"$`)
  let chunk: Uint8Array = new Uint8Array()
  let at = 0
  /** @returns false at the end */
  const more = async (): Promise<boolean> => {
    while (at >= chunk.length) {
      const { value, done } = await reader.read()
      if (done) return false
      chunk = value
      at = 0
    }
    return true
  }
  /** The bytes of a string whose opening quote was read; takes its closing quote, too. */
  const decode = async function* (): AsyncGenerator<Uint8Array> {
    let carry = ''
    while (await more()) {
      const end = chunk.indexOf(QUOTE, at)
      const until = end < 0 ? chunk.length : end
      const text = carry + Buffer.from(chunk.buffer, chunk.byteOffset + at, until - at).toString('latin1')
      const whole = end < 0 ? text.length - (text.length % 4) : text.length
      carry = text.slice(whole)
      at = end < 0 ? until : until + 1
      if (whole > 0) yield Buffer.from(text.slice(0, whole), 'base64')
      if (end >= 0) return
    }
    throw new Error('the answer ended within a picture')
  }
  let rest = ''
  let pictures = 0
  try {
    while (await more()) {
      // What is no picture is short; its strings may contain anything but the marker with its own opening quote.
      const ends = [chunk.indexOf(QUOTE, at), chunk.indexOf(BACKSLASH, at)].filter((end) => end >= 0)
      const end = Math.min(chunk.length - 1, ...ends)
      rest += Buffer.from(chunk.buffer, chunk.byteOffset + at, end + 1 - at).toString('latin1')
      at = end + 1
      if (rest.length > MAX_REST) throw new Error('the answer is too long for one without pictures')
      const byte = chunk[end]
      if (byte === BACKSLASH) {
        if (await more()) rest += String.fromCharCode(chunk[at++] as number)
      } else if (byte === QUOTE && marker.test(rest.slice(-field.length - 16))) {
        pictures++
        const bytes = decode()
        await keep(bytes)
        // Whatever was left of it is passed over.
        for await (const _ of bytes);
        rest += '"'
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
  return { pictures, rest: Buffer.from(rest, 'latin1').toString() }
}
