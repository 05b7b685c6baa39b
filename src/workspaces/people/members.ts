/** The people of a workspace: roles, leaving, removal, handing it over. */
import { and, eq, gt, type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../../context.ts'
import { lockWorkspace } from '../../credits/ledger.ts'
import { type Database, ensure, transact } from '../../db/client.ts'
import { currentUserId, memberships, users } from '../../db/schema.ts'
import { exists, inWorkspace } from '../../db/sql.ts'
import type { Role } from '../../words.ts'

const here = inWorkspace(memberships)
const isMember = (userId: string) => and(here, eq(memberships.userId, userId))
const rankOf = (role: SQL | typeof memberships.role) => sql`app.role_rank(${role})`
/** SQL: the rank of the caller's role now; the gate's answer may be out of date once it is this transaction's turn. */
const myRank = sql`(select app.role_rank(me.role) from memberships me
  where me.workspace_id = app.workspace_id() and me.user_id = ${currentUserId})`

/** Statements that refuse unless the caller is still at least `least` and of no lower role than `granted`. */
export const stillAllowed = (db: Database, least: Role, granted: Role = least) => ({
  belongs: ensure(db, sql`${myRank} is not null`, 'not_found'),
  mayAct: ensure(
    db,
    sql`${myRank} >= greatest(${rankOf(sql`${least}`)}, ${rankOf(sql`${granted}`)})`,
    'forbidden',
  ),
})

/** Nobody's open invites outlast the right to make them. */
const withdrawInvites = (db: Database, userId: SQL) =>
  db.execute(sql`
    delete from invites where workspace_id = app.workspace_id() and invited_by = ${userId} and accepted_at is null
      and not exists (select from memberships m where m.workspace_id = app.workspace_id() and m.user_id = invited_by
                         and app.role_rank(m.role) >= greatest(app.role_rank('admin'), app.role_rank(invites.role)))`)

const selectMembers = (db: Database, where: SQL | undefined) =>
  db
    .select({
      id: memberships.userId,
      email: users.email,
      name: users.name,
      role: memberships.role,
      createdAt: memberships.createdAt,
    })
    .from(memberships)
    .innerJoin(users, eq(users.id, memberships.userId))
    .where(where)
    .orderBy(memberships.userId)

export type Member = Awaited<ReturnType<typeof selectMembers>>[number]

const memberExists = (db: Database, userId: string) =>
  ensure(db, exists(memberships, isMember(userId)), 'not_found')

const ownerRemains = (db: Database) =>
  ensure(db, sql`exists (select from memberships where ${here} and role = 'owner')`, 'last_owner')

/** `limit + 1` members, by id. */
export const listMembers = async (
  ctx: Ctx,
  page: { limit: number; cursor?: string | undefined },
): Promise<Member[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: selectMembers(db, and(here, page.cursor ? gt(memberships.userId, page.cursor) : undefined)).limit(
      page.limit + 1,
    ),
  }))
  return rows
}

/** @throws {AppError} not_found, forbidden (a role above one's own, given or taken), last_owner */
export const changeRole = async (ctx: Ctx, userId: string, role: Role): Promise<Member> => {
  const {
    rows: [member],
  } = await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    ...stillAllowed(db, 'admin', role),
    found: memberExists(db, userId),
    allowed: ensure(
      db,
      sql`exists (select from memberships where ${isMember(userId)} and ${rankOf(memberships.role)} <= ${myRank})`,
      'forbidden',
    ),
    changed: db.update(memberships).set({ role }).where(isMember(userId)),
    withdrawn: withdrawInvites(db, sql`${userId}::uuid`),
    kept: ownerRemains(db),
    rows: selectMembers(db, isMember(userId)),
  }))
  return member as Member
}

/** Oneself, or somebody of no higher role. @throws {AppError} not_found, forbidden, last_owner */
export const removeMember = async (ctx: Ctx, userId: string): Promise<void> => {
  await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    found: memberExists(db, userId),
    allowed: ensure(
      db,
      sql`exists (select from memberships where ${isMember(userId)} and (${memberships.userId} = ${currentUserId}
          or (${myRank} >= ${rankOf(sql`'admin'`)} and ${rankOf(memberships.role)} <= ${myRank})))`,
      'forbidden',
    ),
    removed: db.delete(memberships).where(isMember(userId)),
    withdrawn: withdrawInvites(db, sql`${userId}::uuid`),
    kept: ownerRemains(db),
  }))
}

/** Makes another member an owner and the caller an admin. @throws {AppError} not_found, validation_failed (oneself) */
export const transferWorkspace = async (ctx: Ctx, userId: string): Promise<void> => {
  await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    ...stillAllowed(db, 'owner'),
    another: ensure(db, sql`${userId}::uuid <> ${currentUserId}`, 'validation_failed'),
    found: memberExists(db, userId),
    demoted: db
      .update(memberships)
      .set({ role: 'admin' })
      .where(and(here, eq(memberships.userId, currentUserId))),
    promoted: db.update(memberships).set({ role: 'owner' }).where(isMember(userId)),
    withdrawn: withdrawInvites(db, currentUserId),
    recorded: db.execute(sql`
      select app.record('workspace.transfer', 'workspace', app.workspace_id(),
        jsonb_build_object('owner_id', ${currentUserId}), jsonb_build_object('owner_id', ${userId}::uuid))`),
  }))
}
