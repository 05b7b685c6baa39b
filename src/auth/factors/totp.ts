/** One-time codes by time (RFC 6238): six digits, thirty seconds, HMAC-SHA-1, as every authenticator app makes them. */
import { createHmac, timingSafeEqual } from 'node:crypto'

/** Seconds. */
const PERIOD = 30
const DIGITS = 6

/** How many steps a clock may be off. */
const WINDOW = 1

/** RFC 4226. */
export const hotp = (secret: Uint8Array, counter: number, digits = DIGITS): string => {
  const message = Buffer.alloc(8)
  message.writeBigUInt64BE(BigInt(counter))
  const mac = createHmac('sha1', secret).update(message).digest()
  const truncated = mac.readUInt32BE((mac.at(-1) ?? 0) & 0xf) & 0x7fff_ffff
  return String(truncated % 10 ** digits).padStart(digits, '0')
}

/** Of a moment in milliseconds. */
export const stepAt = (time: number): number => Math.floor(time / 1000 / PERIOD)

/** The step that a code is of, if it is one of those around now. */
export const stepOf = (secret: Uint8Array, code: string, now: number): number | undefined => {
  const given = Buffer.from(code)
  const current = stepAt(now)
  let found: number | undefined
  // All of them, whichever it is.
  for (let step = current - WINDOW; step <= current + WINDOW; step++) {
    const expected = Buffer.from(hotp(secret, step))
    if (given.length === expected.length && timingSafeEqual(given, expected)) found = step
  }
  return found
}

/** RFC 4648, without padding. */
export const toBase32 = (bytes: Uint8Array): string => {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('')
  return (bits.match(/.{1,5}/g) ?? [])
    .map((group) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number.parseInt(group.padEnd(5, '0'), 2)])
    .join('')
}

/** What apps read from a QR code (Key URI Format). */
export const keyUri = (issuer: string, account: string, secret: string): string =>
  `otpauth://totp/${encodeURIComponent(issuer)}:${encodeURIComponent(account)}?${new URLSearchParams({
    secret,
    issuer,
    algorithm: 'SHA1',
    digits: String(DIGITS),
    period: String(PERIOD),
  })}`
