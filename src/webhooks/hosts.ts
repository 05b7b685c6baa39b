/**
 * Hosts that a workspace's generations name: one that leaves calls unanswered is left alone for a while, as an endpoint is by its
 * row. By host, since each job may bring a URL of its own.
 */
import type { JobCtx } from '../context.ts'
import { objectOf } from '../env.ts'
import { describeError } from '../errors.ts'

const breakerOf = ({ env, workspaceId }: JobCtx, url: string) =>
  objectOf(env, env.BREAKER, `webhook:${workspaceId}:${new URL(url).host}`)

const noteUnreachable = (ctx: JobCtx) => (error: unknown) =>
  ctx.log({ level: 'warn', message: 'breaker of a webhook host unreachable', error: describeError(error) })

/** Whether the host may be called now. `isSuspect`: it has left the last calls unanswered. Where nobody can tell, it may. */
export const admitsHost = async (ctx: JobCtx, url: string) => {
  try {
    const { admitted, failures } = await breakerOf(ctx, url).admits()
    return { admitted, isSuspect: failures > 0 }
  } catch (error) {
    noteUnreachable(ctx)(error)
    return { admitted: true, isSuspect: true }
  }
}

/** How a call went, for others; it must not cost this one. */
export const reportHost = async (ctx: JobCtx, url: string, answered: boolean) => {
  try {
    await breakerOf(ctx, url).report({ succeeded: answered })
  } catch (error) {
    noteUnreachable(ctx)(error)
  }
}
