/** Access tokens: short-lived JWTs (RFC 9068, EdDSA), and the public keys that verify them, and nothing else. */
import { createLocalJWKSet, importJWK, jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import type { Principal } from '../context.ts'
import type { Env } from '../env.ts'

/** Seconds. */
const ACCESS_TOKEN_LIFETIME = 15 * 60

const Claims = z.object({ sub: z.uuid(), sid: z.uuid() })

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

/** Imported keys are kept as long as the configuration that they come from. */
const keySets = new WeakMap<Env, ReturnType<typeof createLocalJWKSet>>()
const keySetOf = (env: Env) => {
  const known = keySets.get(env)
  if (known) return known
  const keySet = createLocalJWKSet(publicKeySet(env))
  keySets.set(env, keySet)
  return keySet
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
  try {
    const { payload } = await jwtVerify(token, keySetOf(env), {
      algorithms: ['EdDSA'],
      typ: 'at+jwt',
      issuer: env.PUBLIC_URL,
      audience: env.PUBLIC_URL,
      requiredClaims: ['exp'],
    })
    const { sub, sid } = Claims.parse(payload)
    return { type: 'session', userId: sub, id: sid }
  } catch {
    return undefined
  }
}
