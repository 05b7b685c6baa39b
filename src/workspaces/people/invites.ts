/** Invites: a token for one e-mail address, shown once, good for seven days. */
import { randomBytes } from 'node:crypto'
import { and, desc, eq, gt, isNull, lt, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../../context.ts'
import { lockWorkspace } from '../../credits/ledger.ts'
import { ensure, transact } from '../../db/client.ts'
import { currentUserId, invites, memberships, workspaces } from '../../db/schema.ts'
import { exists, inWorkspace } from '../../db/sql.ts'
import { sha256Hex } from '../../hash.ts'
import { memberLimit, memberLimits } from '../../plans.ts'
import type { Role } from '../../words.ts'
import type { WorkspaceWithRole } from '../workspaces.ts'
import { stillAllowed } from './members.ts'

export type Invite = typeof invites.$inferSelect

const here = inWorkspace(invites)
const isOpen = and(here, isNull(invites.acceptedAt), gt(invites.expiresAt, sql`now()`))

/**
 * A new invite takes the place of an earlier one to the same address. The answer holds the token, for the only time.
 * @throws {AppError} forbidden (a role above one's own), already_member, plan_limit_reached
 */
export const createInvite = async (
  ctx: Ctx,
  input: { email: string; role: Role },
): Promise<Invite & { token: string }> => {
  const token = randomBytes(32).toString('base64url')
  const tokenHash = await sha256Hex(token)
  const {
    created: [invite],
  } = await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    ...stillAllowed(db, 'admin', input.role),
    newcomer: ensure(
      db,
      sql`not exists (select from memberships m join users u on u.id = m.user_id
           where m.workspace_id = app.workspace_id() and u.email = ${input.email})`,
      'already_member',
    ),
    room: ensure(
      db,
      sql`coalesce((select count(*) from memberships where workspace_id = app.workspace_id()) < ${memberLimit}, true)`,
      'plan_limit_reached',
    ),
    // Quietly: the audit log tells of the new one.
    silenced: db.execute(sql`select set_config('app.action', '', true)`),
    replaced: db.delete(invites).where(and(here, eq(invites.email, input.email), isNull(invites.acceptedAt))),
    audited: db.execute(sql`select set_config('app.action', ${ctx.action ?? ''}, true)`),
    created: db
      .insert(invites)
      .values({ id: uuidv7(), ...input, tokenHash, expiresAt: sql`now() + interval '7 days'` })
      .returning(),
  }))
  return { ...(invite as Invite), token }
}

/** `limit + 1` open invites, newest first. */
export const listInvites = async (
  ctx: Ctx,
  page: { limit: number; cursor?: string | undefined },
): Promise<Invite[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(invites)
      .where(and(isOpen, page.cursor ? lt(invites.id, page.cursor) : undefined))
      .orderBy(desc(invites.id))
      .limit(page.limit + 1),
  }))
  return rows
}

/** @throws {AppError} not_found */
export const deleteInvite = async (ctx: Ctx, id: string): Promise<void> => {
  const isThis = and(isOpen, eq(invites.id, id))
  await transact(ctx, (db) => ({
    // An acceptance comes before or after, never in between.
    lock: lockWorkspace(db),
    ...stillAllowed(db, 'admin'),
    found: ensure(db, exists(invites, isThis), 'not_found'),
    deleted: db.delete(invites).where(isThis),
  }))
}

/**
 * Joins the workspace; only whom the invite names, and twice is the same as once.
 * @throws {AppError} not_found, invite_used, invite_expired, plan_limit_reached
 */
export const acceptInvite = async (ctx: Ctx, token: string): Promise<WorkspaceWithRole> => {
  const tokenHash = await sha256Hex(token)
  const {
    rows: [row],
  } = await transact(ctx, (db) => ({
    accepted: db.execute(sql`select app.accept_invite(${tokenHash}, ${memberLimits}::jsonb)`),
    rows: db
      .select({ workspace: workspaces, role: memberships.role })
      .from(memberships)
      .innerJoin(workspaces, eq(workspaces.id, memberships.workspaceId))
      .where(and(inWorkspace(memberships), eq(memberships.userId, currentUserId))),
  }))
  const { workspace, role } = row as NonNullable<typeof row>
  return { ...workspace, role }
}
