/** What the current workspace's plan allows and what it uses, in SQL. Such limits hold under concurrency within `change`. */
import { type SQL, sql } from 'drizzle-orm'
import { allowances } from '../plans.ts'
import { plans } from '../words.ts'

/** SQL: first day of the current month, UTC. */
export const currentPeriod = sql`date_trunc('month', now() at time zone 'utc')::date`

const counter = (value: SQL) =>
  sql`(select ${value} from workspace_counters where workspace_id = (select app.workspace_id()))`
const ofThisMonth = (value: SQL) => counter(sql`case when period = ${currentPeriod} then ${value} else 0 end`)

/** SQL: what the workspace uses of its plan, kept by triggers (`migrations/0005_counters.sql`). */
export const counted = {
  storedBytes: counter(sql`stored_bytes`),
  copiedBytes: counter(sql`copied_bytes`),
  queued: counter(sql`queued`),
  running: counter(sql`running`),
  reserved: ofThisMonth(sql`reserved`),
  charged: ofThisMonth(sql`charged`),
}

const allowed = (what: keyof (typeof allowances)[(typeof plans)[number]]) =>
  sql`(select case plan ${sql.join(
    plans.map((plan) => sql`when ${plan} then ${allowances[plan][what]}::bigint`),
    sql` `,
  )} end from workspaces where id = (select app.workspace_id()))`

/** SQL: credits a month, null when unlimited; the free ones are not every workspace's, and may have been used elsewhere. */
export const grantedCredits = sql`(case when (select plan from workspaces where id = (select app.workspace_id())) = 'free'
  then (select granted from app.free_state(${allowances.free.credits})) else ${allowed('credits')} end)`
/** SQL: bytes of storage. */
const storageQuota = allowed('storage')
/** SQL: the workspace's files, and `more` bytes, fit its plan. */
export const fitsStorage = (more: number) => sql`${counted.storedBytes} + ${more}::bigint <= ${storageQuota}`
/** SQL: how many may be members, null when unlimited. */
export const memberLimit = allowed('members')
/** SQL: how many generations may run at the same time. */
export const runningLimit = allowed('running')
/** SQL: how many generations may wait in line. */
export const queuedLimit = allowed('queued')
/** SQL: how many webhook endpoints there may be. */
export const endpointLimit = allowed('webhookEndpoints')
/** SQL: how many API keys in force there may be. */
export const keyLimit = allowed('apiKeys')
