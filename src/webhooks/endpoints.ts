/** The URLs that a workspace's events are sent to, and what was sent to them. */
import { randomBytes } from 'node:crypto'
import { and, desc, eq, isNotNull, isNull, not, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx, JobCtx } from '../context.ts'
import { change, ensure, transact } from '../db/client.ts'
import { webhookDeliveries, webhookEndpoints } from '../db/schema.ts'
import { afterCursor, exists, first, inWorkspace, type Page } from '../db/sql.ts'
import { dispatch, owe, RESEND_DELAY } from '../outbox/outbox.ts'
import { endpointLimit } from '../workspaces/quotas.ts'
import { checkTarget } from './targets.ts'

export type Endpoint = typeof webhookEndpoints.$inferSelect
export type Delivery = typeof webhookDeliveries.$inferSelect

const here = and(inWorkspace(webhookEndpoints), isNull(webhookEndpoints.deletedAt))
/** Of an endpoint that answers, whatever it answers. */
export const heard = { silentAttempts: 0, quietUntil: null }
/** Of one that takes messages, or of which nothing is known yet. */
export const well = { ...heard, failingSince: null }

const oneEndpoint = (id: string) => and(here, eq(webhookEndpoints.id, id))

/** SQL: the delivery's. */
export const isItsEndpoint = sql`${eq(webhookEndpoints.workspaceId, webhookDeliveries.workspaceId)}
  and ${eq(webhookEndpoints.id, webhookDeliveries.endpointId)}`

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
  const { created } = await change(ctx, (db) => ({
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
export const listEndpoints = async (ctx: Ctx, page: Page) => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(webhookEndpoints)
      .where(and(here, afterCursor(webhookEndpoints.id, page)))
      .orderBy(desc(webhookEndpoints.id))
      .limit(page.limit + 1),
  }))
  return rows
}

/** Enabling an endpoint forgets its failures, and another URL those of the one before. @throws {AppError} not_found, validation_failed */
export const updateEndpoint = async (
  ctx: Ctx,
  id: string,
  changes: { url?: string | undefined; events?: string[] | undefined; enabled?: boolean | undefined },
): Promise<Endpoint> => {
  if (changes.url) checkTarget(ctx.env, changes.url, '/url')
  const { updated } = await change(ctx, (db) => ({
    updated: db
      .update(webhookEndpoints)
      .set({
        ...(changes.url && { url: changes.url, ...well }),
        ...(changes.events && { events: [...new Set(changes.events)] }),
        ...(changes.enabled === true && { disabledAt: null, ...well }),
        ...(changes.enabled === false && { disabledAt: sql`now()` }),
      })
      .where(oneEndpoint(id))
      .returning(),
  }))
  return first(updated)
}

/**
 * Deletes an endpoint: from now on nobody sees it or its deliveries, and it is told nothing. However many those are, a
 * job removes them soon after.
 * @throws {AppError} not_found
 */
export const deleteEndpoint = async (ctx: Ctx, id: string): Promise<void> => {
  const { gate } = await change(ctx, (db) => ({
    found: ensure(db, exists(webhookEndpoints, oneEndpoint(id)), 'not_found'),
    deleted: db
      .update(webhookEndpoints)
      .set({ deletedAt: sql`now()`, disabledAt: sql`coalesce(${webhookEndpoints.disabledAt}, now())` })
      .where(oneEndpoint(id)),
    note: owe(db, 'webhook.delete', [id], RESEND_DELAY),
  }))
  await dispatch(ctx, [{ kind: 'webhook.delete', workspaceId: gate.workspaceId, subjectId: id }])
}

/** Deliveries removed in one transaction. */
const SLICE = 500

/**
 * The job of a deletion: removes one slice of the deliveries, and comes again until none is left; the endpoint's row goes
 * last.
 * @throws {AppError} not_found, if the endpoint is not deleted, or gone
 */
