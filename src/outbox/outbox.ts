/** What is owed after a commit: written with the change itself, sent by queue, re-sent by the sweeper. */
import { and, eq, type SQL, sql } from 'drizzle-orm'
import { type Ctx, systemContext } from '../context.ts'
import { type Database, transact } from '../db/client.ts'
import { outbox } from '../db/schema.ts'
import { first } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { describeError } from '../errors.ts'
import { type JobMessage, type OwedMessage, queueOf } from './messages.ts'

/** Messages in one `sendBatch`: the platform's limit. Its other one, 256 KB, is far: at most 32 have 6 KB. */
const BATCH = 100
/** Batches of one sweep: where more is due than is done, what was sent first is due again before the last is sent. */
const MAX_BATCHES = 200
/** Seconds that a queue holds a message back at most; what is due later the sweeper sends when its time has come. */
const MAX_DELAY = 12 * 3600

/** When a job that was sent at its commit is sent again, if it is still owed. */
export const RESEND_DELAY = sql`interval '30 seconds'`

/** Notes that jobs are owed and should be (re-)sent after `delay` (a Postgres interval). */
export const owe = (db: Database, kind: OwedMessage['kind'], subjectIds: readonly string[], delay: SQL) =>
  db.execute(sql`
    insert into outbox (kind, subject_id, available_at)
    select ${kind}, unnest(${sql.param(subjectIds)}::uuid[]), now() + ${delay}
    on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at, sends = 0`)

/** The job is done, if the condition is met. */
export const settle = (db: Database, kind: OwedMessage['kind'], subjectId: string, condition?: SQL) =>
  db.delete(outbox).where(and(eq(outbox.kind, kind), eq(outbox.subjectId, subjectId), condition))

/** Puts messages on the queues of their kinds. */
export const send = async (env: Env, messages: readonly JobMessage[], delaySeconds = 0): Promise<void> => {
  for (const [queue, group] of Map.groupBy(messages, queueOf)) {
    for (let start = 0; start < group.length; start += BATCH) {
      const batch = group.slice(start, start + BATCH)
      await env[queue].sendBatch(
        batch.map((body) => ({ body })),
        { delaySeconds },
      )
    }
  }
}

/** Sends after the commit. A failure costs time only: the sweeper sends what stays owed. */
export const dispatch = async (
  ctx: Ctx,
  messages: readonly OwedMessage[],
  delaySeconds = 0,
): Promise<void> => {
  if (delaySeconds > MAX_DELAY) return
  try {
    await send(ctx.env, messages, delaySeconds)
  } catch (error) {
    ctx.log({
      level: 'warn',
      message: 'queue did not take the jobs; the sweeper will',
      error: describeError(error),
    })
  }
}

/**
 * Sends again what is due, with exponential backoff; of very much the oldest, and the rest the next time.
 * @returns milliseconds until the next is due, or was by now; undefined if nothing is owed
 */
export const sweepOutbox = async (env: Env, id: string): Promise<number | undefined> => {
  const ctx = systemContext(env, { id, waitUntil: null })
  for (let sent = 0, batches = 1; ; batches++) {
    const {
      due: { rows },
      next,
    } = await transact(ctx, (db) => ({
      due: db.execute<{ workspace_id: string; kind: OwedMessage['kind']; subject_id: string }>(sql`
        update outbox set sends = least(sends + 1, 1000), available_at = now() + ${RESEND_DELAY} * power(2, least(sends, 6))
        where (workspace_id, kind, subject_id) in (
          select workspace_id, kind, subject_id from outbox where available_at <= now()
          order by available_at limit ${BATCH} for update skip locked)
        returning workspace_id, kind, subject_id`),
      next: db.execute<{ due_in: number | null }>(
        sql`select (extract(epoch from min(available_at) - now()) * 1000)::float8 as due_in from outbox`,
      ),
    }))
    await send(
      env,
      rows.map((row) => ({ kind: row.kind, workspaceId: row.workspace_id, subjectId: row.subject_id })),
    )
    sent += rows.length
    if (rows.length < BATCH || batches === MAX_BATCHES) {
      if (sent > 0) ctx.log({ level: 'info', message: 'swept', sent })
      return first(next.rows).due_in ?? undefined
    }
  }
}
