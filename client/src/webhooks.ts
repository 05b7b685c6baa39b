/** Webhooks by Standard Webhooks: whether a message is genuine, fresh, and what it says. */
import { WebhookError } from './errors.ts'
import type { WebhookMessage } from './types.ts'

/** Seconds that a message may be old, or ahead. */
const TOLERANCE = 300

export interface VerifyOptions {
  /** The body as it came, before anything parsed it. */
  body: string | ArrayBuffer | Uint8Array<ArrayBuffer>
  headers: Headers | Record<string, string | string[] | undefined>
  /** `whsec_…`; several while one replaces another. */
  secret: string | readonly string[]
  /** Seconds between sending and now, either way; default 300. */
  tolerance?: number
}

const decode = (base64: string): Uint8Array<ArrayBuffer> | undefined => {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))
  } catch {
    return undefined
  }
}

/**
 * The message, and the id by which one that comes twice is known.
 * @throws {WebhookError}
 */
export const verifyWebhook = async ({
  body,
  headers,
  secret,
  tolerance = TOLERANCE,
}: VerifyOptions): Promise<WebhookMessage & { id: string }> => {
  if (typeof body !== 'string' && !(body instanceof ArrayBuffer) && !ArrayBuffer.isView(body)) {
    throw new TypeError('give verifyWebhook the body as it came: request.text(), not request.json()')
  }
  const read = (name: string): string => {
    const value = headers instanceof Headers ? headers.get(name) : headers[name]
    if (typeof value === 'string' && value) return value
    throw new WebhookError('headers', `there is no ${name}`)
  }
  const [id, timestamp, signatures] = [
    read('webhook-id'),
    read('webhook-timestamp'),
    read('webhook-signature'),
  ]
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : new Uint8Array(body)
  const signed = new Uint8Array([...new TextEncoder().encode(`${id}.${timestamp}.`), ...bytes])
  const given = signatures
    .split(' ')
    .flatMap((one) => (one.startsWith('v1,') ? (decode(one.slice(3)) ?? []) : []))
  let isGenuine = false
  for (const one of typeof secret === 'string' ? [secret] : secret) {
    const raw = decode(one.replace(/^whsec_/, ''))
    if (!raw?.length) throw new TypeError('a secret is whsec_ and base64')
    const key = await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, [
      'verify',
    ])
    // WebCrypto compares in constant time; all are tried, so that it takes the same whichever fits.
    for (const signature of given) {
      isGenuine = (await crypto.subtle.verify('HMAC', key, signature, signed)) || isGenuine
    }
  }
  if (!isGenuine) {
    throw new WebhookError('signature', 'no signature fits: another secret, or not the body as it came')
  }
  const age = Math.round(Date.now() / 1000 - Number(timestamp))
  if (!/^\d+$/.test(timestamp) || Math.abs(age) > tolerance) {
    const clocks = `its timestamp is ${age} s from this clock, and ${tolerance} are allowed`
    throw new WebhookError('timestamp', clocks)
  }
  try {
    return { ...JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)), id }
  } catch (cause) {
    throw new WebhookError('body', 'it is signed, and no JSON', { cause })
  }
}
