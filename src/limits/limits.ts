/** Asks the limiter on behalf of a request, and says what it answered in the IETF's RateLimit headers. */
import type { Ctx } from '../context.ts'
import type { plans } from '../db/schema.ts'
import { AppError, describeError } from '../errors.ts'
import type { Taken } from './limiter.ts'
import { type PolicyName, planFactors, policies } from './policies.ts'

export interface LimitState extends Taken {
  policy: PolicyName
  subject: string
}

const ask = (ctx: Ctx, policy: PolicyName, subject: string, cost: number, factor?: number) => {
  const { limit, period } = policies[policy]
  const id = ctx.env.RATE_LIMITER.idFromName(`${policy}:${subject}`)
  return ctx.env.RATE_LIMITER.get(id).take({
    limit,
    period,
    cost,
    ...(factor && { factor }),
  }) as Promise<Taken>
}

/**
 * Takes one token of the subject's bucket.
 * @throws {AppError} rate_limited; unavailable where the policy does not pass without its limiter
 */
export const takeToken = async (
  ctx: Ctx,
  policy: PolicyName,
  subject: string,
  plan?: (typeof plans)[number],
): Promise<void> => {
  let taken: Taken
  try {
    taken = await ask(
      ctx,
      policy,
      subject,
      1,
      policies[policy].perPlan && plan ? planFactors[plan] : undefined,
    )
  } catch (cause) {
    ctx.log({ level: 'error', message: 'rate limiter unreachable', policy, error: describeError(cause) })
    if (policies[policy].unreachable === 'pass') return
    throw new AppError('unavailable', { headers: { 'retry-after': '1' }, cause })
  }
  ctx.limits.push({ ...taken, policy, subject })
  if (!taken.allowed) {
    throw new AppError('rate_limited', { headers: { 'retry-after': String(taken.retryAfter) } })
  }
}

/**
 * After the gate has spoken: a bucket that was charged before the caller was known gets its token back if the
 * gate refused, and learns the workspace's plan if it counted with another.
 */
export const settleTokens = async (ctx: Ctx): Promise<void> => {
  for (const { policy, subject, allowed, factor } of ctx.limits) {
    if (!policies[policy].perPlan || !allowed) continue
    if (ctx.gate === 'refused') await ask(ctx, policy, subject, -1)
    else if (ctx.gate && planFactors[ctx.gate.plan] !== factor) {
      await ask(ctx, policy, subject, 0, planFactors[ctx.gate.plan])
    }
  }
}

/** draft-ietf-httpapi-ratelimit-headers-10. */
export const limitHeaders = (limits: readonly LimitState[]): Record<string, string> =>
  limits.length === 0
    ? {}
    : {
        'ratelimit-policy': limits
          .map((l) => `"${l.policy}";q=${l.limit};w=${policies[l.policy].period}`)
          .join(', '),
        ratelimit: limits.map((l) => `"${l.policy}";r=${l.remaining};t=${l.resetAfter}`).join(', '),
      }
