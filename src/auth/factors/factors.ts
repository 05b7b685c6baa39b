/** What people can prove themselves by besides a password: authenticator apps, and the codes for whoever has lost theirs. */
import { randomBytes } from 'node:crypto'
import { and, eq, isNotNull, isNull, not, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../../context.ts'
import { authorize, type Database, ensure, transact } from '../../db/client.ts'
import { currentUserId, recoveryCodes, sessions, totpSecrets, users } from '../../db/schema.ts'
import { exists, first } from '../../db/sql.ts'
import { relyingPartyOf } from '../../env.ts'
import { AppError, insteadOf } from '../../errors.ts'
import { forgive, takeTokens } from '../../limits/limits.ts'
import { dispatchIfOwed } from '../../mail/owed.ts'
import { issueDeviceToken } from '../device-tokens.ts'
import { endStreams, ownWorkspaces, revokeOthers, selectDevice } from '../sessions.ts'
import type { FactorKind } from './mfa-tokens.ts'
import { decrypt, encrypt, hashesOfRecoveryCode, newRecoveryCodes } from './secrets.ts'
import { keyUri, stepOf, toBase32 } from './totp.ts'

/** Bytes, as long as the MAC (RFC 4226, section 4). */
const SECRET_LENGTH = 20

const isOwn = eq(totpSecrets.userId, currentUserId)
const isPending = isNull(totpSecrets.confirmedAt)
const hasConfirmed = exists(totpSecrets, and(isOwn, isNotNull(totpSecrets.confirmedAt)))

/** A statement: one change of a person's factors at a time. */
export const takeTurn = (db: Database, userId: SQL | string = currentUserId) =>
  db.execute(sql`select id from users where id = ${userId} for no key update`)

/** A statement: what works once has been used. @throws {AppError} token_used */
export const spend = (db: Database, { tokenHash, expiresAt }: { tokenHash: string; expiresAt: Date }) =>
  db.execute(sql`
    insert into spent_tokens (token_hash, expires_at) values (${tokenHash}, ${expiresAt.toISOString()}::timestamptz)`)

/** Which kinds the caller has, and how many recovery codes are left. */
export const getFactors = async (ctx: Ctx) => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db.execute<{ methods: FactorKind[]; codes: number }>(sql`
      select app.own_factors() methods,
        (select count(*)::int from recovery_codes where user_id = app.user_id()) codes`),
  }))
  const { methods, codes } = first(rows.rows)
  return { methods, recoveryCodesLeft: codes }
}

/** Whose session it is: of a front end's the gate knows, at the cost of a database request. */
const ownIdOf = async (ctx: Ctx): Promise<string> =>
  ctx.principal.type === 'session' ? ctx.principal.userId : (await authorize(ctx)).gate.userId

/** A secret for an app; it counts once a code has shown that the app has it. @throws {AppError} already_enrolled */
export const createTotp = async (ctx: Ctx): Promise<{ secret: string; otpauthUrl: string }> => {
  const bytes = randomBytes(SECRET_LENGTH)
  const secret = encrypt(ctx.env, await ownIdOf(ctx), bytes)
  const { gate, own } = await transact({ ...ctx, seals: [secret] }, (db) => ({
    turn: takeTurn(db),
    free: ensure(db, not(hasConfirmed), 'already_enrolled'),
    created: db
      .insert(totpSecrets)
      .values({ secret })
      .onConflictDoUpdate({ target: totpSecrets.userId, set: { secret, createdAt: sql`now()` } }),
    own: db.select({ email: users.email, name: users.name }).from(users).where(eq(users.id, currentUserId)),
  }))
  const text = toBase32(bytes)
  const { email, name } = first(own)
  const account = email ?? name ?? gate.userId
  return { secret: text, otpauthUrl: keyUri(relyingPartyOf(ctx.env).id, account, text) }
}

/** A statement: owes a mail to whoever's factors change; before one goes. */
export const tellOfFactor = (db: Database, mail: string) =>
  db.execute<{ owed: boolean }>(sql`select app.tell_of_factor(${mail}) as owed`)

/** Statements, before the first factor is there: the other sessions, which have never shown one, end. */
export const endWithout = (db: Database, ctx: Ctx) => ({
  revoked: revokeOthers(db, ctx, sql`app.own_factors() = '{}'`),
  listening: ownWorkspaces(db),
})

/** The session that stays comes back by itself. */
export const endStreamsOf = async (
  ctx: Ctx,
  ended: { gate: { userId: string }; revoked: unknown[]; listening: { id: string }[] },
): Promise<void> => {
  if (ended.revoked.length > 0) await endStreams(ctx, ended.listening, `user:${ended.gate.userId}`)
}

/** Codes to show somebody, and what is stored of them. */
export const makeCodes = (ctx: Ctx, userId: string) => {
  const codes = newRecoveryCodes()
  return { codes, hashes: codes.flatMap((code) => hashesOfRecoveryCode(ctx.env, userId, code)[0] ?? []) }
}

/** Statement: the session that asks has been proved by a second factor, just now. */
export const markSession = (db: Database, { principal }: Ctx) =>
  db
    .update(sessions)
    .set({ provedAt: sql`now()`, secondFactor: true })
    .where(principal.type === 'session' ? eq(sessions.id, principal.id) : sql`false`)

