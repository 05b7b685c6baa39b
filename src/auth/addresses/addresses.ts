/**
 * Addresses and passwords by mail: proving an address, changing it, taking it back, and resetting a password. Who has an
 * address, the database decides (migrations/0009_accounts.sql).
 */
import { and, eq, not, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../../context.ts'
import { ensure, transact } from '../../db/client.ts'
import { users } from '../../db/schema.ts'
import { exists, first } from '../../db/sql.ts'
import { AppError, type ErrorCode, insteadOf, invalidField } from '../../errors.ts'
import { dismissListeners } from '../../events/events.ts'
import { dispatchMails } from '../../mail/owed.ts'
import { hashesOfCode, hashToken } from '../../mail/tokens.ts'
import { issueDeviceToken, markDevice, readDeviceToken } from '../device-tokens.ts'
import { hashPassword, OWN_ADDRESS, toAddress } from '../passwords.ts'
import { endStreams, isCaller, profile, type User } from '../sessions.ts'

/** A refusal is answered and not thrown by the database, which has to count it. */
interface Answer {
  refusal?: ErrorCode
  mails?: string[]
}

const settleAnswer = <T extends Answer>(ctx: Ctx, rows: readonly { answer: T }[]): T => {
  const { answer } = first(rows)
  if (answer.refusal) throw new AppError(answer.refusal)
  dispatchMails(ctx, answer.mails ?? [])
  return answer
}

/** Mails the caller a link and a code, unless there is nothing to prove. @throws {AppError} not_found: no address */
export const askVerification = async (ctx: Ctx): Promise<void> => {
  const mail = uuidv7()
  await transact(ctx, (db) => ({ asked: db.execute(sql`select app.ask_verification(${mail})`) }))
  dispatchMails(ctx, [mail])
}

/**
 * Mails links and codes to the caller's present address, if that is proved, and to the new one.
 * @throws {AppError} validation_failed: it is their address already
 */
export const askChange = async (ctx: Ctx, email: string): Promise<void> => {
  const [older, newer] = [uuidv7(), uuidv7()]
  const asked = transact(ctx, (db) => ({
    asked: db.execute(sql`select app.ask_change(${email}, ${older}, ${newer})`),
  }))
  await asked.catch(insteadOf('validation_failed', () => invalidField('/email', 'is your address already')))
  dispatchMails(ctx, [older, newer])
}

type Awaited = 'current' | 'new'

/**
 * Proves an address by what was mailed there.
 * @returns the caller, and which address has to be proved, too, before a change takes effect
 * @throws {AppError} invalid_token, email_taken
 */
export const confirmEmail = async (
  ctx: Ctx,
  proof: { token?: string | undefined; code?: string | undefined },
): Promise<User & { awaits: Awaited | null }> => {
  const token = proof.token === undefined ? null : hashToken(proof.token)
  const codes = proof.code === undefined ? [] : hashesOfCode(ctx.env, proof.code)
  const { confirmed, rows } = await transact(ctx, (db) => ({
    confirmed: db.execute<{ answer: Answer & { awaits?: Awaited } }>(
      sql`select app.confirm_email(${token}, ${sql.param(codes)}::text[]) as answer`,
    ),
    rows: db.select(profile).from(users).where(isCaller),
  }))
  const { awaits = null } = settleAnswer(ctx, confirmed.rows)
  return { ...first(rows), awaits }
}

type Ended = Answer & { userId: string; workspaces: string[] }

const endAll = (ctx: Ctx, { userId, workspaces }: Ended) =>
  endStreams(
    ctx,
    workspaces.map((id) => ({ id })),
    `user:${userId}`,
  )

/** Gives a former address back to whoever reads its mail. @throws {AppError} invalid_token, email_taken */
export const undoChange = async (ctx: Ctx, token: string): Promise<void> => {
  const { undone } = await transact(ctx, (db) => ({
    undone: db.execute<{ answer: Ended & { keys: { workspaceId: string; hash: string }[] } }>(
      sql`select app.undo_change(${hashToken(token)}) as answer`,
    ),
  }))
  const ended = settleAnswer(ctx, undone.rows)
  await endAll(ctx, ended)
  await Promise.all(
    ended.keys.map(({ workspaceId, hash }) => dismissListeners(ctx, [workspaceId], `key:${hash}`)),
  )
}

/**
 * Owes a mail by which a password can be set. Does the same for any address, and whether there is an account is looked up
 * when the mail is sent.
 */
export const askReset = async (ctx: Ctx, email: string): Promise<void> => {
  const mail = uuidv7()
  await transact(ctx, (db) => ({
    owed: db.execute(sql`select app.owe_mail(${mail}, 'reset', ${email}, null, '{}')`),
    recorded: db.execute(
      sql`select app.record('password.reset', 'user', null, null, ${JSON.stringify({ email })}::jsonb)`,
    ),
  }))
  dispatchMails(ctx, [mail])
}

/**
 * Sets a password, and ends all sessions. Of an address that nobody has proved, for the claim that this device has signed in to.
 * @returns a token that says that this device is known: strangers' guesses must not keep its person from signing in now; and
 *   when the account is deleted, if it is to be and its person does not sign in
 * @throws {AppError} invalid_token, unavailable, validation_failed: it is the address
 */
export const resetPassword = async (
  ctx: Ctx,
  input: { token: string; newPassword: string; device_token?: string | undefined },
): Promise<{ deviceToken: string; leavesAt: Date | null }> => {
  const device = input.device_token ? readDeviceToken(ctx.env, input.device_token) : undefined
  const passwordHash = await hashPassword(ctx.env, input.newPassword)
  const isOwnAddress = and(
    eq(users.email, toAddress(input.newPassword)),
    eq(users.passwordHash, passwordHash),
  )
  const done = transact({ ...ctx, seals: [passwordHash] }, (db) => ({
    reset: db.execute<{
      answer: Ended & { email: string; factorsSince: string | null; leavesAt: string | null }
    }>(
      sql`select app.reset_password(${hashToken(input.token)}, ${passwordHash}, ${uuidv7()}, ${device?.userId ?? null}) as answer`,
    ),
    // Whose address it is shows by then; the link stays good.
    other: ensure(db, not(exists(users, isOwnAddress)), 'validation_failed'),
  }))
  const { reset } = await done.catch(
    insteadOf('validation_failed', () => invalidField('/newPassword', OWN_ADDRESS)),
  )
  const answer = settleAnswer(ctx, reset.rows)
  await endAll(ctx, answer)
  const { userId: id, email, factorsSince, leavesAt } = answer
  return {
    deviceToken: issueDeviceToken(ctx.env, { id, email, mark: markDevice({ factorsSince, passwordHash }) }),
    leavesAt: leavesAt === null ? null : new Date(leavesAt),
  }
}
