/** Deletes what is older than it is kept: how long that is, `app.prune` says and enforces (migrations/0003_audit.sql). */
import { sql } from 'drizzle-orm'
import { systemContext } from './context.ts'
import { transact } from './db/client.ts'
import { first } from './db/sql.ts'
import type { Env } from './env.ts'
import { describeError } from './errors.ts'

const kinds = [
  'sessions',
  'users',
  'spent_tokens',
  'mails',
  'bounces',
  'erased_accounts',
  'invites',
  'api_keys',
  'idempotency_keys',
  'events',
  'deliveries',
  'audit_outside',
  'audit_entries',
  'audit_checkpoints',
]

/** Rows of one transaction. */
const SLICE = 1000
/** Milliseconds for one kind in one run; the rest waits for the next. */
const BUDGET = 5000

/**
 * What fails is tried again by the next run, and keeps nothing else from being pruned.
 * @returns whether the next run has more to do
 */
export const prune = async (env: Env, id: string): Promise<boolean> => {
  const ctx = systemContext(env, { id, waitUntil: null })
  let isUnfinished = false
  for (const kind of kinds) {
    let total = 0
    const end = Date.now() + BUDGET
    let count = SLICE
    try {
      while (count === SLICE && Date.now() < end) {
        const { pruned } = await transact(ctx, (db) => ({
          pruned: db.execute<{ count: number }>(sql`select app.prune(${kind}, ${SLICE}) as count`),
        }))
        count = first(pruned.rows).count
        total += count
      }
      if (count === SLICE) isUnfinished = true
    } catch (error) {
      ctx.log({ level: 'error', message: 'not pruned', kind, error: describeError(error) })
    }
    if (total > 0)
      ctx.log({ level: 'info', message: 'pruned', kind, count: total, isUnfinished: count === SLICE })
  }
  return isUnfinished
}
