/** Where a front end's session keeps that its person has shown a second factor here: it has no row, so its browser has a cookie. */
import { z } from 'zod'
import type { Env } from '../env.ts'
import { readSigned, sign } from './signed.ts'

export const PROOF_COOKIE = 'step-up'

/** Seconds, in which it lets into workspaces that demand a second factor; for what is dangerous the gate looks at its age. */
export const PROOF_LIFETIME = 12 * 3600

const Claims = z.object({
  userId: z.uuid(),
  /** Seconds. */
  at: z.int(),
  /** Of the password and the factors then (`app.mark_of`): with others it proves nothing. */
  mark: z.string(),
})

export const issueProof = (env: Env, person: { userId: string; mark: string }): string =>
  sign(env, 'step-up', { ...person, at: Math.floor(Date.now() / 1000) }, PROOF_LIFETIME)

export const readProof = (env: Env, cookie: string | undefined) =>
  cookie === undefined ? undefined : readSigned(env, 'step-up', Claims, cookie)
