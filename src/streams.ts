/** Byte streams read through one reused buffer: the runtime's own chunks of 4 KiB would allocate a body's size again. */

/** Bytes read at a time. */
const CHUNK = 64 * 1024

/** A window over a stream: bytes are read in at its end and taken from its front. */
export const openWindow = (body: ReadableStream<Uint8Array>) => {
  const reader = body.getReader({ mode: 'byob' })
  let buffer = new Uint8Array(2 * CHUNK)
  let start = 0
  let end = 0
  return {
    /** What was read and not yet taken; valid until the next `fill`. */
    view: () => Buffer.from(buffer.buffer, start, end - start),
    take(length: number) {
      start += length
    },
    /** Reads more, while at most CHUNK bytes are not yet taken. False at the end of the stream. */
    async fill(): Promise<boolean> {
      if (end + CHUNK > buffer.length) {
        buffer.copyWithin(0, start, end)
        end -= start
        start = 0
      }
      const { value, done } = await reader.read(buffer.subarray(end, end + CHUNK))
      if (done) return false
      buffer = new Uint8Array(value.buffer)
      end += value.length
      return true
    },
    /** Cancels the stream, so that the rest is not sent. */
    cancel: () => reader.cancel().catch(() => undefined),
  }
}

/** Milliseconds without a byte after which a body has broken off, and how often that is looked at. */
const SILENCE = 15_000
const LOOKS = 3000

/** Ends reads that wait for too long: with one timer for all of a body, of which there may be thousands. */
export const watchSilence = () => {
  let askedAt = 0
  let giveUp: ((reason: Error) => void) | undefined
  const timer = setInterval(() => {
    if (Date.now() - askedAt > SILENCE) giveUp?.(new Error('no byte of the body came'))
  }, LOOKS)
  return {
    inTime: <T>(read: () => Promise<T>) =>
      new Promise<T>((resolve, reject) => {
        askedAt = Date.now()
        giveUp = reject
        read().then(resolve, reject)
      }),
    end: () => clearInterval(timer),
  }
}

/** The stream's chunks; each is valid until the next is asked for. What is not read is not sent. */
export const readChunks = async function* (body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const window = openWindow(body)
  try {
    while (await window.fill()) {
      const view = window.view()
      window.take(view.length)
      yield view
    }
  } finally {
    await window.cancel()
  }
}

/** A body of chunks that are made as it is read. */
export const toStream = (chunks: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> =>
  new ReadableStream({
    async pull(controller) {
      const { value, done } = await chunks.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    async cancel() {
      await chunks.return(undefined)
    },
  })

/** The same bytes, of which `change` makes others of the first `size`, or of all there are. */
export const changeHead = async function* (
  chunks: AsyncIterable<Uint8Array>,
  size: number,
  change: (head: Buffer) => Iterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let head: Buffer | undefined = Buffer.alloc(0)
  for await (const chunk of chunks) {
    if (!head) {
      yield chunk
      continue
    }
    const begun: Buffer = Buffer.concat([head, chunk])
    head = begun.length < size ? begun : undefined
    if (!head) yield* change(begun)
  }
  if (head) yield* change(head)
}
