/** What a password alone gives whoever has a second factor: leave to show that within five minutes. */
import { hash, randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Env } from '../../env.ts'
import { AppError } from '../../errors.ts'
import { readSigned, sign } from '../signed.ts'

/** Seconds. */
const LIFETIME = 5 * 60

export const factorKinds = ['totp', 'recovery_code', 'passkey'] as const
export type FactorKind = (typeof factorKinds)[number]

const Claims = z.object({
  userId: z.uuid(),
  /** Of the password that was right (`markPassword`). */
  mark: z.string(),
  /** That has signed in before, if it has. */
  deviceId: z.uuid().optional(),
})
type Claims = z.output<typeof Claims>

export const issueMfaToken = (env: Env, claims: Claims, methods: FactorKind[]) => ({
  mfa_token: sign(env, 'second factor', { ...claims, id: randomUUID() }, LIFETIME),
  expires_in: LIFETIME,
  methods,
})

/** Of what is forged or over, and of a former password. */
export const refuseMfaToken = (): AppError =>
  new AppError('unauthorized', { detail: 'The mfa_token is not valid, or has expired: sign in again.' })

/** @throws {AppError} unauthorized */
export const readMfaToken = (env: Env, token: string) => {
  const claims = readSigned(env, 'second factor', Claims, token)
  if (!claims) throw refuseMfaToken()
  return { ...claims, spent: { tokenHash: hash('sha256', token), expiresAt: new Date(claims.exp * 1000) } }
}
