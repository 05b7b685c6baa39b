/** The URLs that a workspace's events are sent to, and what was sent to them. */
import { randomBytes } from 'node:crypto'
import { and, desc, eq, lt, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { ensure, transact } from '../db/client.ts'
import { webhookDeliveries, webhookEndpoints } from '../db/schema.ts'
import { exists, first, inWorkspace } from '../db/sql.ts'
import { dispatch, owe } from '../outbox/outbox.ts'
import { endpointLimit, lockWorkspace } from '../workspaces/quotas.ts'
import { checkTarget } from './targets.ts'

export type Endpoint = typeof webhookEndpoints.$inferSelect
export type Delivery = typeof webhookDeliveries.$inferSelect

const here = inWorkspace(webhookEndpoints)
const oneEndpoint = (id: string) => and(here, eq(webhookEndpoints.id, id))

/**
 * The secret is shown for this answer only.
 * @throws {AppError} validation_failed, for a URL that is not allowed; plan_limit_reached
 */
export const createEndpoint = async (
  ctx: Ctx,
  input: { url: string; events: string[] },
): Promise<Endpoint> => {
  checkTarget(ctx.env, input.url, '/url')
  const hasRoom = sql`(select count(*) from webhook_endpoints where ${here}) < ${endpointLimit}`
  const { created } = await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    room: ensure(db, hasRoom, 'plan_limit_reached'),
    created: db
      .insert(webhookEndpoints)
      .values({
        id: uuidv7(),
        url: input.url,
        events: [...new Set(input.events)],
        secret: `whsec_${randomBytes(24).toString('base64')}`,
      })
      .returning(),
  }))
  return first(created)
}

/** `limit + 1` endpoints, newest first. */
export const listEndpoints = async (ctx: Ctx, page: { limit: number; cursor?: string | undefined }) => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(webhookEndpoints)
      .where(and(here, page.cursor ? lt(webhookEndpoints.id, page.cursor) : undefined))
      .orderBy(desc(webhookEndpoints.id))
      .limit(page.limit + 1),
  }))
  return rows
}

/** Enabling an endpoint resets the time of its failures. @throws {AppError} not_found, validation_failed */
export const updateEndpoint = async (
  ctx: Ctx,
  id: string,
  changes: { url?: string | undefined; events?: string[] | undefined; enabled?: boolean | undefined },
): Promise<Endpoint> => {
  if (changes.url) checkTarget(ctx.env, changes.url, '/url')
  const { updated } = await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    updated: db
      .update(webhookEndpoints)
      .set({
        ...(changes.url && { url: changes.url }),
        ...(changes.events && { events: [...new Set(changes.events)] }),
        ...(changes.enabled === true && { disabledAt: null, failingSince: null }),
        ...(changes.enabled === false && { disabledAt: sql`now()` }),
      })
      .where(oneEndpoint(id))
      .returning(),
  }))
  return first(updated)
}

/** @throws {AppError} not_found */
export const deleteEndpoint = async (ctx: Ctx, id: string): Promise<void> => {
  await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    found: ensure(db, exists(webhookEndpoints, oneEndpoint(id)), 'not_found'),
    settled: db.execute(sql`
      delete from outbox where workspace_id = app.workspace_id() and kind = 'webhook.deliver' and subject_id in
        (select id from webhook_deliveries where workspace_id = app.workspace_id() and endpoint_id = ${id})`),
    deleted: db.delete(webhookEndpoints).where(oneEndpoint(id)),
  }))
}

/** `limit + 1` deliveries, newest first, of one endpoint or of all. */
export const listDeliveries = async (
  ctx: Ctx,
  filter: {
    limit: number
    cursor?: string | undefined
    endpointId?: string | undefined
    status?: Delivery['status'] | undefined
  },
): Promise<Delivery[]> => {
  const fits = and(
    inWorkspace(webhookDeliveries),
    filter.cursor ? lt(webhookDeliveries.id, filter.cursor) : undefined,
    filter.endpointId ? eq(webhookDeliveries.endpointId, filter.endpointId) : undefined,
    filter.status ? eq(webhookDeliveries.status, filter.status) : undefined,
  )
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(webhookDeliveries)
      .where(fits)
      .orderBy(desc(webhookDeliveries.id))
      .limit(filter.limit + 1),
  }))
  return rows
}

/** Sends the same message again, with the same id. @throws {AppError} not_found */
export const resendDelivery = async (ctx: Ctx, id: string): Promise<Delivery> => {
  const isThis = and(inWorkspace(webhookDeliveries), eq(webhookDeliveries.id, id))
  const { gate, updated } = await transact(ctx, (db) => ({
    lock: lockWorkspace(db),
    found: ensure(db, exists(webhookDeliveries, isThis), 'not_found'),
    updated: db.update(webhookDeliveries).set({ status: 'pending', attempts: 0 }).where(isThis).returning(),
    note: owe(db, 'webhook.deliver', [id], sql`interval '30 seconds'`),
    recorded: db.execute(sql`select app.record('delivery.resend', 'delivery', ${id}::uuid, null, null)`),
  }))
  await dispatch(ctx, [{ kind: 'webhook.deliver', workspaceId: gate.workspaceId, subjectId: id }])
  return first(updated)
}
