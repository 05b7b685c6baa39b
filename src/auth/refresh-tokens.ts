/**
 * Refresh tokens: opaque to clients, each good for one rotation. The next one is computed from the session and
 * the number of rotations, so that a client whose answer was lost gets the very same one when it asks again, and
 * a token that was used before is recognised however old it is.
 */
import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { and, eq, gt, isNull, not, sql } from 'drizzle-orm'
import type { JWK } from 'jose'
import type { Ctx } from '../context.ts'
import { transact } from '../db/client.ts'
import { sessions, users } from '../db/schema.ts'
import type { Env } from '../env.ts'
import { AppError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { ACCESS_TOKEN_LIFETIME, issueAccessToken } from './tokens.ts'

/** A retry of a refresh whose answer was lost comes within this time; later it is a theft. */
const GRACE = sql`interval '10 seconds'`

const macOf = (key: JWK, sessionId: string, generation: number): Buffer => {
  const secret = hkdfSync('sha256', Buffer.from(String(key.d), 'base64url'), '', 'refresh token', 32)
  return createHmac('sha256', Buffer.from(secret)).update(`${sessionId}.${generation}`).digest()
}

export const refreshTokenOf = (env: Env, sessionId: string, generation: number): string =>
  `${sessionId}.${generation}.${macOf(env.ACCESS_TOKEN_KEYS[0], sessionId, generation).toString('base64url')}`

/** The parts of a token that one of our keys made; the current one is also known by its hash. */
const parse = (env: Env, token: string) => {
  const [, sessionId, digits, mac] = /^([0-9a-f-]{36})\.(\d{1,9})\.([\w-]{43})$/.exec(token) ?? []
  if (!sessionId || !digits || !mac) throw new AppError('unauthorized')
  const generation = Number(digits)
  const given = Buffer.from(mac, 'base64url')
  const isOurs = env.ACCESS_TOKEN_KEYS.some((key) =>
    timingSafeEqual(macOf(key, sessionId, generation), given),
  )
  return { sessionId, generation, isOurs }
}

/** @throws {AppError} unauthorized; refresh_token_reused, and the session has ended */
export const refresh = async (ctx: Ctx, token: string) => {
  const { sessionId, generation, isOurs } = parse(ctx.env, token)
  const next = refreshTokenOf(ctx.env, sessionId, generation + 1)
  const [hash, nextHash] = await Promise.all([sha256Hex(token), sha256Hex(next)])
  const isThis = eq(sessions.id, sessionId)
  const inGrace = sql`(${sessions.refreshGeneration} = ${generation + 1} and ${sessions.refreshedAt} > now() - ${GRACE})`
  const {
    rows: [session],
    reused,
  } = await transact(ctx, (db) => ({
    rotated: db
      .update(sessions)
      .set({ refreshHash: nextHash, refreshGeneration: generation + 1, refreshedAt: sql`now()` })
      .where(
        and(
          isThis,
          eq(sessions.refreshHash, hash),
          isNull(sessions.revokedAt),
          gt(sessions.expiresAt, sql`now()`),
        ),
      ),
    reused: db
      .update(sessions)
      .set({ revokedAt: sql`now()` })
      .where(
        and(
          isThis,
          sql`${isOurs}::boolean`,
          isNull(sessions.revokedAt),
          gt(sessions.refreshGeneration, generation),
          not(inGrace),
        ),
      )
      .returning({ id: sessions.id }),
    rows: db
      .select({ userId: sessions.userId })
      .from(sessions)
      .innerJoin(users, eq(users.id, sessions.userId))
      .where(
        and(
          isThis,
          eq(sessions.refreshHash, nextHash),
          isNull(sessions.revokedAt),
          gt(sessions.expiresAt, sql`now()`),
          isNull(users.disabledAt),
          inGrace,
        ),
      ),
  }))
  if (reused.length > 0) throw new AppError('refresh_token_reused')
  if (!session) throw new AppError('unauthorized')
  return {
    access_token: await issueAccessToken(ctx.env, { userId: session.userId, sessionId }),
    token_type: 'Bearer' as const,
    expires_in: ACCESS_TOKEN_LIFETIME,
    refresh_token: next,
  }
}
