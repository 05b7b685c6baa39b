/** SHA-256 of a file, where the platform has one that does not need all of it in memory, or the file is small. */

/** Bytes that may be held for it. */
const HELD = 32 * 1024 * 1024

const toHex = (bytes: ArrayBuffer) =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('')

interface Incremental {
  update(bytes: Uint8Array): void
  digest(encoding: 'hex'): string
}
/** What some platforms have and the web has not: Node's, Bun's and Deno's modules, and a stream of Workers. */
interface Platform {
  process?: {
    getBuiltinModule?: (name: string) => { createHash?: (name: string) => Incremental } | undefined
  }
  crypto?: {
    DigestStream?: new (name: string) => WritableStream<Uint8Array> & { digest: Promise<ArrayBuffer> }
  }
}

/** @returns hex, or undefined where it can't be told; rejects with the signal's reason */
export const sha256 = async (file: Blob, signal?: AbortSignal): Promise<string | undefined> => {
  // Only in secure contexts.
  const subtle: SubtleCrypto | undefined = globalThis.crypto?.subtle
  if (file.size <= HELD) return subtle && toHex(await subtle.digest('SHA-256', await file.arrayBuffer()))
  // `as`: looked for, not relied on.
  const { process, crypto } = globalThis as unknown as Platform
  const hash = process?.getBuiltinModule?.('node:crypto')?.createHash?.('sha256')
  const { DigestStream } = crypto ?? {}
  if (hash) {
    const sink = new WritableStream<Uint8Array>({ write: (chunk) => hash.update(chunk) })
    await file.stream().pipeTo(sink, signal && { signal })
    return hash.digest('hex')
  }
  if (!DigestStream) return undefined
  const stream = new DigestStream('SHA-256')
  // Rejects, too, when the pipe is aborted.
  const digest = stream.digest.catch(() => undefined)
  await file.stream().pipeTo(stream, signal && { signal })
  const bytes = await digest
  return bytes && toHex(bytes)
}
