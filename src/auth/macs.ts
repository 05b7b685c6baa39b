/** Codes by the keys that sign access tokens, one derived for each purpose. */
import { createHmac, hkdfSync } from 'node:crypto'
import type { JWK } from 'jose'

export const macOf = (key: JWK, purpose: string, text: string): Buffer => {
  const secret = hkdfSync('sha256', Buffer.from(String(key.d), 'base64url'), '', purpose, 32)
  return createHmac('sha256', Buffer.from(secret)).update(text).digest()
}