export const removeEndpoint = async (ctx: JobCtx, id: string): Promise<void> => {
  const isDeleted = and(
    inWorkspace(webhookEndpoints),
    eq(webhookEndpoints.id, id),
    isNotNull(webhookEndpoints.deletedAt),
  )
  const itsDeliveries = sql`
    select id from webhook_deliveries where workspace_id = (select app.workspace_id()) and endpoint_id = ${id}`
  const { removed } = await change(ctx, (db) => ({
    deleted: ensure(db, exists(webhookEndpoints, isDeleted), 'not_found'),
    deliveries: db.execute(sql`
      with gone as (
        delete from webhook_deliveries where workspace_id = (select app.workspace_id())
           -- One whose attempt is being recorded is left for the next time.
           and id in (${itsDeliveries} order by id limit ${SLICE} for update skip locked) returning id)
      delete from outbox where workspace_id = (select app.workspace_id()) and kind = 'webhook.deliver'
         and subject_id in (select id from gone)`),
    note: owe(db, 'webhook.delete', [id], RESEND_DELAY),
    removed: db.execute(sql`
      with gone as (
        delete from webhook_endpoints where ${isDeleted} and not exists (${itsDeliveries}) returning id),
      settled as (
        delete from outbox where workspace_id = (select app.workspace_id()) and kind = 'webhook.delete'
           and subject_id in (select id from gone))
      select id from gone`),
  }))
  if (removed.rows.length === 0)
    await dispatch(ctx, [{ kind: 'webhook.delete', workspaceId: ctx.workspaceId, subjectId: id }])
}

/** SQL: the delivery's endpoint is not deleted; one to a generation's own URL has none. */
const isVisible = not(exists(webhookEndpoints, and(isItsEndpoint, isNotNull(webhookEndpoints.deletedAt))))

/**
 * `limit + 1` deliveries, newest first, of one endpoint or of all: the newest of each endpoint, and of none, are merged, so that
 * those of a deleted one cost nothing.
 */
export const listDeliveries = async (
  ctx: Ctx,
  filter: Page & {
    endpointId?: string | undefined
    status?: Delivery['status'] | undefined
  },
): Promise<Delivery[]> => {
  const { id, endpointId, status } = webhookDeliveries
  // In the order of the index that holds just these; `any` keeps a plain equality from standing for that order.
  const order = filter.status ? [desc(endpointId), desc(status), desc(id)] : [desc(endpointId), desc(id)]
  const newest = (isTarget: SQL) => {
    const fits = and(
      inWorkspace(webhookDeliveries),
      isTarget,
      filter.status && sql`${status} = any(array[${filter.status}])`,
      afterCursor(id, filter),
    )
    return sql`(select ${id} from ${webhookDeliveries} where ${fits}
      order by ${sql.join(order, sql`, `)} limit ${filter.limit + 1})`
  }
  const ofEndpoints = sql`select d.id from ${webhookEndpoints},
    lateral ${newest(sql`${endpointId} = any(array[${webhookEndpoints.id}])`)} d where ${here}`
  const ids = filter.endpointId
    ? sql`${ofEndpoints} and ${eq(webhookEndpoints.id, filter.endpointId)}`
    : sql`${ofEndpoints} union all ${newest(isNull(endpointId))}`
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(webhookDeliveries)
      .where(and(inWorkspace(webhookDeliveries), sql`${id} in (${ids})`))
      .orderBy(desc(id))
      .limit(filter.limit + 1),
  }))
  return rows
}

/** Sends the same message again, with the same id. @throws {AppError} not_found, endpoint_disabled */
export const resendDelivery = async (ctx: Ctx, id: string): Promise<Delivery> => {
  const isThis = and(inWorkspace(webhookDeliveries), eq(webhookDeliveries.id, id), isVisible)
  const isDisabled = exists(webhookEndpoints, and(isItsEndpoint, isNotNull(webhookEndpoints.disabledAt)))
  const { gate, updated } = await change(ctx, (db) => ({
    found: ensure(db, exists(webhookDeliveries, isThis), 'not_found'),
    // It would fail at once.
    enabled: ensure(db, exists(webhookDeliveries, and(isThis, not(isDisabled))), 'endpoint_disabled'),
    updated: db
      .update(webhookDeliveries)
      // Of what was before nothing is left: not even that it was delivered.
      .set({
        status: 'pending',
        attempts: 0,
        nextAttemptAt: null,
        responseStatus: null,
        error: null,
        deliveredAt: null,
        endedAt: null,
      })
      .where(isThis)
      .returning(),
    note: owe(db, 'webhook.deliver', [id], RESEND_DELAY),
    recorded: db.execute(sql`select app.record('delivery.resend', 'delivery', ${id}::uuid, null, null)`),
  }))
  await dispatch(ctx, [{ kind: 'webhook.deliver', workspaceId: gate.workspaceId, subjectId: id }])
  return first(updated)
}
