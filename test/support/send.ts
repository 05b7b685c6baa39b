/** Requests as a test wants them, right or wrong, and answers whatever their status. */

export interface Answer<T> {
  status: number
  headers: Headers
  body: T
}

const isSentAsItIs = (body: unknown): body is BodyInit =>
  typeof body === 'string' || body instanceof Uint8Array || body instanceof FormData

/**
 * An event stream, which may never end, is closed.
 * @throws {TypeError} when nothing answers
 */
export const send = async <T>(
  method: string,
  url: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer<T>> => {
  const isJson = body !== undefined && !isSentAsItIs(body)
  const response = await fetch(url, {
    method,
    redirect: 'manual',
    headers: { ...(isJson && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: isSentAsItIs(body) ? body : JSON.stringify(body) }),
  })
  const type = response.headers.get('content-type') ?? ''
  const isStream = type.startsWith('text/event-stream')
  if (isStream) await response.body?.cancel()
  const text = isStream ? '' : await response.text()
  return {
    status: response.status,
    headers: response.headers,
    // What an answer holds is the caller's to know.
    body: (/[/+]json/.test(type) ? JSON.parse(text) : text) as T,
  }
}

/** The form of an upload. */
export const formOf = (name: string, content: Uint8Array | string): FormData => {
  const form = new FormData()
  // Types of bytes may be backed by shared memory, which a Blob doesn't take; none here are.
  form.append('file', new Blob([content as BlobPart]), name)
  return form
}
