/** Session cookies of an Auth.js (NextAuth v5) front end, decrypted and verified as Auth.js makes them. */
import { base64url, calculateJwkThumbprint, jwtDecrypt } from 'jose'
import { v7 as uuidv7 } from 'uuid'
import { z } from 'zod'
import type { Principal } from '../context.ts'
import type { Env } from '../env.ts'
import { isName, isPlain } from '../text.ts'
import { PROOF_COOKIE, readProof } from './proof-cookie.ts'

const cookieNames = ['__Secure-authjs.session-token', 'authjs.session-token'] as const

/**
 * What Auth.js puts into its token, and what the front end's `jwt` callback should add: without the provider's
 * account the token's own `sub` stands for it, and without `emailVerified` no account is linked by e-mail. An `email` that is none here
 * is none at all. `signedInAt`, in seconds, is when this person
 * signed in; without it that is when the token was made, which Auth.js does anew while a page is open.
 */
const Claims = z.object({
  sub: z.string().min(1).max(255).refine(isPlain),
  provider: z.string().min(1).max(100).refine(isPlain).default('authjs'),
  providerAccountId: z.string().min(1).max(255).refine(isPlain).optional(),
  email: z.string().trim().toLowerCase().max(254).pipe(z.email()).optional().catch(undefined),
  emailVerified: z.literal(true).optional().catch(undefined),
  name: z.string().trim().min(1).max(100).refine(isName).optional().catch(undefined),
  signedInAt: z.number().min(0).max(1e11).optional().catch(undefined),
  iat: z.number().default(0),
})

/** A cookie that was too large for one comes as `name.0`, `name.1`, … */
const findCookie = (cookies: Record<string, string>) => {
  for (const name of cookieNames) {
    const chunks = Object.keys(cookies)
      .filter((key) => key.startsWith(`${name}.`) && /^\d+$/.test(key.slice(name.length + 1)))
      .sort((a, b) => Number(a.slice(name.length + 1)) - Number(b.slice(name.length + 1)))
    const value = cookies[name] || chunks.map((key) => cookies[key]).join('')
    if (value) return { name, value }
  }
  return undefined
}

/** As `@auth/core/jwt` derives it: HKDF-SHA256 over the secret, salted with the cookie's name. */
const deriveKey = async (secret: string, salt: string): Promise<Uint8Array> => {
  const text = new TextEncoder()
  const key = await crypto.subtle.importKey('raw', text.encode(secret), 'HKDF', false, ['deriveBits'])
  const info = text.encode(`Auth.js Generated Encryption Key (${salt})`)
  return new Uint8Array(
    await crypto.subtle.deriveBits(
      { name: 'HKDF', hash: 'SHA-256', salt: text.encode(salt), info },
      key,
      512,
    ),
  )
}

/** As Auth.js sets `kid` (RFC 7638). */
const thumbprintOf = (key: Uint8Array) =>
  calculateJwkThumbprint({ kty: 'oct', k: base64url.encode(key) }, 'sha512')

/** The caller that a cookie names, or undefined without one, or if it is expired, tampered with or of another secret. */
export const verifySessionCookie = async (
  env: Env,
  cookies: Record<string, string>,
): Promise<Principal | undefined> => {
  const cookie = findCookie(cookies)
  if (!cookie || env.AUTH_SECRETS.length === 0) return undefined
  try {
    const { payload } = await jwtDecrypt(
      cookie.value,
      async ({ kid }) => {
        for (const secret of env.AUTH_SECRETS) {
          const key = await deriveKey(secret, cookie.name)
          if (kid === undefined || kid === (await thumbprintOf(key))) return key
        }
        throw new Error('no secret fits')
      },
      {
        clockTolerance: 15,
        keyManagementAlgorithms: ['dir'],
        contentEncryptionAlgorithms: ['A256CBC-HS512'],
        requiredClaims: ['exp'],
      },
    )
    const { sub, provider, providerAccountId, email, emailVerified, name, ...times } = Claims.parse(payload)
    return {
      type: 'authjs',
      provider,
      providerAccountId: providerAccountId ?? sub,
      email,
      emailVerified: emailVerified ?? false,
      name,
      signedInAt: times.signedInAt ?? times.iat,
      newUserId: uuidv7(),
      proof: readProof(env, cookies[PROOF_COOKIE]),
    }
  } catch {
    return undefined
  }
}
