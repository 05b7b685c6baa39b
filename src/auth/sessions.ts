/** Signing up, in and out. */
import { randomBytes } from 'node:crypto'
import { eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { transact } from '../db/client.ts'
import { auditLogs, currentUserId, memberships, sessions, users, workspaces } from '../db/schema.ts'
import { AppError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { hashPassword, verifyPassword } from './passwords.ts'
import { ACCESS_TOKEN_LIFETIME, issueAccessToken } from './tokens.ts'

const REFRESH_TOKEN_LIFETIME = sql`interval '30 days'`

const newSession = async (ctx: Ctx, userId: string) => {
  const id = uuidv7()
  const refreshToken = randomBytes(32).toString('base64url')
  return {
    row: {
      id,
      userId,
      refreshHash: await sha256Hex(refreshToken),
      expiresAt: sql`now() + ${REFRESH_TOKEN_LIFETIME}`,
      ip: ctx.request.ip ?? null,
      userAgent: ctx.request.userAgent ?? null,
    },
    tokens: {
      access_token: await issueAccessToken(ctx.env, { userId, sessionId: id }),
      token_type: 'Bearer' as const,
      expires_in: ACCESS_TOKEN_LIFETIME,
      refresh_token: refreshToken,
    },
  }
}

const asUser = (ctx: Ctx, userId: string): Ctx => ({ ...ctx, principal: { type: 'system', userId } })

/** @throws {AppError} email_taken */
export const register = async (
  ctx: Ctx,
  input: { email: string; password: string; name?: string | undefined },
) => {
  const userId = uuidv7()
  const [passwordHash, session] = await Promise.all([hashPassword(input.password), newSession(ctx, userId)])
  const {
    created: [user],
  } = await transact(asUser(ctx, userId), (db) => ({
    created: db
      .insert(users)
      .values({ id: userId, email: input.email, name: input.name ?? null, passwordHash })
      .returning({ id: users.id, email: users.email, name: users.name, createdAt: users.createdAt }),
    session: db.insert(sessions).values(session.row),
  }))
  return { user: user as NonNullable<typeof user>, ...session.tokens }
}

/**
 * The same answer after the same work whether the e-mail is unknown or the password wrong.
 * @throws {AppError} invalid_credentials
 */
export const signIn = async (ctx: Ctx, input: { email: string; password: string }) => {
  const {
    known: [user],
  } = await transact({ ...ctx, action: undefined }, (db) => ({
    known: db
      .select({ id: users.id, passwordHash: users.passwordHash, disabledAt: users.disabledAt })
      .from(users)
      .where(eq(users.email, input.email)),
  }))
  const valid = await verifyPassword(input.password, user?.passwordHash)
  if (!user || !valid || user.disabledAt) {
    await transact(ctx, (db) => ({
      refused: db.insert(auditLogs).values({
        workspaceId: null,
        action: 'session.refuse',
        actorType: 'system',
        resourceType: 'user',
        resourceId: user?.id ?? null,
        after: { email: input.email },
        ip: ctx.request.ip ?? null,
        userAgent: ctx.request.userAgent ?? null,
        requestId: ctx.request.id,
      }),
    }))
    throw new AppError('invalid_credentials')
  }
  const session = await newSession(ctx, user.id)
  await transact(asUser(ctx, user.id), (db) => ({ session: db.insert(sessions).values(session.row) }))
  return session.tokens
}

/** Ends the caller's own session: its access token is refused from the next request on. */
export const signOut = async (ctx: Ctx) => {
  if (ctx.principal.type !== 'session') return
  const { sessionId } = ctx.principal
  await transact(ctx, (db) => ({
    revoked: db.update(sessions).set({ revokedAt: sql`now()` }).where(eq(sessions.id, sessionId)),
  }))
}

/** The caller and the workspaces that they belong to. */
export const getMe = async (ctx: Ctx) => {
  const {
    me: [user],
    belongsTo,
  } = await transact(ctx, (db) => ({
    me: db
      .select({ id: users.id, email: users.email, name: users.name, createdAt: users.createdAt })
      .from(users)
      .where(eq(users.id, currentUserId)),
    belongsTo: db
      .select({ id: workspaces.id, name: workspaces.name, slug: workspaces.slug, role: memberships.role })
      .from(memberships)
      .innerJoin(workspaces, eq(workspaces.id, memberships.workspaceId))
      .where(eq(memberships.userId, currentUserId))
      .orderBy(workspaces.id),
  }))
  return { ...(user as NonNullable<typeof user>), workspaces: belongsTo }
}
