/** Workspaces: the tenants. */
import { and, desc, eq, isNull, lt, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { lockWorkspace } from '../credits/ledger.ts'
import { ensure, transact } from '../db/client.ts'
import {
  apiKeys,
  assets,
  currentUserId,
  invites,
  memberships,
  webhookEndpoints,
  workspaces,
} from '../db/schema.ts'
import { inWorkspace } from '../db/sql.ts'
import { MAX_FREE_WORKSPACES } from '../plans.ts'
import type { Role } from '../words.ts'
import { stillAllowed } from './people/members.ts'

type Workspace = typeof workspaces.$inferSelect
export type WorkspaceWithRole = Workspace & { role: Role }

/** From the name, and unique without asking. */
const deriveSlug = (name: string) => {
  const base = name
    .normalize('NFKD')
    .toLowerCase()
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
  const {
    created: [workspace],
  } = await transact(ctx, (db) => ({
    // One at a time a person, so that the limit holds.
    turn: db.execute(sql`select id from users where id = ${currentUserId} for no key update`),
    // The gate let the caller in without a workspace; this is the one to act in.
    entered: db.execute(sql`select set_config('app.workspace_id', ${id}, true)`),
    created: db
      .insert(workspaces)
      .values({ id, name: input.name, slug: input.slug ?? deriveSlug(input.name) })
      .returning(),
    owner: db.insert(memberships).values({ role: 'owner' }),
    allowed: ensure(
      db,
      sql`(select count(*) from memberships m join workspaces w on w.id = m.workspace_id
            where m.user_id = ${currentUserId} and m.role = 'owner' and w.plan = 'free') <= ${MAX_FREE_WORKSPACES}`,
      'plan_limit_reached',
    ),
  }))
  return { ...(workspace as Workspace), role: 'owner' }
}

/** `limit + 1` of the caller's workspaces, newest first. */
export const listWorkspaces = async (
  ctx: Ctx,
  page: { limit: number; cursor?: string | undefined },
): Promise<WorkspaceWithRole[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select({ workspace: workspaces, role: memberships.role })
      .from(memberships)
      .innerJoin(workspaces, eq(workspaces.id, memberships.workspaceId))
      .where(
        and(eq(memberships.userId, currentUserId), page.cursor ? lt(workspaces.id, page.cursor) : undefined),
      )
      .orderBy(desc(workspaces.id))
      .limit(page.limit + 1),
  }))
  return rows.map(({ workspace, role }) => ({ ...workspace, role }))
}

const thisWorkspace = eq(workspaces.id, sql`app.workspace_id()`)

export const getWorkspace = async (ctx: Ctx): Promise<WorkspaceWithRole> => {
  const {
    gate,
    rows: [workspace],
  } = await transact(ctx, (db) => ({ rows: db.select().from(workspaces).where(thisWorkspace) }))
  return { ...(workspace as Workspace), role: gate.role }
}

/** @throws {AppError} slug_taken */
export const updateWorkspace = async (
  ctx: Ctx,
  changes: { name?: string | undefined; slug?: string | undefined },
): Promise<WorkspaceWithRole> => {
  const {
    gate,
    updated: [workspace],
  } = await transact(ctx, (db) => ({
    updated: db
      .update(workspaces)
      .set({ ...(changes.name && { name: changes.name }), ...(changes.slug && { slug: changes.slug }) })
      .where(thisWorkspace)
      .returning(),
  }))
  return { ...(workspace as Workspace), role: gate.role }
}

/**
 * Ends a workspace: nobody gets in any more, running jobs are canceled and refunded, files are deleted soon after.
 * Its row stays, without a name, as the anchor of its ledger and audit log.
 */
export const deleteWorkspace = async (ctx: Ctx): Promise<void> => {
  const here = sql`workspace_id = app.workspace_id()`
  const open = sql`${here} and status in ('queued', 'running')`
  await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    ...stillAllowed(db, 'owner'),
    // In the order in which everybody else takes them, the audited row last: no deadlocks.
    jobs: db.execute(sql`select id from generations where ${open} for update`),
    files: db.execute(sql`select id from assets where ${here} for update`),
    refunded: db.execute(sql`
      insert into credit_entries (generation_id, kind, credits, period)
      select generation_id, 'refund', credits, period from credit_entries
       where ${here} and kind = 'reserve' and generation_id in (select id from generations where ${open})`),
    settled: db.execute(sql`delete from outbox where ${here} and kind = 'generation'`),
    told: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      select 'prediction.cancel', id, now() from generations where ${open} and started_at is not null
      on conflict do nothing`),
    erased: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      select 'object.delete', id, now() from assets where ${here}
      union select 'object.delete', unnest(output_asset_ids), now() + interval '2 minutes' from generations where ${open}
      on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at`),
    canceled: db.execute(sql`
      update generations set status = 'canceled', completed_at = now(), lease_expires_at = null where ${open}`),
    forgotten: db.execute(
      sql`update generations set prompt = null, webhook_url = null where ${here} and num_nonnulls(prompt, webhook_url) > 0`,
    ),
    webhooks: db.delete(webhookEndpoints).where(inWorkspace(webhookEndpoints)),
    assets: db.delete(assets).where(inWorkspace(assets)),
    invites: db.delete(invites).where(inWorkspace(invites)),
    keys: db
      .update(apiKeys)
      .set({ revokedAt: sql`now()` })
      .where(and(inWorkspace(apiKeys), isNull(apiKeys.revokedAt))),
    members: db.delete(memberships).where(inWorkspace(memberships)),
    deleted: db
      .update(workspaces)
      .set({ deletedAt: sql`now()`, name: 'deleted', slug: sql`'deleted-' || id` })
      .where(thisWorkspace),
  }))
}
