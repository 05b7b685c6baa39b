/**
 * Devices that have signed in before: strangers' guesses slow down whoever comes from elsewhere, and not them. A token says
 * so, and nothing else: it signs nobody in, and without the password it is worth a few guesses.
 */
import { hash, randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Env } from '../env.ts'
import { macOf } from './macs.ts'
import { readSigned, sign } from './signed.ts'

/** Seconds. */
const LIFETIME = 180 * 24 * 3600

const Claims = z.object({
  /** The device's own bucket. */
  id: z.uuid(),
  userId: z.uuid(),
  /** Of the address that it signed in with (`addressCodesOf`). */
  address: z.string(),
  /** Of the password and the second factors then (`markDevice`): with others it is a device as any other. */
  mark: z.string(),
})
type Claims = z.output<typeof Claims>

/** Whom limits count, whether there is such an account or not. */
export const hashAddress = (email: string): string => hash('sha256', email.trim().toLowerCase())

/** An address as tokens name it, by each of the keys: who reads one learns nothing of the address. */
const addressCodesOf = (env: Env, email: string): string[] =>
  env.ACCESS_TOKEN_KEYS.map((key) =>
    macOf(key, 'device address', hashAddress(email)).toString('base64url', 0, 24),
  )

/** A password as tokens name it, which are void once it changes; `app.password_mark` in SQL. */
export const markPassword = (passwordHash: string | null): string =>
  hash('sha256', passwordHash ?? '').slice(0, 32)

interface Signer {
  passwordHash: string | null
  /** `app.factors_since` */
  factorsSince: string | null
}

/** What a device has signed in by: one that was known before there was a second factor has not shown that. */
export const markDevice = ({ passwordHash, factorsSince }: Signer): string =>
  hash('sha256', `${markPassword(passwordHash)} ${factorsSince ?? ''}`).slice(0, 32)

/** @param person `mark` by `markDevice`, or `app.own_mark` */
export const issueDeviceToken = (
  env: Env,
  person: { id: string; email: string | null; mark: string },
  id: string = randomUUID(),
): string =>
  sign(
    env,
    'device',
    {
      id,
      userId: person.id,
      address: addressCodesOf(env, person.email ?? '')[0] ?? '',
      mark: person.mark,
    } satisfies Claims,
    LIFETIME,
  )

/** What a token says, if it is of this address, where one is given. */
export const readDeviceToken = (env: Env, token: string, email?: string): Claims | undefined => {
  const claims = readSigned(env, 'device', Claims, token)
  if (!claims || email === undefined) return claims
  return addressCodesOf(env, email).includes(claims.address) ? claims : undefined
}
