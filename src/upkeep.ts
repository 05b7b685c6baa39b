/** What time alone makes due, and nobody waits for: checkpoints of audit logs, what is older than it is kept, a look through storage. */
import { reconcile } from './assets/reconcile.ts'
import { writeCheckpoints } from './audit/checkpoints.ts'
import type { Env } from './env.ts'
import { prune } from './retention.ts'

/** What fails is logged, and waits for the next time. @returns whether there is more to do than one run does */
export const keepUp = async (env: Env, id: string): Promise<boolean> => {
  // A walk that is not over goes on when the database is in use, or with cron: it keeps nothing awake.
  const [unfinished] = await Promise.all([
    Promise.all([writeCheckpoints(env, id), prune(env, id)]),
    reconcile(env, id),
  ])
  return unfinished.includes(true)
}
