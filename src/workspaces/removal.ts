/** Removes what was in a deleted workspace, slice by slice, however much it is. */
import { and, isNotNull, type SQL, sql } from 'drizzle-orm'
import type { JobCtx } from '../context.ts'
import { change, type Database, ensure } from '../db/client.ts'
import { workspaces } from '../db/schema.ts'
import { exists, first, thisWorkspace } from '../db/sql.ts'
import { dispatch, owe } from '../outbox/outbox.ts'

/** Rows of each table in one transaction: some tenths of a second, far from what a statement may take. */
const SLICE = 500
/** Objects are deleted some time within this one, so that the queue has room for others' jobs. */
const SPREAD = sql`random() * interval '10 minutes'`

const here = sql`workspace_id = (select app.workspace_id())`
const isOpen = sql`status in ('queued', 'running')`

/** SQL: no such row. In the order of an index, since the planner knows nothing of what has just gone. */
const isNone = (table: string, where: SQL, order = sql`id`) =>
  sql`(select true from ${sql.identifier(table)} where ${where} order by ${order} limit 1) is null`

/** Rows whose only trace is the audit log; `deliveries` go before the endpoints that would take them all along. */
const contents = {
  webhook_deliveries: here,
  webhook_endpoints: sql`${here} and ${isNone('webhook_deliveries', here)}`,
  assets: here,
  invites: here,
  api_keys: here,
}
/** Ledger and events refer to generations: these stay, ended and without what people wrote; an index has those left. */
const isTelling = sql`${here} and (${isOpen} or num_nonnulls(prompt, text, webhook_url) > 0)`

const byKey = sql`caller, key`

const sliceOf = (table: string, where: SQL) =>
  sql`select id from ${sql.identifier(table)} where ${where} order by id limit ${SLICE}`

/** Deletes a slice, and does with the ids in `gone` what is to be done with them. */
const deleteSlice = (
  db: Database,
  table: keyof typeof contents,
  and = sql`select count(*) from gone`,
  returning = sql`id`,
) =>
  db.execute(sql`
    with gone as (
      delete from ${sql.identifier(table)} where ${here} and id in (${sliceOf(table, contents[table])}) returning ${returning})
    ${and}`)

/** Cancels and refunds what is open, tells providers, and forgets prompts and URLs. */
const endSlice = (db: Database) =>
  db.execute(sql`
    with slice as materialized (
      select id, ${isOpen} as is_open, started_at is not null as has_started from generations
       where ${here} and id in (${sliceOf('generations', isTelling)}) for update),
    ended as (
      update generations g set prompt = null, text = null, webhook_url = null, lease_expires_at = null, next_step_at = null,
             status = case when s.is_open then 'canceled' else g.status end,
             completed_at = case when s.is_open then now() else g.completed_at end
        from slice s where g.workspace_id = (select app.workspace_id()) and g.id = s.id
      returning g.id, s.is_open, s.is_open and s.has_started as may_be_at_work),
    refunded as (
      insert into credit_entries (generation_id, kind, credits, period)
      select generation_id, 'refund', credits, period from credit_entries
       where ${here} and kind = 'reserve' and generation_id in (select id from ended where is_open)),
    stopped as (
      update provider_jobs set prompt = null, status = case when status in ('submitting', 'running') then 'canceled' else status end
       where ${here} and generation_id in (select id from ended) returning asset_ids, generation_id),
    settled as (
      delete from outbox where ${here} and kind = 'generation' and subject_id in (select id from ended))
    insert into outbox (kind, subject_id, available_at)
    select 'prediction.cancel', id, now() from ended where may_be_at_work
    union all
    -- A step under way may still store outputs.
    select 'object.delete', unnest(s.asset_ids), now() + interval '10 minutes'
      from stopped s join ended e on e.id = s.generation_id where e.may_be_at_work
    on conflict (workspace_id, kind, subject_id) do nothing`)

/**
 * The job of a deletion: removes one slice, and comes again until nothing is left. Its transactions take turns, so that
 * a message that comes twice does no harm.
 * @throws {AppError} not_found, if the workspace is not deleted
 */
export const removeContents = async (ctx: JobCtx): Promise<void> => {
  const { workspaceId } = ctx
  const isDone = sql.join(
    [
      ...Object.entries({ ...contents, generations: isTelling }).map(([table, where]) =>
        isNone(table, where),
      ),
      isNone('idempotency_keys', here, byKey),
    ],
    sql` and `,
  )
  const { done } = await change({ ...ctx, action: 'workspace.delete' }, (db) => ({
    deleted: ensure(db, exists(workspaces, and(thisWorkspace, isNotNull(workspaces.deletedAt))), 'not_found'),
    deliveries: deleteSlice(
      db,
      'webhook_deliveries',
      sql`delete from outbox where ${here} and kind = 'webhook.deliver' and subject_id in (select id from gone)`,
    ),
    endpoints: deleteSlice(db, 'webhook_endpoints'),
    generations: endSlice(db),
    assets: deleteSlice(
      db,
      'assets',
      sql`insert into outbox (kind, subject_id, available_at) select 'object.delete', subject, now() + ${SPREAD}
            from (select distinct unnest(array[id, object_id]) subject from gone) s
          on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at`,
      sql`id, object_id`,
    ),
    invites: deleteSlice(db, 'invites'),
    keys: deleteSlice(db, 'api_keys'),
    // What jobs were first answered with holds their prompts.
    answers: db.execute(sql`
      delete from idempotency_keys where ${here} and (${byKey}) in
        (select ${byKey} from idempotency_keys where ${here} order by ${byKey} limit ${SLICE})`),
    note: owe(db, 'workspace.delete', [workspaceId], sql`interval '30 seconds'`),
    done: db.execute<{ done: boolean }>(sql`
      with over as (select ${isDone} as done),
      settled as (delete from outbox where ${here} and kind = 'workspace.delete' and (select done from over))
      select done from over`),
  }))
  if (!first(done.rows).done)
    await dispatch(ctx, [{ kind: 'workspace.delete', workspaceId, subjectId: workspaceId }])
}
