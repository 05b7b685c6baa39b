/** Users and their sessions: signing up, in and out, the caller's profile and password. */
import { hash } from 'node:crypto'
import { and, desc, eq, gt, isNull, ne, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { authorize, type Database, ensure, read, transact } from '../db/client.ts'
import { currentUserId, memberships, sessions, users } from '../db/schema.ts'
import { afterCursor, exists, first, type Page, rowOf } from '../db/sql.ts'
import { AppError, invalidField } from '../errors.ts'
import { dismissListeners } from '../events/events.ts'
import { forgive, takeTokens } from '../limits/limits.ts'
import { dispatchIfOwed, dispatchMails } from '../mail/owed.ts'
import type { Role } from '../words.ts'
import { deviceOf } from './device.ts'
import { hashAddress, issueDeviceToken, markDevice, markPassword, readDeviceToken } from './device-tokens.ts'
import { type FactorKind, issueMfaToken } from './factors/mfa-tokens.ts'
import { findPassword, hashPassword, isAddress, OWN_ADDRESS, verifyPassword } from './passwords.ts'
import { firstRefreshToken } from './refresh-tokens.ts'
import { issueTokens } from './tokens.ts'

const REFRESH_TOKEN_LIFETIME = sql`interval '30 days'`

export const newSession = async (ctx: Ctx, userId: string) => {
  const id = uuidv7()
  const refreshToken = firstRefreshToken(ctx.env, id)
  return {
    row: {
      id,
      userId,
      refreshHash: hash('sha256', refreshToken),
      expiresAt: sql`now() + ${REFRESH_TOKEN_LIFETIME}`,
      ip: ctx.request.ip ?? null,
      country: ctx.request.country ?? null,
      userAgent: ctx.request.userAgent ?? null,
      device: deviceOf(ctx.request.userAgent) ?? null,
    },
    tokens: await issueTokens(ctx.env, { userId, sessionId: id }, refreshToken),
  }
}

/** What the caller is shown of themselves. */
export const profile = {
  id: users.id,
  email: users.email,
  emailVerifiedAt: users.emailVerifiedAt,
  name: users.name,
  createdAt: users.createdAt,
}

export type User = Pick<typeof users.$inferSelect, keyof typeof profile>

export const isCaller = eq(users.id, currentUserId)

/** Null for a front end's session, which has no row here. */
const ownSessionId = ({ principal }: Ctx) => (principal.type === 'session' ? principal.id : null)

export const asUser = (ctx: Ctx, userId: string): Ctx => ({ ...ctx, principal: { type: 'system', userId } })

/**
 * Also mails what proves the address. A second time in a row, with the same password, it signs in to the same account.
 * @throws {AppError} email_taken: somebody has proved it
 */
export const register = async (
  ctx: Ctx,
  input: { email: string; password: string; name?: string | undefined },
) => {
  const userId = uuidv7()
  const [passwordHash, session] = await Promise.all([
    hashPassword(ctx.env, input.password, input.email),
    newSession(ctx, userId),
  ])
  const mail = uuidv7()
  const { email, name = null } = input
  const { language = null } = ctx.request
  const { created } = await transact({ ...asUser(ctx, userId), seals: [passwordHash] }, (db) => ({
    registered: db.execute(
      sql`select app.register(${userId}, ${email}, ${name}, ${language}, ${passwordHash}, ${mail})`,
    ),
    created: db.select(profile).from(users).where(isCaller),
    session: db.insert(sessions).values({ ...session.row, userId: currentUserId }),
  }))
  const user = first(created)
  const isNew = user.id === userId
  if (isNew) dispatchMails(ctx, [mail])
  const { refresh_token } = session.tokens
  const tokens = isNew
    ? session.tokens
    : await issueTokens(ctx.env, { userId: user.id, sessionId: session.row.id }, refresh_token)
  const mark = markDevice({ passwordHash, factorsSince: null })
  const deviceToken = issueDeviceToken(ctx.env, { ...user, mark })
  return { user, ...tokens, device_token: deviceToken }
}

/** Records a sign-in that failed. @throws {AppError} `error`, always */
export const refuseSignIn = async (
  ctx: Ctx,
  tried: { userId?: string | undefined; email?: string },
  error: AppError,
): Promise<never> => {
  const { userId = null, ...after } = tried
  await transact({ ...ctx, action: 'session.refuse' }, (db) => ({
    refused: db.execute(
      sql`select app.record('session.refuse', 'user', ${userId}::uuid, null, ${JSON.stringify(after)}::jsonb)`,
    ),
  }))
  throw error
}

/**
 * Answers the same, after the same work, whether the e-mail address is unknown or the password wrong.
 * @returns the tokens, or for whoever has a second factor leave to show it
 * @throws {AppError} invalid_credentials
 */
export const signIn = async (
  ctx: Ctx,
  input: { email: string; password: string; device_token?: string | undefined },
) => {
  const device = input.device_token ? readDeviceToken(ctx.env, input.device_token, input.email) : undefined
  const { holders } = await transact({ ...ctx, action: undefined }, (db) => ({
    holders: db
      .select({
        id: users.id,
        passwordHash: users.passwordHash,
        disabledAt: users.disabledAt,
        factors: sql<FactorKind[]>`app.factors_of(${users.id})`,
        factorsSince: sql<string | null>`app.factors_since(${users.id})`,
      })
      .from(
        sql`unnest(app.holders_of(${input.email}, ${device?.userId ?? null}::uuid)) with ordinality h (id, place)`,
      )
      .innerJoin(users, eq(users.id, sql`h.id`))
      .orderBy(sql`h.place`),
  }))
  const known = holders.find((one) => one.id === device?.userId && device.mark === markDevice(one))
  // The address may have changed hands, and the password may have been told to others.
  if (device && !known) await takeTokens(ctx, bucketsOf(input.email))
  // Who is counted by their device guesses nobody else's password.
  const asked = known ? [known] : holders
  const user =
    asked[
      await findPassword(
        ctx.env,
        input.password,
        asked.map((one) => one.passwordHash),
      )
    ]
  if (!user || user.disabledAt) {
    const userId = (user ?? asked[0])?.id
    return refuseSignIn(ctx, { userId, email: input.email }, new AppError('invalid_credentials'))
  }
  const mark = markPassword(user.passwordHash)
  const deviceId = user === known ? device?.id : undefined
  if (user.factors.length > 0) {
    forgive(ctx)
    return issueMfaToken(ctx.env, { userId: user.id, mark, deviceId }, user.factors)
  }
  const session = await newSession(ctx, user.id)
  const hasSamePassword = and(eq(users.id, user.id), sql`${users.passwordHash} = ${user.passwordHash}`)
  const mail = uuidv7()
  const { told } = await transact(asUser(ctx, user.id), (db) => ({
    // A change of password that came in between must not leave a session of the old one behind, nor the end of the account one
    // of nobody; and who comes back changes the row.
    unchanged: ensure(db, exists(users, hasSamePassword, 'for update'), 'invalid_credentials'),
    // Nor may a second factor that did.
    without: ensure(db, sql`app.factors_of(${user.id}::uuid) = '{}'`, 'invalid_credentials'),
    told: tellOfDevice(db, mail, session.row),
    session: db.insert(sessions).values(session.row),
  }))
  dispatchIfOwed(ctx, told, mail)
  forgive(ctx)
  return {
    ...session.tokens,
    device_token: issueDeviceToken(
      ctx.env,
      { ...user, email: input.email, mark: markDevice(user) },
      deviceId,
    ),
  }
}

/** A statement, before the session is there: owes a mail to whoever signs in from a device or country that is new. */
export const tellOfDevice = (
  db: Database,
  mail: string,
  { userId, device, country }: { userId: string; device: string | null; country: string | null },
) =>
  db.execute<{ owed: boolean }>(
    sql`select app.tell_of_device(${mail}, ${userId}, ${device}, ${country}) as owed`,
  )

/** Those of strangers who try an address. */
const bucketsOf = (email: string) =>
  (['login-email', 'login-email-hour', 'login-email-day'] as const).map((policy) => ({
    policy,
    subject: hashAddress(email),
  }))

/**
 * Revokes the caller's session: its access token is refused from the next request on.
 * @throws {AppError} forbidden, to a front end's session, which only the front end can end
 */
export const signOut = async (ctx: Ctx) => {
  const id = ownSessionId(ctx)
  if (!id) {
    await authorize(ctx)
    throw new AppError('forbidden', { detail: 'This session belongs to the front end: sign out there.' })
  }
  const { listening } = await transact(ctx, (db) => ({
    revoked: db.update(sessions).set({ revokedAt: sql`now()` }).where(eq(sessions.id, id)),
    listening: ownWorkspaces(db),
  }))
  await endStreams(ctx, listening, `session:${id}`)
}

/** A statement: ends the caller's other sessions. */
export const revokeOthers = (db: Database, ctx: Ctx, condition?: SQL) => {
  const keptId = ownSessionId(ctx)
  const isOther = and(
    eq(sessions.userId, currentUserId),
    isNull(sessions.revokedAt),
    keptId ? ne(sessions.id, keptId) : undefined,
    condition,
  )
  return db.update(sessions).set({ revokedAt: sql`now()` }).where(isOther).returning({ id: sessions.id })
}

/** Where the caller may have streams open. */
export const ownWorkspaces = (db: Database) =>
  db.select({ id: memberships.workspaceId }).from(memberships).where(eq(memberships.userId, currentUserId))

export const endStreams = (
  ctx: Ctx,
  workspaces: readonly { id: string }[],
  whose: `user:${string}` | `session:${string}`,
): Promise<void> =>
  dismissListeners(
    ctx,
    workspaces.map(({ id }) => id),
    whose,
  )

interface Membership {
  id: string
  name: string
  slug: string
  role: Role
}

/** The caller and the workspaces that they belong to. */
export const getMe = async (
  ctx: Ctx,
): Promise<User & { emailBounced: boolean; workspaces: Membership[] }> => {
  const { workspaces, bounced, ...user } = first(
    await read<{ workspaces: Membership[]; bounced: boolean }>(ctx, 'me'),
  )
  return { ...rowOf(users, user), emailBounced: bounced, workspaces }
}

/** @returns the caller with the new name */
export const updateMe = async (ctx: Ctx, name: string) => {
  const { updated } = await transact(ctx, (db) => ({
    updated: db.update(users).set({ name }).where(isCaller).returning(profile),
  }))
  return first(updated)
}

/** A statement, after what a device is known by has changed: what its new token says (`issueDeviceToken`). */
export const selectDevice = (db: Database) =>
  db
    .select({ id: users.id, email: users.email, mark: sql<string>`app.own_mark()` })
    .from(users)
    .where(isCaller)

/**
 * Revokes the caller's other sessions. Takes two database requests, since the hash is compared in between.
 * @returns a token by which the device stays known
 * @throws {AppError} invalid_credentials, validation_failed: it is the current one, or the address
 */
export const changePassword = async (
  ctx: Ctx,
  input: { currentPassword: string; newPassword: string },
): Promise<string> => {
  const { own } = await transact({ ...ctx, action: undefined }, (db) => ({
    own: db.execute<{ hash: string | null; email: string | null; is_proved: boolean }>(
      sql`select app.own_password_hash() as hash, email, email_verified_at is not null as is_proved from users where ${isCaller}`,
    ),
  }))
  const { hash: current, email, is_proved: isProved } = first(own.rows)
  if (!(await verifyPassword(ctx.env, input.currentPassword, current)))
    throw new AppError('invalid_credentials', { detail: 'The current password is wrong.' })
  if (input.newPassword.normalize('NFKC') === input.currentPassword.normalize('NFKC'))
    throw invalidField('/newPassword', 'is the current password')
  if (isAddress(input.newPassword, email)) throw invalidField('/newPassword', OWN_ADDRESS)
  const passwordHash = await hashPassword(ctx.env, input.newPassword, isProved ? null : email)
  const mail = uuidv7()
  const { gate, listening, device } = await transact({ ...ctx, seals: [passwordHash] }, (db) => ({
    changed: db.execute(sql`select app.change_password(${current}, ${passwordHash})`),
    revoked: revokeOthers(db, ctx),
    told: db.execute(sql`select app.tell_of_password(${mail})`),
    listening: ownWorkspaces(db),
    device: selectDevice(db),
  }))
  dispatchMails(ctx, [mail])
  // The session that stays comes back by itself.
  await endStreams(ctx, listening, `user:${gate.userId}`)
  return issueDeviceToken(ctx.env, first(device))
}

/** The caller's sessions in force. */
const isMine = and(
  eq(sessions.userId, currentUserId),
  isNull(sessions.revokedAt),
  gt(sessions.expiresAt, sql`now()`),
)

/** Without its hash; `current` is the one that asks. */
export type Session = Awaited<ReturnType<typeof listSessions>>[number]

/** `limit + 1` of the caller's sessions in force, newest first. */
export const listSessions = async (ctx: Ctx, page: Page) => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select({
        id: sessions.id,
        ip: sessions.ip,
        country: sessions.country,
        userAgent: sessions.userAgent,
        device: sessions.device,
        createdAt: sessions.createdAt,
        // An access token works for a quarter of an hour, so whoever goes on refreshes as often.
        lastUsedAt: sql<Date>`coalesce(${sessions.refreshedAt}, ${sessions.createdAt})`.mapWith(
          sessions.createdAt,
        ),
        expiresAt: sessions.expiresAt,
      })
      .from(sessions)
      .where(and(isMine, afterCursor(sessions.id, page)))
      .orderBy(desc(sessions.id))
      .limit(page.limit + 1),
  }))
  return rows.map((row) => ({ ...row, current: row.id === ownSessionId(ctx) }))
}

/** @throws {AppError} not_found */
export const revokeSession = async (ctx: Ctx, id: string): Promise<void> => {
  const isThis = and(isMine, eq(sessions.id, id))
  const { listening } = await transact(ctx, (db) => ({
    found: ensure(db, exists(sessions, isThis), 'not_found'),
    revoked: db.update(sessions).set({ revokedAt: sql`now()` }).where(isThis),
    listening: ownWorkspaces(db),
  }))
  await endStreams(ctx, listening, `session:${id}`)
}
