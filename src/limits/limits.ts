/** Takes a request's tokens from the limiter, and reports its answer in the RateLimit headers. */
import type { Ctx, LimitState } from '../context.ts'
import { AppError, describeError } from '../errors.ts'
import type { Plan } from '../words.ts'
import type { Taken } from './limiter.ts'
import { type PolicyName, planFactors, policies } from './policies.ts'

/** Entries of what an isolate remembers; the oldest go first. */
const MAX_REMEMBERED = 10_000

const remember = <Value>(memory: Map<string, Value>, key: string, value: Value) => {
  memory.delete(key)
  memory.set(key, value)
  const [oldest] = memory.keys()
  if (memory.size > MAX_REMEMBERED && oldest !== undefined) memory.delete(oldest)
}

/** Who is denied until when, in milliseconds: until then this isolate denies them without asking. */
const denied = new Map<string, { until: number; taken: Taken }>()

const rememberDenial = (key: string, taken: Taken) =>
  remember(denied, key, { until: Date.now() + taken.retryAfter * 1000, taken })

/** A denial that still holds. */
const recallDenial = (key: string): Taken | undefined => {
  const known = denied.get(key)
  const seconds = known ? Math.ceil((known.until - Date.now()) / 1000) : 0
  if (known && seconds > 0) return { ...known.taken, retryAfter: seconds }
  denied.delete(key)
  return undefined
}

const ask = async (
  ctx: Ctx,
  policy: PolicyName,
  subject: string,
  cost: number,
  factor?: number,
): Promise<Taken> => {
  const { limit, period } = policies[policy]
  const id = ctx.env.RATE_LIMITER.idFromName(`${policy}:${subject}`)
  return ctx.env.RATE_LIMITER.get(id).take({ limit, period, cost, ...(factor && { factor }) })
}

/**
 * Takes one token of the subject's bucket.
 * @throws {AppError} rate_limited; unavailable where the policy does not pass without its limiter
 */
export const takeToken = async (
  ctx: Ctx,
  policy: PolicyName,
  subject: string,
  plan?: Plan,
): Promise<void> => {
  const key = `${policy}:${subject}`
  const { by, perPlan, unreachable } = policies[policy]
  // A workspace's tokens may be given back at any time, and its plan may change.
  const lasts = by !== 'workspace'
  let taken = lasts ? recallDenial(key) : undefined
  const started = Date.now()
  try {
    taken ??= await ask(ctx, policy, subject, 1, perPlan && plan ? planFactors[plan] : undefined)
  } catch (cause) {
    ctx.log({ level: 'error', message: 'rate limiter unreachable', policy, error: describeError(cause) })
    if (unreachable === 'pass') return
    throw new AppError('unavailable', { headers: { 'retry-after': '1' }, cause })
  } finally {
    ctx.limiterMilliseconds += Date.now() - started
  }
  ctx.limits.push({ ...taken, policy, subject })
  if (!taken.allowed) {
    if (lasts) rememberDenial(key, taken)
    throw new AppError('rate_limited', { headers: { 'retry-after': String(taken.retryAfter) } })
  }
}

/** Which workspace a caller's requests count for, as the gate has answered before; by caller and named workspace. */
const admitted = new Map<string, string>()

const claimOf = (caller: string, named: string | undefined) => `${caller}|${named ?? ''}`

/**
 * Whose bucket a request takes from before the gate is asked: the workspace's if the gate has let this caller in
 * before, else one of the caller's own, so that strangers can't empty a workspace's.
 */
export const workspaceSubject = (caller: string, named: string | undefined): string => {
  const claim = claimOf(caller, named)
  return admitted.get(claim) ?? claim
}

/** After the gate's answer: takes the workspace's token, sets its bucket's factor, or gives back what was taken. */
export const settleTokens = async (ctx: Ctx, caller: string): Promise<void> => {
  const { gate } = ctx
  if (!gate) return
  const claim = claimOf(caller, ctx.workspaceId)
  for (const { policy, subject, allowed, factor } of ctx.limits) {
    const { by, perPlan } = policies[policy]
    if (by !== 'workspace' || !allowed) continue
    if (gate === 'refused') {
      admitted.delete(claim)
      if (subject !== claim) await ask(ctx, policy, subject, -1)
      continue
    }
    remember(admitted, claim, gate.workspaceId)
    const known = perPlan ? planFactors[gate.plan] : undefined
    if (subject === claim) await ask(ctx, policy, gate.workspaceId, 1, known)
    else if (known !== undefined && known !== factor) await ask(ctx, policy, subject, 0, known)
  }
}

/** RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10). */
export const limitHeaders = (limits: readonly LimitState[]): Record<string, string> =>
  limits.length === 0
    ? {}
    : {
        'ratelimit-policy': limits
          .map(({ policy, limit }) => `"${policy}";q=${limit};w=${policies[policy].period}`)
          .join(', '),
        ratelimit: limits
          .map(({ policy, remaining, resetAfter }) => `"${policy}";r=${remaining};t=${resetAfter}`)
          .join(', '),
      }
