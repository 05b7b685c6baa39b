/** Ends the jobs of a deleted workspace, and removes it when its grace is over, slice by slice, however much there is. */
import { and, isNotNull, type SQL, sql } from 'drizzle-orm'
import { removeAssets } from '../assets/assets.ts'
import type { JobCtx } from '../context.ts'
import { change, type Database, ensure } from '../db/client.ts'
import { workspaces } from '../db/schema.ts'
import { exists, first, thisWorkspace } from '../db/sql.ts'
import { dispatch, owe, RESEND_DELAY } from '../outbox/outbox.ts'

/** Rows of each table in one transaction: some tenths of a second, far from what a statement may take. */
const SLICE = 500
/** Objects are deleted some time within this one, so that the queue has room for others' jobs. */
const SPREAD = sql`random() * interval '10 minutes'`

const here = sql`workspace_id = (select app.workspace_id())`

/** SQL: no such row. In the order of an index, since the planner knows nothing of what has just gone. */
const isNone = (table: string, where: SQL, order = sql`id`) =>
  sql`(select true from ${sql.identifier(table)} where ${where} order by ${order} limit 1) is null`

/** What tenants may delete; `app.purge_workspace` removes the rest. `deliveries` go before the endpoints that would take them all along. */
const contents = {
  webhook_deliveries: here,
  webhook_endpoints: sql`${here} and ${isNone('webhook_deliveries', here)}`,
  assets: here,
  invites: here,
  api_keys: here,
}
const byKey = sql`caller, key`

/** SQL: those of the next slice, once the grace is over. */
const isSliceOf = (table: keyof typeof contents) =>
  sql`${here} and (select app.is_over()) and id in
    (select id from ${sql.identifier(table)} where ${contents[table]} order by id limit ${SLICE})`

/** Deletes a slice, and does with the ids in `gone` what is to be done with them. */
const deleteSlice = (db: Database, table: keyof typeof contents, and = sql`select count(*) from gone`) =>
  db.execute(sql`
    with gone as (delete from ${sql.identifier(table)} where ${isSliceOf(table)} returning id)
    ${and}`)

/**
 * The job of a deletion: does one slice, and comes again until nothing is left, or when the grace is over. Its transactions
 * take turns, so that a message that comes twice does no harm.
 * @throws {AppError} not_found, if the workspace is not deleted
 */
export const removeContents = async (ctx: JobCtx): Promise<void> => {
  const { workspaceId } = ctx
  const isEmpty = sql.join(
    [
      ...Object.entries(contents).map(([table, where]) => isNone(table, where)),
      isNone('idempotency_keys', here, byKey),
    ],
    sql` and `,
  )
  const isNote = sql`${here} and kind = 'workspace.delete'`
  const { ended } = await change(ctx, (db) => ({
    deleted: ensure(db, exists(workspaces, and(thisWorkspace, isNotNull(workspaces.deletedAt))), 'not_found'),
    generations: db.execute(sql`select app.end_generations(${SLICE})`),
    deliveries: deleteSlice(
      db,
      'webhook_deliveries',
      sql`delete from outbox where ${here} and kind = 'webhook.deliver' and subject_id in (select id from gone)`,
    ),
    endpoints: deleteSlice(db, 'webhook_endpoints'),
    assets: removeAssets(db, isSliceOf('assets'), SPREAD),
    invites: deleteSlice(db, 'invites'),
    keys: deleteSlice(db, 'api_keys'),
    // What jobs were first answered with.
    answers: db.execute(sql`
      delete from idempotency_keys where ${here} and (select app.is_over()) and (${byKey}) in
        (select ${byKey} from idempotency_keys where ${here} order by ${byKey} limit ${SLICE})`),
    note: owe(db, 'workspace.delete', [workspaceId], RESEND_DELAY),
    putOff: db.execute(sql`
      update outbox set available_at = (select deleted_at from workspaces where id = (select app.workspace_id())) + app.workspace_grace()
       where ${isNote} and not app.is_over() and ${isNone('generations', sql`${here} and status in ('queued', 'running')`, sql`status, id`)}`),
    ended: db.execute<{ state: 'waits' | 'more' | 'later' | 'done' }>(sql`
      with purged as materialized (select app.purge_workspace(${SLICE}, (${isEmpty})) as state),
      settled as (delete from outbox where ${isNote} and (select state from purged) = 'done')
      select state from purged`),
  }))
  if (first(ended.rows).state === 'more')
    await dispatch(ctx, [{ kind: 'workspace.delete', workspaceId, subjectId: workspaceId }])
}
