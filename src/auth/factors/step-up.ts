/** Proving oneself once more, before what is dangerous: by a second factor, or without one by the password. */
import { eq, sql } from 'drizzle-orm'
import type { Ctx } from '../../context.ts'
import { type Database, ensure, transact } from '../../db/client.ts'
import { currentUserId, sessions } from '../../db/schema.ts'
import { first } from '../../db/sql.ts'
import { AppError } from '../../errors.ts'
import { forgive } from '../../limits/limits.ts'
import { verifyPassword } from '../passwords.ts'
import { issueProof } from '../proof-cookie.ts'
import { refuseSignIn } from '../sessions.ts'
import { markSession, takeGuess } from './factors.ts'
import { type Proof, selectFactors, type Verified, verifyProof } from './proofs.ts'
import { recordWrong } from './second-step.ts'

/**
 * Takes two database requests, since a hash or a code is compared in between.
 * @returns for a front end's session the value of its cookie
 * @throws {AppError} second_factor_required, for a password of somebody who has one; invalid_credentials, invalid_code,
 *   invalid_passkey, token_used
 */
export const stepUp = async (
  ctx: Ctx,
  { password, ...proof }: Proof & { password?: string | undefined },
): Promise<string | undefined> => {
  const { gate, own, ...known } = await transact({ ...ctx, action: undefined }, (db) => ({
    own: db.execute<{ hash: string | null; has_factor: boolean }>(sql`
      select app.own_password_hash() as hash, app.own_factors() <> '{}' as has_factor`),
    ...selectFactors(db, proof, currentUserId),
  }))
  const { userId } = gate
  const { hash, has_factor: hasFactor } = first(own.rows)

  const byPassword = async (given: string): Promise<Verified> => {
    if (hasFactor) {
      throw new AppError('second_factor_required', {
        detail: 'You have a second factor: prove yourself by that.',
      })
    }
    if (!(await verifyPassword(ctx.env, given, hash))) {
      return refuseSignIn(
        ctx,
        { userId },
        new AppError('invalid_credentials', { detail: 'The password is wrong.' }),
      )
    }
    return {
      consume: (db) => ({
        unchanged: ensure(db, sql`app.own_password_hash() = ${hash}`, 'invalid_credentials'),
      }),
    }
  }
  const byFactor = async () => {
    if (!hasFactor) {
      throw new AppError(proof.passkey ? 'invalid_passkey' : 'invalid_code', {
        detail: 'You have no second factor: send your password, or set one up.',
      })
    }
    if (!proof.passkey) await takeGuess(ctx, userId, ['step-up'])
    return verifyProof(ctx, proof, userId, known)
  }
  const prove = async () => {
    const { consume, seals } = password === undefined ? await byFactor() : await byPassword(password)
    const { marked } = await transact({ ...ctx, seals }, (db) => ({
      ...consume(db),
      proved: remember(db, ctx, password === undefined),
      marked: db.execute<{ mark: string }>(sql`select app.own_mark() as mark`),
    }))
    return first(marked.rows).mark
  }
  const mark = await prove().catch(recordWrong(ctx, userId))
  forgive(ctx)
  return ctx.principal.type === 'authjs' && password === undefined
    ? issueProof(ctx.env, { userId, mark })
    : undefined
}

/** A statement, and its row of the audit log: by a trigger where a session has a row. */
const remember = (db: Database, ctx: Ctx, byFactor: boolean) => {
  const { principal } = ctx
  if (principal.type !== 'session') {
    return db.execute(sql`select app.record('session.prove', 'user', ${currentUserId}, null, null)`)
  }
  if (byFactor) return markSession(db, ctx)
  return db.update(sessions).set({ provedAt: sql`now()` }).where(eq(sessions.id, principal.id))
}
