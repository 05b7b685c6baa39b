/** Access tokens made by hand, with the Worker's own key. */

import { createHmac, hkdfSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { type JWK, type JWTPayload, SignJWT } from 'jose'

/** The secrets of every local stack. */
export const secrets = parseEnv(readFileSync(new URL('../../.dev.vars.example', import.meta.url), 'utf8'))
// The file is part of the project, and the Worker refuses to start with keys of another shape.
const [signingKey, formerKey] = JSON.parse(secrets.ACCESS_TOKEN_KEYS ?? '[]') as [JWK, JWK]

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

/** As src/auth/macs.ts does. */
const macOf = (key: JWK, purpose: string, text: string) => {
  const secret = hkdfSync('sha256', Buffer.from(key.d ?? '', 'base64url'), '', purpose, 32)
  return createHmac('sha256', Buffer.from(secret)).update(text).digest()
}

/** What the Worker has signed and not stored (src/auth/signed.ts), signed anew with other claims. */
export const resign = (token: string, purpose: string, changes: object) => {
  const claims = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString())
  const body = Buffer.from(JSON.stringify({ ...claims, ...changes })).toString('base64url')
  const code = macOf(signingKey, `signed ${purpose}`, body).subarray(0, 24)
  return `${body}.${code.toString('base64url')}`
}

/** The refresh token after that one, as it was while the former key was the present one. */
export const formerNext = (token: string) => {
  const [sessionId, generation, secret = ''] = token.split('.')
  const body = `${sessionId}.${Number(generation) + 1}.${macOf(formerKey, 'refresh token next', secret).toString('base64url')}`
  return `${body}.${macOf(formerKey, 'refresh token tag', body).toString('base64url')}`
}

/** Claims that were over a moment ago, and such that are not. */
export const over = () => ({ exp: Math.floor(Date.now() / 1000) - 1 })
export const inForce = () => ({ exp: Math.floor(Date.now() / 1000) + 60 })
