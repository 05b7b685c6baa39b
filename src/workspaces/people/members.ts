/** The members of a workspace: roles, leaving, removal, transfer. */
import { and, desc, eq, lte, or, type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../../context.ts'
import { change, type Database, ensure, transact } from '../../db/client.ts'
import { currentUserId, memberships, users } from '../../db/schema.ts'
import { afterCursor, exists, first, inWorkspace, type Page } from '../../db/sql.ts'
import { AppError, insteadOf, invalidField } from '../../errors.ts'
import { dismissListeners } from '../../events/events.ts'
import type { Role } from '../../words.ts'

const here = inWorkspace(memberships)
const isCaller = eq(memberships.userId, currentUserId)
const isMember = (userId: string) => and(here, eq(memberships.userId, userId))
const rankOf = (role: SQL | typeof memberships.role) => sql`app.role_rank(${role})`
/** SQL: the rank of the role in which the gate let the caller in. */
const ownRank = sql`(select app.own_rank())`

/** A statement: nobody grants a role above their own. @throws {AppError} forbidden */
export const ensureNotAbove = (db: Database, granted: Role) =>
  ensure(db, sql`${ownRank} >= ${rankOf(sql`${granted}`)}`, 'forbidden')

/** Deletes the open invites of somebody who may not make them any more. */
const withdrawInvites = (db: Database, userId: SQL) =>
  db.execute(sql`
    delete from invites where workspace_id = (select app.workspace_id()) and invited_by = ${userId} and accepted_at is null
      and not exists (select from memberships m where m.workspace_id = (select app.workspace_id()) and m.user_id = invited_by
                         and app.role_rank(m.role) >= greatest(app.role_rank('admin'), app.role_rank(invites.role)))`)

/** Revokes the keys of somebody who may not make them any more, for good; answers their hashes. */
const revokeKeys = (db: Database, userId: string) =>
  db.execute<{ hash: string }>(sql`
    update api_keys set revoked_at = now()
     where workspace_id = (select app.workspace_id()) and created_by = ${userId}::uuid and revoked_at is null
       and not exists (select from memberships m where m.workspace_id = (select app.workspace_id())
                          and m.user_id = created_by and app.role_rank(m.role) >= app.role_rank('admin'))
    returning key_hash as hash`)

const endStreamsOfKeys = async (
  ctx: Ctx,
  workspaceId: string,
  { rows }: { rows: readonly { hash: string }[] },
): Promise<void> => {
  if (rows.length > 0)
    await dismissListeners(ctx, [workspaceId], ...rows.map(({ hash }) => `key:${hash}` as const))
}

/** The page is found before anything is read of the people. */
const selectMembers = (db: Database, where: SQL | undefined, limit = 1) => {
  const page = db
    .select()
    .from(memberships)
    .where(where)
    .orderBy(desc(memberships.entryId))
    .limit(limit)
    .as('page')
  return db
    .select({
      id: page.entryId,
      userId: page.userId,
      email: users.email,
      emailVerifiedAt: users.emailVerifiedAt,
      name: users.name,
      role: page.role,
      leavesAt: users.leavesAt,
      createdAt: page.createdAt,
    })
    .from(page)
    .innerJoin(users, eq(users.id, page.userId))
    .orderBy(desc(page.entryId))
}

export type Member = Awaited<ReturnType<typeof selectMembers>>[number]

const NO_OWNER_STAYS =
  'This member has deleted their account and leaves (`leavesAt`), so the workspace would have no owner: choose another one, or have them sign in, which undoes it.'

const ensureMember = (db: Database, userId: string) =>
  ensure(db, exists(memberships, isMember(userId)), 'not_found')

/** Somebody who has deleted their account is none to rely on. */
const ensureOwner = (db: Database) =>
  ensure(
    db,
    sql`exists (select from ${memberships} join ${users} on ${users.id} = ${memberships.userId}
          where ${here} and ${memberships.role} = 'owner' and ${users.leavesAt} is null)`,
    'last_owner',
  )

/** A statement: free credits of somebody who is an owner no more are for another workspace of theirs. */
const passOnCredits = (db: Database) => db.execute(sql`select app.pass_on()`)

/** `limit + 1` members, newest first. */
export const listMembers = async (ctx: Ctx, page: Page): Promise<Member[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: selectMembers(db, and(here, afterCursor(memberships.entryId, page)), page.limit + 1),
  }))
  return rows
}

/** @throws {AppError} not_found, forbidden (a role above one's own, given or taken), step_up_required, last_owner */
export const changeRole = async (ctx: Ctx, userId: string, role: Role): Promise<Member> => {
  const isNotAbove = and(isMember(userId), lte(rankOf(memberships.role), ownRank))
  const { gate, revoked, rows } = await change(ctx, (db) => ({
    granted: ensureNotAbove(db, role),
    found: ensureMember(db, userId),
    allowed: ensure(db, exists(memberships, isNotAbove), 'forbidden'),
    changed: db.update(memberships).set({ role }).where(isMember(userId)),
    withdrawn: withdrawInvites(db, sql`${userId}::uuid`),
    revoked: revokeKeys(db, userId),
    owned: ensureOwner(db),
    passed: passOnCredits(db),
    rows: selectMembers(db, isMember(userId)),
  }))
  await endStreamsOfKeys(ctx, gate.workspaceId, revoked)
  return first(rows)
}

/** Oneself, also from where a second factor is demanded that one has not, or as an admin somebody of no higher role. @throws {AppError} not_found, forbidden, step_up_required, last_owner */
export const removeMember = async (ctx: Ctx, userId: string): Promise<void> => {
  const callerOutranks = sql`${ownRank} >= greatest(${rankOf(sql`'admin'`)}, ${rankOf(memberships.role)})`
  const { gate, revoked } = await change({ ...ctx, removes: userId }, (db) => ({
    found: ensureMember(db, userId),
    allowed: ensure(
      db,
      exists(memberships, and(isMember(userId), or(isCaller, callerOutranks))),
      'forbidden',
    ),
    removed: db.delete(memberships).where(isMember(userId)),
    withdrawn: withdrawInvites(db, sql`${userId}::uuid`),
    revoked: revokeKeys(db, userId),
    owned: ensureOwner(db),
    passed: passOnCredits(db),
  }))
  await dismissListeners(ctx, [gate.workspaceId], `user:${userId}`)
  await endStreamsOfKeys(ctx, gate.workspaceId, revoked)
}

/** Makes another member an owner and the caller an admin. @throws {AppError} not_found, validation_failed (oneself), last_owner (who leaves) */
export const transferWorkspace = async (ctx: Ctx, userId: string): Promise<void> => {
  const transferred = change(ctx, (db) => ({
    another: ensure(db, sql`${userId}::uuid <> ${currentUserId}`, 'validation_failed'),
    found: ensureMember(db, userId),
    demoted: db.update(memberships).set({ role: 'admin' }).where(and(here, isCaller)),
    promoted: db.update(memberships).set({ role: 'owner' }).where(isMember(userId)),
    owned: ensureOwner(db),
    withdrawn: withdrawInvites(db, currentUserId),
    passed: passOnCredits(db),
    recorded: db.execute(sql`
      select app.record('workspace.transfer', 'workspace', app.workspace_id(),
        jsonb_build_object('owner_id', ${currentUserId}), jsonb_build_object('owner_id', ${userId}::uuid))`),
  }))
  await transferred
    .catch(insteadOf('validation_failed', () => invalidField('/userId', 'is your own')))
    .catch(insteadOf('last_owner', () => new AppError('last_owner', { detail: NO_OWNER_STAYS })))
}
