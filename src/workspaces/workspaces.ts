/** Workspaces: the tenants. */
import { and, isNotNull, isNull, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { change, ensure, read, transact } from '../db/client.ts'
import { webhookEndpoints, workspaces } from '../db/schema.ts'
import { first, inWorkspace, type Page, rowOf, thisWorkspace } from '../db/sql.ts'
import { dismissListeners } from '../events/events.ts'
import { dispatch, RESEND_DELAY } from '../outbox/outbox.ts'
import type { Role } from '../words.ts'

/** With the caller's role in it. */
export type WorkspaceWithRole = typeof workspaces.$inferSelect & { role: Role }

/** The name in a URL's letters, and a random suffix that makes it unique. */
const deriveSlug = (name: string) => {
  const base = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replaceAll('ß', 'ss')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 30)
    .replace(/-+$/, '')
  const suffix = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) =>
    (byte % 36).toString(36),
  ).join('')
  return `${base || 'workspace'}-${suffix}`
}

/** @throws {AppError} slug_taken, plan_limit_reached */
export const createWorkspace = async (
  ctx: Ctx,
  input: { name: string; slug?: string | undefined },
): Promise<WorkspaceWithRole> => {
  const id = uuidv7()
  const slug = input.slug ?? deriveSlug(input.name)
  const { created } = await transact(ctx, (db) => ({
    made: db.execute(sql`select app.create_workspace(${id}, ${input.name}, ${slug})`),
    created: db.select().from(workspaces).where(thisWorkspace),
  }))
  return { ...first(created), role: 'owner' }
}

/** `limit + 1` of the caller's workspaces, newest first; or of those that they own and can restore. */
export const listWorkspaces = async (
  ctx: Ctx,
  { limit, cursor, deleted }: Page & { deleted: boolean },
): Promise<WorkspaceWithRole[]> => {
  const rows = await read<{ role: Role }>(ctx, 'workspaces', { limit: limit + 1, before: cursor, deleted })
  return rows.map((row) => ({ ...rowOf(workspaces, { ...row }), role: row.role }))
}

export const getWorkspace = async (ctx: Ctx): Promise<WorkspaceWithRole> => {
  const { gate, rows } = await transact(ctx, (db) => ({
    rows: db.select().from(workspaces).where(thisWorkspace),
  }))
  return { ...first(rows), role: gate.role }
}

/** @throws {AppError} slug_taken; forbidden, second_factor_required: who may demand one of the members */
export const updateWorkspace = async (
  ctx: Ctx,
  changes: {
    name?: string | undefined
    slug?: string | undefined
    secondFactorRequired?: boolean | undefined
  },
): Promise<WorkspaceWithRole> => {
  const { name, slug, secondFactorRequired } = changes
  const { gate, updated } = await change(ctx, (db) => ({
    ...(secondFactorRequired !== undefined && {
      allowed: ensure(db, sql`app.own_rank() >= app.role_rank('owner')`, 'forbidden'),
      proved: ensure(db, sql`(app.context() ->> 'secondFactor')::boolean`, 'second_factor_required'),
    }),
    updated: db
      .update(workspaces)
      .set({
        ...(name && { name }),
        ...(slug && { slug }),
        ...(secondFactorRequired !== undefined && { secondFactorRequired }),
      })
      .where(thisWorkspace)
      .returning(),
  }))
  if (secondFactorRequired) await dismissListeners(ctx, [gate.workspaceId])
  return { ...first(updated), role: gate.role }
}

/**
 * Deletes a workspace: from now on nobody is let in, no job goes on and no endpoint is told anything. An owner can restore it
 * for 30 days; then a job removes what is in it, however much there is (removal.ts).
 * @throws {AppError} not_found, forbidden
 */
export const deleteWorkspace = async (ctx: Ctx): Promise<void> => {
  const { gate } = await change(ctx, (db) => ({
    silenced: db
      .update(webhookEndpoints)
      .set({ disabledAt: sql`now()` })
      .where(and(inWorkspace(webhookEndpoints), isNull(webhookEndpoints.disabledAt))),
    deleted: db.update(workspaces).set({ deletedAt: sql`now()` }).where(thisWorkspace),
    // What free credits it had are for another one.
    passed: db.execute(sql`select app.pass_on()`),
    note: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      values ('workspace.delete', app.workspace_id(), now() + ${RESEND_DELAY})`),
  }))
  const { workspaceId } = gate
  await dispatch(ctx, [{ kind: 'workspace.delete', workspaceId, subjectId: workspaceId }])
  await dismissListeners(ctx, [workspaceId])
}

/**
 * Restores a deleted workspace as it was, but for the jobs that were ended, and for free credits that were used elsewhere since. What was owed meanwhile was refused: jobs, uploads and
 * exports that are open, objects that are to come home, and endpoints that are to be removed, are owed anew. Deliveries that came due
 * have failed, since their endpoints were disabled; the others are still owed. Twice is the same as once.
 * @throws {AppError} not_found, forbidden, plan_limit_reached
 */
export const restoreWorkspace = async (ctx: Ctx, id: string): Promise<WorkspaceWithRole> => {
  const deletedAt = sql`(select deleted_at from workspaces where id = (select app.workspace_id()))`
  const here = sql`workspace_id = (select app.workspace_id())`
  const { workspace } = await transact(ctx, (db) => ({
    entered: db.execute(sql`select app.enter_deleted(${id})`),
    // Those that the deletion itself has disabled.
    endpoints: db.execute(
      sql`update webhook_endpoints set disabled_at = null where ${here} and disabled_at = ${deletedAt}`,
    ),
    owed: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      select 'upload.end', id, now() from uploads where ${here} and ${deletedAt} is not null
      union select 'object.move', object_id, now() from assets where ${here} and store = 'fallback' and ${deletedAt} is not null
      union all select 'upload.check', id, now() from uploads where ${here} and completed_at is not null and ${deletedAt} is not null
      union all select 'generation', id, now() from generations where ${here} and status in ('queued', 'running') and ${deletedAt} is not null
      union all select 'export', id, now() from asset_exports where ${here} and status = 'queued' and ${deletedAt} is not null
      union all select 'webhook.delete', id, now() from webhook_endpoints where ${here} and deleted_at is not null and ${deletedAt} is not null
      on conflict do nothing`),
    note: db.execute(sql`delete from outbox where ${here} and kind = 'workspace.delete'`),
    funded: db.execute(sql`select app.take_back()`),
    restored: db
      .update(workspaces)
      .set({ deletedAt: null })
      .where(and(thisWorkspace, isNotNull(workspaces.deletedAt))),
    workspace: db.select().from(workspaces).where(thisWorkspace),
  }))
  return { ...first(workspace), role: 'owner' }
}
