/** Access tokens: short-lived JWTs (RFC 9068 claims, EdDSA) and the public keys to verify them. */
import { createLocalJWKSet, importJWK, jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import type { Principal } from '../context.ts'
import type { Env } from '../env.ts'

/** Seconds. */
export const ACCESS_TOKEN_LIFETIME = 15 * 60

const Claims = z.object({ sub: z.uuid(), sid: z.uuid() })

const publicKey = ({ kty, crv, kid, x }: Env['ACCESS_TOKEN_KEYS'][number]) => ({
  kty,
  crv,
  kid,
  x,
  alg: 'EdDSA',
  use: 'sig',
})

/** RFC 7517. */
export const publicKeySet = (env: Env) => ({ keys: env.ACCESS_TOKEN_KEYS.map(publicKey) })

/** Imported keys live as long as the configuration that they come from. */
const keySets = new WeakMap<Env, ReturnType<typeof createLocalJWKSet>>()
const keySetOf = (env: Env) => {
  const known = keySets.get(env)
  if (known) return known
  const keySet = createLocalJWKSet(publicKeySet(env))
  keySets.set(env, keySet)
  return keySet
}

export const issueAccessToken = async (env: Env, subject: { userId: string; sessionId: string }) => {
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

/** The caller that a token names, or undefined for one that is malformed, expired, tampered with or foreign. */
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
