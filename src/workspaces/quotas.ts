/** What the current workspace's plan allows, in SQL, and the lock that makes such limits hold under concurrency. */
import { sql } from 'drizzle-orm'
import type { Database } from '../db/client.ts'
import { allowances } from '../plans.ts'
import { plans } from '../words.ts'

/**
 * Makes everything that spends or fills a quota of the workspace wait for its turn.
 * @throws {AppError} not_found, if the workspace is deleted by then
 */
export const lockWorkspace = (db: Database) =>
  db.execute(sql`
    select app.require(deleted_at is null, 404, 'not_found') from workspaces where id = app.workspace_id() for no key update`)

const allowed = (what: keyof (typeof allowances)[(typeof plans)[number]]) =>
  sql`(select case plan ${sql.join(
    plans.map((plan) => sql`when ${plan} then ${allowances[plan][what]}::bigint`),
    sql` `,
  )} end from workspaces where id = app.workspace_id())`

/** SQL: credits a month, null when unlimited. */
export const grantedCredits = allowed('credits')
/** SQL: bytes of storage. */
const storageQuota = allowed('storage')
/** SQL: the workspace's files, and `more` bytes, fit its plan. */
export const fitsStorage = (more: number) =>
  sql`(select coalesce(sum(size), 0) + ${more}::bigint from assets where workspace_id = app.workspace_id()) <= ${storageQuota}`
/** SQL: how many may be members, null when unlimited. */
export const memberLimit = allowed('members')
/** SQL: how many generations may run at the same time. */
export const runningLimit = allowed('running')