/** Statements: these are the caller's recovery codes from now on, and no others. */
const replaceCodes = (db: Database, hashes: string[]) => ({
  forgotten: db.delete(recoveryCodes).where(eq(recoveryCodes.userId, currentUserId)),
  codes: db.insert(recoveryCodes).values(hashes.map((codeHash) => ({ codeHash }))),
})

/**
 * Recovery codes in the place of those that were lost, or have been seen by others.
 * @returns what is shown this once
 * @throws {AppError} second_factor_required: there is none to recover from
 */
export const createCodes = async (ctx: Ctx): Promise<string[]> => {
  const { codes, hashes } = makeCodes(ctx, await ownIdOf(ctx))
  const mail = uuidv7()
  const { told } = await transact({ ...ctx, seals: hashes }, (db) => ({
    turn: takeTurn(db),
    has: ensure(db, sql`app.own_factors() <> '{}'`, 'second_factor_required'),
    ...replaceCodes(db, hashes),
    recorded: db.execute(
      sql`select app.record('recovery_code.create', 'user', ${currentUserId}, null, null)`,
    ),
    told: tellOfFactor(db, mail),
  }))
  dispatchIfOwed(ctx, told, mail)
  return codes
}

/** Whoever confirms twice may have lost the first answer. */
const isOn = () =>
  new AppError('already_enrolled', {
    detail:
      'The app is confirmed already, and its recovery codes were in that answer: POST /auth/mfa/recovery-codes makes new ones.',
  })

/**
 * From now on a code of the app is asked for. Takes two database requests, since the code is compared in between.
 * @returns the recovery codes, which are shown this once, and a token by which the device stays known
 * @throws {AppError} invalid_code; already_enrolled, when it is confirmed; not_found, without a secret that waits for it
 */
export const confirmTotp = async (
  ctx: Ctx,
  code: string,
): Promise<{ recoveryCodes: string[]; device_token: string }> => {
  const { gate, known } = await transact({ ...ctx, action: undefined }, (db) => ({
    known: db
      .select({ secret: totpSecrets.secret, confirmedAt: totpSecrets.confirmedAt })
      .from(totpSecrets)
      .where(isOwn),
  }))
  const [own] = known
  if (!own) {
    throw new AppError('not_found', {
      detail: 'No app waits for its first code: begin with POST /auth/mfa/totp.',
    })
  }
  if (own.confirmedAt) throw isOn()
  const { secret } = own
  await takeGuess(ctx, gate.userId, ['step-up'])
  const step = stepOf(decrypt(ctx.env, gate.userId, secret), code, Date.now())
  if (step === undefined) throw new AppError('invalid_code')
  const { codes, hashes } = makeCodes(ctx, gate.userId)
  const isThis = and(isOwn, isPending, eq(totpSecrets.secret, secret))
  const mail = uuidv7()
  const confirmed = transact({ ...ctx, seals: hashes }, (db) => ({
    turn: takeTurn(db),
    // Of two at once the second one finds it confirmed.
    free: ensure(db, not(hasConfirmed), 'already_enrolled'),
    unchanged: ensure(db, exists(totpSecrets, isThis), 'invalid_code'),
    ...endWithout(db, ctx),
    confirmed: db.update(totpSecrets).set({ confirmedAt: sql`now()`, lastStep: step }).where(isThis),
    ...replaceCodes(db, hashes),
    proved: markSession(db, ctx),
    told: tellOfFactor(db, mail),
    device: selectDevice(db),
  }))
  const { told, device, ...others } = await confirmed.catch(insteadOf('already_enrolled', isOn))
  dispatchIfOwed(ctx, told, mail)
  await endStreamsOf(ctx, others)
  forgive(ctx)
  return { recoveryCodes: codes, device_token: issueDeviceToken(ctx.env, first(device)) }
}

/** Statements: whoever has no factor left needs no recovery codes, and no session of theirs has been proved by one. */
export const settleFactors = (db: Database) => {
  const hasNone = sql`app.own_factors() = '{}'`
  return {
    codes: db.delete(recoveryCodes).where(and(eq(recoveryCodes.userId, currentUserId), hasNone)),
    sessions: db
      .update(sessions)
      .set({ secondFactor: false })
      .where(
        and(
          eq(sessions.userId, currentUserId),
          isNull(sessions.revokedAt),
          eq(sessions.secondFactor, true),
          hasNone,
        ),
      ),
  }
}

/** The app's codes are asked for no more; without one it is the same. */
export const deleteTotp = async (ctx: Ctx): Promise<void> => {
  const mail = uuidv7()
  const { told } = await transact(ctx, (db) => ({
    turn: takeTurn(db),
    told: tellOfFactor(db, mail),
    deleted: db.delete(totpSecrets).where(isOwn),
    ...settleFactors(db),
  }))
  dispatchIfOwed(ctx, told, mail)
}

/**
 * Takes a guess from what a person has of them: strangers with the password, each known device, passkeys and open sessions
 * (`step-up`) have their own, and then all of them one together.
 * @throws {AppError} rate_limited
 */
export const takeGuess = async (ctx: Ctx, userId: string, by: (string | undefined)[]): Promise<void> => {
  const subject = [userId, ...by].filter(Boolean).join(' ')
  await takeTokens(ctx, [
    { policy: 'second-factor', subject },
    { policy: 'second-factor-day', subject },
  ])
  // Afterwards: who is refused by their own takes nothing from the others.
  await takeTokens(ctx, [{ policy: 'second-factor-person', subject: userId }])
}
