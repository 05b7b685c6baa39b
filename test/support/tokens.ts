/** Access tokens made by hand, with the Worker's own key. */

import { createHmac, hkdfSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { type JWK, type JWTPayload, SignJWT } from 'jose'

/** The secrets of every local stack. */
export const secrets = parseEnv(readFileSync(new URL('../../.dev.vars.example', import.meta.url), 'utf8'))
// The file is part of the project, and the Worker refuses to start with keys of another shape.
const [signingKey] = JSON.parse(secrets.ACCESS_TOKEN_KEYS ?? '[]') as [JWK]

export const signToken = (claims: JWTPayload, header: { typ?: string; kid?: string } = {}) =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid: 'local-only', ...header })
    .sign(signingKey)

/** What a token says. */
export const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())

/** What the Worker would put into a token for this session, for fifteen minutes. */
export const newClaims = (userId: string, sessionId: string) => {
  const now = Math.floor(Date.now() / 1000)
  const origin = 'http://127.0.0.1'
  return { iss: origin, aud: origin, sub: userId, sid: sessionId, iat: now, exp: now + 900 }
}

/** What the Worker has signed and not stored (src/auth/signed.ts), signed anew with other claims. */
export const resign = (token: string, purpose: string, changes: object) => {
  const claims = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString())
  const body = Buffer.from(JSON.stringify({ ...claims, ...changes })).toString('base64url')
  const key = hkdfSync('sha256', Buffer.from(signingKey.d ?? '', 'base64url'), '', `signed ${purpose}`, 32)
  const code = createHmac('sha256', Buffer.from(key)).update(body).digest().subarray(0, 24)
  return `${body}.${code.toString('base64url')}`
}

/** Claims that were over a moment ago, and such that are not. */
export const over = () => ({ exp: Math.floor(Date.now() / 1000) - 1 })
export const inForce = () => ({ exp: Math.floor(Date.now() / 1000) + 60 })
