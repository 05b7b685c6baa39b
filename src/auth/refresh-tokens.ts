/**
 * Refresh tokens: opaque to clients, each good for one rotation. The first is random, and each next one is computed
 * from the one before it with our key, so that a client whose answer was lost gets the very same one when it asks
 * again, while neither the key alone nor the database alone makes one. A tag tells tokens that were ours, however
 * old, from forged ones.
 */
import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
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

const macOf = (key: JWK, purpose: 'next' | 'tag', text: string): Buffer => {
  const secret = hkdfSync(
    'sha256',
    Buffer.from(String(key.d), 'base64url'),
    '',
    `refresh token ${purpose}`,
    32,
  )
  return createHmac('sha256', Buffer.from(secret)).update(text).digest()
}

const assemble = (env: Env, sessionId: string, generation: number, secret: Buffer): string => {
  const body = `${sessionId}.${generation}.${secret.toString('base64url')}`
  return `${body}.${macOf(env.ACCESS_TOKEN_KEYS[0], 'tag', body).toString('base64url')}`
}

export const firstRefreshToken = (env: Env, sessionId: string): string =>
  assemble(env, sessionId, 0, randomBytes(32))

const PATTERN = /^(([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(\d{1,9})\.([\w-]{43}))\.([\w-]{43})$/

/** The parts of a token, whether one of our keys tagged it, and the one that follows it. */
const parse = (env: Env, token: string) => {
  const [, body = '', sessionId = '', digits, secret = '', tag = ''] = PATTERN.exec(token) ?? []
  if (!body) throw new AppError('unauthorized')
  const generation = Number(digits)
  const given = Buffer.from(tag, 'base64url')
  const isOurs = env.ACCESS_TOKEN_KEYS.some((key) => timingSafeEqual(macOf(key, 'tag', body), given))
  const next = assemble(env, sessionId, generation + 1, macOf(env.ACCESS_TOKEN_KEYS[0], 'next', secret))
  return { sessionId, generation, isOurs, next }
}

/** @throws {AppError} unauthorized; refresh_token_reused, and the session has ended */
export const refresh = async (ctx: Ctx, token: string) => {
  const { sessionId, generation, isOurs, next } = parse(ctx.env, token)
  const [hash, nextHash] = await Promise.all([sha256Hex(token), sha256Hex(next)])
  const isThis = eq(sessions.id, sessionId)
  const inGrace = sql`(${sessions.refreshGeneration} = ${generation + 1} and ${sessions.refreshedAt} > now() - ${GRACE})`
  const {
    rows: [session],
    reused,
  } = await transact(ctx, (db) => ({
    // Who holds the current token is the session's user; a used one may be anybody's.
    acting: db.execute(
      sql`select set_config('app.actor', 'user:' || user_id, true) from sessions where ${isThis} and ${eq(sessions.refreshHash, hash)}`,
    ),
    rotated: db
      .update(sessions)
      .set({ refreshHash: nextHash, refreshGeneration: generation + 1, refreshedAt: sql`now()` })
      .where(
        and(
          isThis,
          eq(sessions.refreshHash, hash),
          isNull(sessions.revokedAt),
          gt(sessions.expiresAt, sql`now()`),
          sql`exists (select from users where id = ${sessions.userId} and disabled_at is null)`,
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
