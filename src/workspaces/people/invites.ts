/** Invites: a token for one e-mail address, shown once, good for seven days. */
import { hash, randomBytes } from 'node:crypto'
import { and, desc, eq, gt, isNull, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../../context.ts'
import { change, ensure, transact } from '../../db/client.ts'
import { currentUserId, invites, memberships, workspaces } from '../../db/schema.ts'
import { afterCursor, exists, first, inWorkspace, type Page } from '../../db/sql.ts'
import { AppError, insteadOf } from '../../errors.ts'
import { dispatchMails } from '../../mail/owed.ts'
import type { Role } from '../../words.ts'
import { memberLimit } from '../quotas.ts'
import type { WorkspaceWithRole } from '../workspaces.ts'
import { ensureNotAbove } from './members.ts'

const LIFETIME = sql`interval '7 days'`

const NO_INVITE =
  'No open invite to your address has this token: it may be to another address, or have been withdrawn, or replaced by a newer one, which has a token of its own.'

export type Invite = typeof invites.$inferSelect

const here = inWorkspace(invites)
const isOpen = and(here, isNull(invites.acceptedAt), gt(invites.expiresAt, sql`now()`))

/**
 * Replaces an earlier invite to the same address, whose mailed links lead to this one from now on. The token is answered here and never again: only its hash is stored. The
 * mail has another one, which proves the address, too; it goes out if whoever invites has proved theirs.
 * @throws {AppError} forbidden (a role above one's own), step_up_required, already_member, plan_limit_reached
 */
export const createInvite = async (
  ctx: Ctx,
  input: { email: string; role: Role },
): Promise<Invite & { token: string; mailed: boolean }> => {
  const [id, mail] = [uuidv7(), uuidv7()]
  const token = randomBytes(32).toString('base64url')
  const tokenHash = hash('sha256', token)
  const isNewcomer = sql`not exists (select from memberships m join users u on u.id = m.user_id
    where m.workspace_id = (select app.workspace_id()) and u.email = ${input.email} and u.email_verified_at is not null)`
  const hasRoom = sql`coalesce((select count(*) from memberships where ${inWorkspace(memberships)}) < ${memberLimit}, true)`
  const { created, mailed } = await change({ ...ctx, seals: [tokenHash] }, (db) => ({
    granted: ensureNotAbove(db, input.role),
    newcomer: ensure(db, isNewcomer, 'already_member'),
    room: ensure(db, hasRoom, 'plan_limit_reached'),
    replaced: db.delete(invites).where(and(here, eq(invites.email, input.email), isNull(invites.acceptedAt))),
    created: db
      .insert(invites)
      .values({
        id,
        ...input,
        tokenHash,
        expiresAt: sql`now() + ${LIFETIME}`,
      })
      .returning(),
    mailed: db.execute<{ owed: boolean }>(sql`select app.mail_invite(${mail}, ${id}) as owed`),
  }))
  const { owed } = first(mailed.rows)
  if (owed) dispatchMails(ctx, [mail])
  return { ...first(created), token, mailed: owed }
}

/** `limit + 1` open invites, newest first. */
export const listInvites = async (ctx: Ctx, page: Page): Promise<Invite[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(invites)
      .where(and(isOpen, afterCursor(invites.id, page)))
      .orderBy(desc(invites.id))
      .limit(page.limit + 1),
  }))
  return rows
}

/** @throws {AppError} not_found */
export const deleteInvite = async (ctx: Ctx, id: string): Promise<void> => {
  const isThis = and(isOpen, eq(invites.id, id))
  await change(ctx, (db) => ({
    found: ensure(db, exists(invites, isThis), 'not_found'),
    deleted: db.delete(invites).where(isThis),
  }))
}

/**
 * Joins the workspace as the person whom the invite names; twice is the same as once. An invite that was withdrawn or replaced is gone,
 * and a token does not tell to whom it was.
 * @throws {AppError} not_found, email_not_verified, invite_used, invite_expired, plan_limit_reached
 */
export const acceptInvite = async (ctx: Ctx, token: string): Promise<WorkspaceWithRole> => {
  const accepted = transact(ctx, (db) => ({
    accepted: db.execute(sql`select app.accept_invite(${hash('sha256', token)})`),
    rows: db
      .select({ workspace: workspaces, role: memberships.role })
      .from(memberships)
      .innerJoin(workspaces, eq(workspaces.id, memberships.workspaceId))
      .where(and(inWorkspace(memberships), eq(memberships.userId, currentUserId))),
  }))
  const { rows } = await accepted.catch(
    insteadOf('not_found', () => new AppError('not_found', { detail: NO_INVITE })),
  )
  const { workspace, role } = first(rows)
  return { ...workspace, role }
}
