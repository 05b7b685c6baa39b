/** Downloads the product photo that an input names, within limits of time and size. */

const timeoutMs = 15_000
const maxBytes = 25 * 1024 * 1024

/** Rejects with a message that names the address without its query, which may hold a signature. */
export async function download(url: string, signal: AbortSignal): Promise<Buffer> {
  const { protocol, origin, pathname } = new URL(url)
  const name = protocol === 'data:' ? 'the data URL' : `${origin}${pathname}`
  const timeout = AbortSignal.timeout(timeoutMs)
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, timeout]) })
    if (!response.ok) throw new Error(`HTTP ${response.status}`)
    const chunks: Uint8Array[] = []
    let size = 0
    for await (const chunk of response.body ?? []) {
      size += chunk.byteLength
      if (size > maxBytes) throw new Error(`larger than ${maxBytes} bytes`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  } catch (error) {
    if (timeout.aborted)
      throw new Error(`Failed to fetch image ${name}: no answer within ${timeoutMs / 1000} s`)
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
    const reason = cause instanceof Error ? cause.message || cause.name : String(cause)
    throw new Error(`Failed to fetch image ${name}: ${reason}`, { cause: error })
  }
}
