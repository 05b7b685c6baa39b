/**
 * A workspace's places: how many of its jobs run at once. Whoever takes or frees a place wakes as many of those who
 * wait as there are places, in the same transaction, so that a lost message is made up for by the next change.
 */
import { sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import type { Database } from '../db/client.ts'
import { dispatch } from '../outbox/outbox.ts'
import { counted, runningLimit } from '../workspaces/quotas.ts'

/** A job that was sent so long ago and still stands in line is sent again when there is a place. */
const WAKE_TIMEOUT = sql`interval '10 seconds'`

/** When a job whose next step is due, but was not taken, is sent again. */
export const STEP_RESEND_DELAY = sql`interval '15 seconds'`

/** SQL: the workspace runs fewer jobs than its plan allows. */
export const hasPlace = sql`coalesce(${counted.running} < ${runningLimit}, true)`

/**
 * The first in line who were not sent yet, as many as there are places for, marked as sent; the sweeper sends them
 * again if nothing comes of it. Belongs at the end of a transaction that holds the workspace's lock.
 */
export const fillPlaces = (db: Database) =>
  db.execute<{ id: string }>(sql`
    with woken as (
      update generations set woken_at = now() where workspace_id = (select app.workspace_id()) and id in (
        select q.id from generations q
         where q.workspace_id = (select app.workspace_id()) and q.status = 'queued'
           and (q.woken_at is null or q.woken_at < now() - ${WAKE_TIMEOUT})
         order by q.id
         limit greatest(0, ${runningLimit} - ${counted.running} - (select count(*) from generations w
           where w.workspace_id = (select app.workspace_id()) and w.status = 'queued' and w.woken_at >= now() - ${WAKE_TIMEOUT})))
      returning id),
    noted as (
      update outbox set available_at = now() + ${STEP_RESEND_DELAY}, sends = 0
       where workspace_id = (select app.workspace_id()) and kind = 'generation' and subject_id in (select id from woken))
    select id from woken order by id`)

/** Sends those whom `fillPlaces` chose, after the commit. */
export const dispatchWoken = (
  ctx: Ctx,
  workspaceId: string,
  woken: { rows: readonly { id: string }[] },
): Promise<void> =>
  dispatch(
    ctx,
    woken.rows.map(({ id }) => ({ kind: 'generation', workspaceId, subjectId: id })),
  )
