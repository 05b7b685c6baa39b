/**
 * Refresh tokens: opaque to clients, each good for one rotation.
 *
 * The first is random, and each next one is computed from the one before it with a key, so that a client whose answer
 * was lost gets the very same one when it asks again, while neither the key alone nor the database alone makes one.
 * A tag tells tokens that were issued here, however old, from forged ones.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { and, eq, gt, inArray, isNull, not, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { transact } from '../db/client.ts'
import { sessions, users } from '../db/schema.ts'
import { exists } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { AppError } from '../errors.ts'
import { macOf } from './macs.ts'
import { issueTokens } from './tokens.ts'

/**
 * A retry after a lost answer comes within this time; what comes later is taken for theft. The Worker itself waits 10
 * seconds for the database before it answers that it does not know, and only then the client's own patience begins.
 */
const GRACE = sql`interval '60 seconds'`

type Key = Env['ACCESS_TOKEN_KEYS'][number]

const assemble = (key: Key, sessionId: string, generation: number, secret: Buffer): string => {
  const body = `${sessionId}.${generation}.${secret.toString('base64url')}`
  return `${body}.${macOf(key, 'refresh token tag', body).toString('base64url')}`
}

export const firstRefreshToken = (env: Env, sessionId: string): string =>
  assemble(env.ACCESS_TOKEN_KEYS[0], sessionId, 0, randomBytes(32))

const OVER = 'This refresh token is not valid, or its session has ended: sign in again.'

const PATTERN = /^(([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(\d{1,9})\.([\w-]{43}))\.([\w-]{43})$/

/** The parts of a token, whether it was issued here, and the one that follows it by each key. @throws {AppError} unauthorized */
const parse = (env: Env, token: string) => {
  const [, body = '', sessionId = '', digits, secret = '', tag = ''] = PATTERN.exec(token) ?? []
  if (!body) throw new AppError('unauthorized', { detail: OVER })
  const generation = Number(digits)
  const given = Buffer.from(tag, 'base64url')
  const wasIssued = env.ACCESS_TOKEN_KEYS.some((key) =>
    timingSafeEqual(macOf(key, 'refresh token tag', body), given),
  )
  const nextOf = (key: Key) =>
    assemble(key, sessionId, generation + 1, macOf(key, 'refresh token next', secret))
  const [key, ...formerKeys] = env.ACCESS_TOKEN_KEYS
  return { sessionId, generation, wasIssued, next: nextOf(key), others: formerKeys.map(nextOf) }
}

/** @throws {AppError} unauthorized; refresh_token_reused, and the session is revoked */
export const refresh = async (ctx: Ctx, token: string) => {
  const { sessionId, generation, wasIssued, next, others } = parse(ctx.env, token)
  const refreshHash = hash('sha256', token)
  // The lost answer may have been of another key.
  const possible = new Map([next, ...others].map((each) => [hash('sha256', each), each]))
  const isThis = eq(sessions.id, sessionId)
  const isInForce = and(isThis, isNull(sessions.revokedAt), gt(sessions.expiresAt, sql`now()`))
  const isCurrent = eq(sessions.refreshHash, refreshHash)
  const userIsActive = exists(
    users,
    and(eq(users.id, sessions.userId), isNull(users.disabledAt), isNull(users.leavesAt)),
  )
  const inGrace = sql`(${sessions.refreshGeneration} = ${generation + 1} and ${sessions.refreshedAt} > now() - ${GRACE})`
  const {
    rows: [session],
    reused,
  } = await transact(ctx, (db) => ({
    // Who holds the current token is the session's user; a used one may have been stolen.
    acting: db.execute(sql`select app.act_as(user_id) from sessions where ${isThis} and ${isCurrent}`),
    rotated: db
      .update(sessions)
      .set({
        refreshHash: hash('sha256', next),
        refreshGeneration: generation + 1,
        refreshedAt: sql`now()`,
        ip: ctx.request.ip ?? null,
        country: ctx.request.country ?? null,
      })
      .where(and(isInForce, isCurrent, userIsActive)),
    reused: db
      .update(sessions)
      .set({ revokedAt: sql`now()` })
      .where(
        and(
          isThis,
          sql`${wasIssued}::boolean`,
          isNull(sessions.revokedAt),
          gt(sessions.refreshGeneration, generation),
          not(inGrace),
        ),
      )
      .returning({ id: sessions.id }),
    rows: db
      .select({ userId: sessions.userId, refreshHash: sessions.refreshHash })
      .from(sessions)
      .where(and(isInForce, inArray(sessions.refreshHash, [...possible.keys()]), userIsActive, inGrace)),
  }))
  if (reused.length > 0) throw new AppError('refresh_token_reused')
  const given = session && possible.get(session.refreshHash)
  if (!given) throw new AppError('unauthorized', { detail: OVER })
  return issueTokens(ctx.env, { userId: session.userId, sessionId }, given)
}
