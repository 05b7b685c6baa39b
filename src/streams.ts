/** Reading byte streams without leaving a trail of garbage. */

/** Bytes read at a time; the runtime's default of 4 KB makes a large body cost its own size in memory. */
const CHUNK = 64 * 1024

/** Chunks in two buffers that take turns: each is valid until the next but one is asked for. */
export const readChunks = async function* (body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader({ mode: 'byob' })
  const buffers: [ArrayBufferLike, ArrayBufferLike] = [new ArrayBuffer(CHUNK), new ArrayBuffer(CHUNK)]
  for (let turn: 0 | 1 = 0; ; turn = turn === 0 ? 1 : 0) {
    const { value, done } = await reader.read(new Uint8Array(buffers[turn] as ArrayBuffer))
    if (done) return
    buffers[turn] = value.buffer
    yield value
  }
}
