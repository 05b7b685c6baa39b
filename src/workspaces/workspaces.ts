/** Workspaces: the tenants. */
import { and, desc, eq, isNull, lt, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { ensure, transact } from '../db/client.ts'
import {
  apiKeys,
  assets,
  currentUserId,
  currentWorkspaceId,
  invites,
  memberships,
  webhookEndpoints,
  workspaces,
} from '../db/schema.ts'
import { first, inWorkspace, type Page } from '../db/sql.ts'
import { dismissListeners } from '../events/events.ts'
import { MAX_FREE_WORKSPACES } from '../plans.ts'
import type { Role } from '../words.ts'
import { stillAllowed } from './people/members.ts'
import { lockWorkspace } from './quotas.ts'

/** With the caller's role in it. */
export type WorkspaceWithRole = typeof workspaces.$inferSelect & { role: Role }

/** The name in a URL's letters, and a random suffix that makes it unique. */
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
  const ownedFreeWorkspaces = sql`(select count(*) from memberships m join workspaces w on w.id = m.workspace_id
    where m.user_id = ${currentUserId} and m.role = 'owner' and w.plan = 'free')`
  const { created } = await transact(ctx, (db) => ({
    // A person's requests one at a time, so that the limit holds.
    turn: db.execute(sql`select id from users where id = ${currentUserId} for no key update`),
    // The gate let the caller in without a workspace; this is the one to act in.
    entered: db.execute(sql`select set_config('app.workspace_id', ${id}, true)`),
    created: db
      .insert(workspaces)
      .values({ id, name: input.name, slug: input.slug ?? deriveSlug(input.name) })
      .returning(),
    owner: db.insert(memberships).values({ role: 'owner' }),
    allowed: ensure(db, sql`${ownedFreeWorkspaces} <= ${MAX_FREE_WORKSPACES}`, 'plan_limit_reached'),
  }))
  return { ...first(created), role: 'owner' }
}

/** `limit + 1` of the caller's workspaces, newest first. */
export const listWorkspaces = async (ctx: Ctx, page: Page): Promise<WorkspaceWithRole[]> => {
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

const thisWorkspace = eq(workspaces.id, currentWorkspaceId)

export const getWorkspace = async (ctx: Ctx): Promise<WorkspaceWithRole> => {
  const { gate, rows } = await transact(ctx, (db) => ({
    rows: db.select().from(workspaces).where(thisWorkspace),
  }))
  return { ...first(rows), role: gate.role }
}

/** @throws {AppError} slug_taken */
export const updateWorkspace = async (
  ctx: Ctx,
  changes: { name?: string | undefined; slug?: string | undefined },
): Promise<WorkspaceWithRole> => {
  const { gate, updated } = await transact(ctx, (db) => ({
    updated: db
      .update(workspaces)
      .set({ ...(changes.name && { name: changes.name }), ...(changes.slug && { slug: changes.slug }) })
      .where(thisWorkspace)
      .returning(),
  }))
  return { ...first(updated), role: gate.role }
}

/**
 * Deletes a workspace: nobody is let in any more, unfinished generations are canceled and refunded, and the queue
 * deletes the files soon after. Its row stays, without its name, since the ledger and the audit log refer to it.
 * @throws {AppError} not_found, forbidden
 */
export const deleteWorkspace = async (ctx: Ctx): Promise<void> => {
  const here = sql`workspace_id = app.workspace_id()`
  const isUnfinished = sql`${here} and status in ('queued', 'running')`
  const { gate } = await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    ...stillAllowed(db, 'owner'),
    // Locked in the order of every other transaction, the audited row last: no deadlocks.
    generations: db.execute(sql`select id from generations where ${isUnfinished} for update`),
    files: db.execute(sql`select id from assets where ${here} for update`),
    refunded: db.execute(sql`
      insert into credit_entries (generation_id, kind, credits, period)
      select generation_id, 'refund', credits, period from credit_entries
       where ${here} and kind = 'reserve' and generation_id in (select id from generations where ${isUnfinished})`),
    settled: db.execute(sql`delete from outbox where ${here} and kind = 'generation'`),
    cancellations: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      select 'prediction.cancel', id, now() from generations where ${isUnfinished} and started_at is not null
      on conflict do nothing`),
    erasures: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      select 'object.delete', id, now() from assets where ${here}
      union select 'object.delete', unnest(output_asset_ids), now() + interval '2 minutes' from generations where ${isUnfinished}
      on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at`),
    canceled: db.execute(sql`
      update generations set status = 'canceled', completed_at = now(), lease_expires_at = null where ${isUnfinished}`),
    redacted: db.execute(
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
  await dismissListeners(ctx, [gate.workspaceId])
}
