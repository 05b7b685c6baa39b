/** What time alone makes due, and nobody waits for: checkpoints of audit logs, and what is older than it is kept. */
import { writeCheckpoints } from './audit/checkpoints.ts'
import type { Env } from './env.ts'
import { prune } from './retention.ts'

/** What fails is logged, and waits for the next time. @returns whether there is more to do than one run does */
export const keepUp = async (env: Env, id: string): Promise<boolean> => {
  const unfinished = await Promise.all([writeCheckpoints(env, id), prune(env, id)])
  return unfinished.includes(true)
}
