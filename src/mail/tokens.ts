/**
 * What a mail's link and code are: computed from its id with a key, when it is sent, so that the database holds hashes only
 * and a second try says the same.
 */
import { hash } from 'node:crypto'
import type { JWK } from 'jose'
import { macOf } from '../auth/macs.ts'
import type { Env } from '../env.ts'

const DIGITS = 8

/** A code has so few digits that its hash needs a key to tell nothing. */
const hashCode = (key: JWK, code: string) => macOf(key, 'mail code hash', code).toString('hex')

export const hashToken = (token: string) => hash('sha256', token)

/** Under each key, since the one that it was sent with may be in front no more. */
export const hashesOfCode = (env: Env, code: string) =>
  env.ACCESS_TOKEN_KEYS.map((key) => hashCode(key, code))

export const secretsOf = (env: Env, mailId: string) => {
  const [key] = env.ACCESS_TOKEN_KEYS
  const token = macOf(key, 'mail token', mailId).toString('base64url')
  const code = String(macOf(key, 'mail code', mailId).readUIntBE(0, 6) % 10 ** DIGITS).padStart(DIGITS, '0')
  return { token, code, tokenHash: hashToken(token), codeHash: hashCode(key, code) }
}
