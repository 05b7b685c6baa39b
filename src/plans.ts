/** What each plan includes; null is unlimited. */
import { sql } from 'drizzle-orm'
import type { plans as planNames } from './words.ts'

interface Plan {
  /** Per calendar month (UTC). */
  credits: number | null
  /** Bytes. */
  storage: number
  members: number | null
  /** Generations at work at once. */
  running: number
}

/** Workspaces on the free plan that one person may own. */
export const MAX_FREE_WORKSPACES = 10

const GB = 1024 ** 3

export const plans: Record<(typeof planNames)[number], Plan> = {
  free: { credits: 50, storage: 1 * GB, members: 5, running: 2 },
  pro: { credits: 1000, storage: 100 * GB, members: 25, running: 8 },
  enterprise: { credits: null, storage: 5000 * GB, members: null, running: 32 },
}

const byPlan = (of: (plan: Plan) => number | null) =>
  sql`(select case plan ${sql.join(
    Object.entries(plans).map(([name, plan]) => sql`when ${name} then ${of(plan)}::bigint`),
    sql` `,
  )} end from workspaces where id = app.workspace_id())`

/** SQL: the current workspace's monthly credits, null when unlimited. */
export const grantedCredits = byPlan((plan) => plan.credits)
/** SQL: the current workspace's storage quota in bytes. */
export const storageQuota = byPlan((plan) => plan.storage)
/** SQL: how many may belong to the current workspace, null when unlimited. */
export const memberLimit = byPlan((plan) => plan.members)
/** For SQL that runs where the plan is not known yet. */
export const memberLimits = JSON.stringify(
  Object.fromEntries(Object.entries(plans).map(([name, plan]) => [name, plan.members])),
)
/** SQL: how many generations of the current workspace may run at once. */
export const runningLimit = byPlan((plan) => plan.running)
