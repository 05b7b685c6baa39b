/** Access tokens: short-lived JWTs (RFC 9068, EdDSA), and the public keys that verify them, and nothing else. */
import { createLocalJWKSet, importJWK, jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import type { Principal } from '../context.ts'
import type { Env } from '../env.ts'
import { remember } from '../remember.ts'

/** Seconds. */
const ACCESS_TOKEN_LIFETIME = 15 * 60

const Claims = z.object({ sub: z.uuid(), sid: z.uuid(), exp: z.int() })

export const publicKey = ({ kty, crv, kid, x }: Env['AUDIT_RETIRED_KEYS'][number]) => ({
  kty,
  crv,
  kid,
  x,
  alg: 'EdDSA',
  use: 'sig',
})

/** RFC 7517. */
export const publicKeySet = (env: Env) => ({ keys: env.ACCESS_TOKEN_KEYS.map(publicKey) })

interface Verifier {
  keySet: ReturnType<typeof createLocalJWKSet>
  /** Tokens that have passed, with when they expire, in milliseconds. */
  passed: Map<string, { principal: Principal; expiresAt: number }>
}

/** Imported keys, and what they have verified, are kept as long as the configuration that they come from. */
const verifiers = new WeakMap<Env, Verifier>()
const verifierOf = (env: Env): Verifier => {
  const known = verifiers.get(env)
  if (known) return known
  const verifier = { keySet: createLocalJWKSet(publicKeySet(env)), passed: new Map() }
  verifiers.set(env, verifier)
  return verifier
}

const issueAccessToken = async (env: Env, subject: { userId: string; sessionId: string }) => {
  const [key] = env.ACCESS_TOKEN_KEYS
  return new SignJWT({ sid: subject.sessionId })
    .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid: key.kid })
    .setIssuer(env.PUBLIC_URL)
    .setAudience(env.PUBLIC_URL)
    .setSubject(subject.userId)
    .setIssuedAt()
    .setExpirationTime(`${ACCESS_TOKEN_LIFETIME}s`)
    .sign(await importJWK(key, 'EdDSA'))
}

/** As OAuth names them (RFC 6749). */
interface Tokens {
  access_token: string
  token_type: 'Bearer'
  /** Seconds. */
  expires_in: number
  refresh_token: string
}

export const issueTokens = async (
  env: Env,
  subject: { userId: string; sessionId: string },
  refreshToken: string,
): Promise<Tokens> => ({
  access_token: await issueAccessToken(env, subject),
  token_type: 'Bearer',
  expires_in: ACCESS_TOKEN_LIFETIME,
  refresh_token: refreshToken,
})

/** The caller that a token names, or undefined if it is malformed, expired, tampered with or another issuer's. */
export const verifyAccessToken = async (env: Env, token: string): Promise<Principal | undefined> => {
  const { keySet, passed } = verifierOf(env)
  const known = passed.get(token)
  // The gate asks for the session of a token at every request.
  if (known && known.expiresAt > Date.now()) return known.principal
  try {
    const { payload } = await jwtVerify(token, keySet, {
      algorithms: ['EdDSA'],
      typ: 'at+jwt',
      issuer: env.PUBLIC_URL,
      audience: env.PUBLIC_URL,
      requiredClaims: ['exp'],
    })
    const { sub, sid, exp } = Claims.parse(payload)
    const principal = { type: 'session' as const, userId: sub, id: sid }
    remember(passed, token, { principal, expiresAt: exp * 1000 })
    return principal
  } catch {
    return undefined
  }
}
