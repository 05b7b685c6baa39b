/** What the Worker hands out to be shown again later, and keeps no row of: claims with an end and a code, for one purpose each. */
import { timingSafeEqual } from 'node:crypto'
import type { z } from 'zod'
import type { Env } from '../env.ts'
import { macOf } from './macs.ts'

/** Bytes of a code; the claims are no secret. */
const MAC_LENGTH = 24

export type Purpose = 'second factor' | 'device' | 'challenge' | 'step-up'

const codeOf = (key: Env['ACCESS_TOKEN_KEYS'][number], purpose: Purpose, body: string) =>
  macOf(key, `signed ${purpose}`, body).subarray(0, MAC_LENGTH)

/** `lifetime` in seconds. */
export const sign = (env: Env, purpose: Purpose, claims: object, lifetime: number): string => {
  const exp = Math.floor(Date.now() / 1000) + lifetime
  const body = Buffer.from(JSON.stringify({ ...claims, exp })).toString('base64url')
  return `${body}.${codeOf(env.ACCESS_TOKEN_KEYS[0], purpose, body).toString('base64url')}`
}

/** The claims, or undefined of what is forged, over, or for another purpose. */
export const readSigned = <Shape extends z.ZodObject>(
  env: Env,
  purpose: Purpose,
  shape: Shape,
  text: string,
): (z.output<Shape> & { exp: number }) | undefined => {
  const [, body = '', code = ''] = /^([\w-]+)\.([\w-]{32})$/.exec(text) ?? []
  const given = Buffer.from(code, 'base64url')
  const isOurs = env.ACCESS_TOKEN_KEYS.some(
    (key) => given.length === MAC_LENGTH && timingSafeEqual(codeOf(key, purpose, body), given),
  )
  if (!isOurs) return undefined
  const { exp, ...claims } = JSON.parse(Buffer.from(body, 'base64url').toString())
  if (exp * 1000 <= Date.now()) return undefined
  const parsed = shape.safeParse(claims)
  return parsed.success ? { ...parsed.data, exp } : undefined
}
