/** The second step of signing in: after the password, what else its person has. */
import { and, eq, isNull, sql } from 'drizzle-orm'
import type { Ctx } from '../../context.ts'
import { ensure, transact } from '../../db/client.ts'
import { sessions, spentTokens, users } from '../../db/schema.ts'
import { exists } from '../../db/sql.ts'
import { toAppError } from '../../errors.ts'
import { asUser, newSession, refuseSignIn } from '../sessions.ts'
import { provenBy, selectTotp, takeGuess } from './factors.ts'
import { readMfaToken } from './mfa-tokens.ts'

/**
 * Takes two database requests, since the code is compared in between.
 * @throws {AppError} unauthorized: the token is over, or the password has changed; invalid_code, token_used
 */
export const completeSignIn = async (ctx: Ctx, input: { mfa_token: string; code: string }) => {
  const { userId, mark, spent } = readMfaToken(ctx.env, input.mfa_token)
  await takeGuess(ctx, userId)
  const isInForce = and(
    eq(users.id, userId),
    isNull(users.disabledAt),
    sql`app.password_mark(${users.passwordHash}) = ${mark}`,
  )
  const unchanged = (db: Parameters<typeof ensure>[0]) =>
    ensure(db, exists(users, isInForce, 'for share'), 'unauthorized')
  const {
    known: [totp],
  } = await transact({ ...ctx, action: undefined }, (db) => ({
    unchanged: unchanged(db),
    known: selectTotp(db, userId),
  }))
  const consume = provenBy(ctx, userId, input.code, totp)
  if (!consume) return refuseSignIn(ctx, { userId }, 'invalid_code')
  const session = await newSession(ctx, userId)
  try {
    await transact(asUser(ctx, userId), (db) => ({
      unchanged: unchanged(db),
      spent: db.insert(spentTokens).values(spent),
      ...consume(db),
      session: db.insert(sessions).values({ ...session.row, secondFactor: true }),
    }))
  } catch (error) {
    if (toAppError(error).code === 'invalid_code') await refuseSignIn(ctx, { userId }, 'invalid_code')
    throw error
  }
  return session.tokens
}
