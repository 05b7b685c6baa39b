/** Signing in by a factor: after the password as the second step, or by a passkey alone. */
import { and, eq, isNull, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../../context.ts'
import { ensure, transact } from '../../db/client.ts'
import { sessions, users } from '../../db/schema.ts'
import { exists, first } from '../../db/sql.ts'
import { type ErrorCode, insteadOf, toAppError } from '../../errors.ts'
import { forgive } from '../../limits/limits.ts'
import { dispatchIfOwed } from '../../mail/owed.ts'
import { issueDeviceToken, markDevice } from '../device-tokens.ts'
import { asUser, newSession, refuseSignIn, tellOfDevice } from '../sessions.ts'
import { spend, takeGuess } from './factors.ts'
import { readMfaToken, refuseMfaToken } from './mfa-tokens.ts'
import { type Assertion, selectPasskey, verifyAssertion } from './passkeys.ts'
import { type Proof, selectFactors, type Verified, verifyProof } from './proofs.ts'

const isActive = (userId: string) => and(eq(users.id, userId), isNull(users.disabledAt))

const wrong: readonly ErrorCode[] = ['invalid_code', 'invalid_passkey', 'token_used']

/** A sign-in that failed for what was shown is recorded; whatever else happened is thrown as it is. */
export const recordWrong = (ctx: Ctx, userId: string | undefined) => (thrown: unknown) => {
  const error = toAppError(thrown)
  if (!wrong.includes(error.code)) throw thrown
  return refuseSignIn(ctx, { userId }, error)
}

/** The same of whoever has shown the right password before: of many guesses its person is told. */
const recordWrongStep = (ctx: Ctx, userId: string) => async (thrown: unknown) => {
  if (!wrong.includes(toAppError(thrown).code)) throw thrown
  const mail = uuidv7()
  const { told } = await transact({ ...ctx, action: 'session.refuse' }, (db) => ({
    told: db.execute<{ owed: boolean }>(sql`select app.refuse_second_step(${mail}, ${userId}) as owed`),
  }))
  dispatchIfOwed(ctx, told, mail)
  throw thrown
}

/** A session for whoever has proved themselves, and the proof used up: both or none. */
const begin = async (
  ctx: Ctx,
  { userId, deviceId }: { userId: string; deviceId?: string | undefined },
  condition: SQL | undefined,
  { consume, seals }: Verified,
) => {
  const session = await newSession(ctx, userId)
  const mail = uuidv7()
  const { own, told } = await transact({ ...asUser(ctx, userId), seals }, (db) => ({
    // Who comes back changes the row.
    unchanged: ensure(db, exists(users, condition, 'for update'), 'unauthorized'),
    ...consume(db),
    told: tellOfDevice(db, mail, session.row),
    session: db.insert(sessions).values({ ...session.row, secondFactor: true }),
    own: db
      .select({
        id: users.id,
        email: users.email,
        passwordHash: users.passwordHash,
        factorsSince: sql<string | null>`app.factors_since(${users.id})`,
      })
      .from(users)
      .where(eq(users.id, userId)),
  }))
  dispatchIfOwed(ctx, told, mail)
  forgive(ctx)
  const person = first(own)
  const device = { ...person, mark: markDevice(person) }
  return { ...session.tokens, device_token: issueDeviceToken(ctx.env, device, deviceId) }
}

/**
 * Takes two database requests, since the proof is checked in between.
 * @throws {AppError} unauthorized: the token is over, or the password has changed; invalid_code, invalid_passkey, token_used
 */
export const completeSignIn = async (
  ctx: Ctx,
  { mfa_token: token, ...proof }: Proof & { mfa_token: string },
) => {
  const { userId, mark, deviceId, spent } = readMfaToken(ctx.env, token)
  await takeGuess(ctx, userId, [deviceId, proof.passkey && 'passkey'])
  const isInForce = and(isActive(userId), sql`app.password_mark(${users.passwordHash}) = ${mark}`)
  const complete = async () => {
    const known = await transact({ ...ctx, action: undefined }, (db) => ({
      unchanged: ensure(db, exists(users, isInForce), 'unauthorized'),
      ...selectFactors(db, proof, userId),
    }))
    const { consume, seals } = await verifyProof(ctx, proof, userId, known)
    return begin(ctx, { userId, deviceId }, isInForce, {
      consume: (db) => ({ once: spend(db, spent), ...consume(db) }),
      seals,
    })
  }
  return complete().catch(insteadOf('unauthorized', refuseMfaToken)).catch(recordWrongStep(ctx, userId))
}

/** Without a password. Takes two database requests. @throws {AppError} unauthorized, invalid_passkey, token_used */
export const signInByPasskey = async (ctx: Ctx, assertion: Assertion) => {
  const {
    known: [known],
  } = await transact({ ...ctx, action: undefined }, (db) => ({ known: selectPasskey(db, assertion.id) }))
  const complete = async () => {
    const consume = await verifyAssertion(ctx, assertion, known)
    const { userId } = first(known ? [known] : [])
    return begin(ctx, { userId }, isActive(userId), { consume })
  }
  return complete().catch(recordWrong(ctx, known?.userId))
}
