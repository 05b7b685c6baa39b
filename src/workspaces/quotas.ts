/** What the current workspace's plan allows, in SQL. Such limits hold under concurrency within `change`. */
import { sql } from 'drizzle-orm'
import { allowances } from '../plans.ts'
import { plans } from '../words.ts'

const allowed = (what: keyof (typeof allowances)[(typeof plans)[number]]) =>
  sql`(select case plan ${sql.join(
    plans.map((plan) => sql`when ${plan} then ${allowances[plan][what]}::bigint`),
    sql` `,
  )} end from workspaces where id = (select app.workspace_id()))`

/** SQL: credits a month, null when unlimited. */
export const grantedCredits = allowed('credits')
/** SQL: bytes of storage. */
export const storageQuota = allowed('storage')
/** SQL: how many may be members, null when unlimited. */
export const memberLimit = allowed('members')
/** SQL: how many generations may run at the same time. */
export const runningLimit = allowed('running')
