/** Takes a request's tokens from the limiter, and reports its answers in the RateLimit headers. */
import type { Ctx, LimitState } from '../context.ts'
import { objectOf } from '../env.ts'
import { AppError, describeError, unavailable } from '../errors.ts'
import { remember } from '../remember.ts'
import type { Plan } from '../words.ts'
import type { Taken } from './limiter.ts'
import { type Policy, type PolicyName, planFactors, policies } from './policies.ts'

interface Bucket {
  policy: PolicyName
  subject: string
  /** Of the workspace that is counted. */
  plan?: Plan
}

const nameOf = ({ policy, subject }: Bucket) => `${policy}:${subject}`

/** Who is denied until when, in milliseconds: until then this isolate denies them without asking. */
const denied = new Map<string, { until: number; taken: Taken }>()

/** A denial that still holds. */
const recallDenial = (bucket: Bucket): LimitState | undefined => {
  const known = denied.get(nameOf(bucket))
  const seconds = known ? Math.ceil((known.until - Date.now()) / 1000) : 0
  if (known && seconds > 0) return { ...bucket, ...known.taken, retryAfter: seconds }
  denied.delete(nameOf(bucket))
  return undefined
}

/** Whether this isolate knows that one of them is denied. */
export const isDenied = (buckets: readonly Bucket[]): boolean =>
  buckets.some((bucket) => recallDenial(bucket) !== undefined)

const factorOf = ({ policy, plan }: Bucket) => (policies[policy].perPlan && plan ? planFactors[plan] : 1)

const ask = async (ctx: Ctx, bucket: Bucket, cost: number, lease = 0): Promise<Taken> => {
  const { limit, period } = policies[bucket.policy]
  const limiter = objectOf(ctx.env, ctx.env.RATE_LIMITER, nameOf(bucket))
  return limiter.take({ limit, period, factor: factorOf(bucket), cost, lease })
}

/** Milliseconds; what is left of a lease then comes back with the time, as all that is spent. */
const LEASE_LIFETIME = 10_000
/** The part of a limit that an isolate may hold: small limits are not leased. */
const LEASED_PART = 1 / 120
/** Milliseconds after which a question for a lease is taken for lost. */
const LEASE_PATIENCE = 1000

/** Tokens that this isolate holds. */
const leases = new Map<string, { tokens: number; until: number; taken: Taken }>()

/** Since when a lease is asked for, in milliseconds. */
const asked = new Map<string, number>()

/** One of the tokens at hand. */
const takeHeld = (name: string): Taken | undefined => {
  const lease = leases.get(name)
  if (!lease || lease.until <= Date.now() || lease.tokens === 0) return undefined
  lease.tokens--
  return { ...lease.taken, remaining: lease.taken.remaining + lease.tokens }
}

const takeOne = async (ctx: Ctx, bucket: Bucket): Promise<Taken> => {
  const { limit, isLeased }: Policy = policies[bucket.policy]
  const most = isLeased ? Math.floor(limit * factorOf(bucket) * LEASED_PART) : 0
  if (most === 0) return ask(ctx, bucket, 1)
  const name = nameOf(bucket)
  const held = takeHeld(name)
  if (held) return held
  // One lease at a time, or many requests at once would hold many times as much.
  const isFirst = Date.now() - (asked.get(name) ?? 0) > LEASE_PATIENCE
  if (isFirst) remember(asked, name, Date.now())
  try {
    const taken = await ask(ctx, bucket, 1, isFirst ? most : 0)
    if (!taken.allowed) return takeHeld(name) ?? taken
    if (taken.leased > 0) {
      remember(leases, name, { tokens: taken.leased, until: Date.now() + LEASE_LIFETIME, taken })
    }
    return { ...taken, remaining: taken.remaining + taken.leased }
  } finally {
    if (isFirst) asked.delete(name)
  }
}

/** @throws {AppError} unavailable, where the policy does not pass without its limiter */
const takeToken = async (ctx: Ctx, bucket: Bucket): Promise<LimitState | undefined> => {
  const { policy } = bucket
  try {
    return { ...bucket, ...(await takeOne(ctx, bucket)) }
  } catch (cause) {
    ctx.log({ level: 'error', message: 'rate limiter unreachable', policy, error: describeError(cause) })
    if (policies[policy].unreachable === 'pass') return undefined
    throw unavailable(cause)
  }
}

/** Counts what is done in a workspace or for a caller; that they ask at all counts as `api`. */
const isForWork = (policy: Policy): boolean =>
  policy.by === 'workspace' || (policy.by === 'caller' && policy !== policies.api)

/**
 * Takes one token of each bucket, of all at the same time.
 * @throws {AppError} rate_limited; unavailable where a policy does not pass without its limiter
 */
export const takeTokens = async (ctx: Ctx, buckets: readonly Bucket[]): Promise<void> => {
  const denials = buckets.flatMap((bucket) => recallDenial(bucket) ?? [])
  const started = Date.now()
  const answers = denials.length > 0 ? denials : await Promise.all(buckets.map((one) => takeToken(ctx, one)))
  ctx.limiterMilliseconds += Date.now() - started
  const states = answers.filter((state) => state !== undefined)
  ctx.limits.push(...states)
  const refused = states.filter(({ allowed }) => !allowed)
  if (refused.length === 0) return
  for (const state of refused) {
    // Its tokens may be given back at any time, and a workspace's plan may change.
    if (isForWork(policies[state.policy])) continue
    remember(denied, nameOf(state), { until: Date.now() + state.retryAfter * 1000, taken: state })
  }
  // A network that is over its limit must not use up that of an e-mail address.
  await giveBack(ctx, ({ by }) => by === 'workspace' || by === 'email' || by === 'ip and email')
  const retryAfter = Math.max(...refused.map((state) => state.retryAfter))
  throw new AppError('rate_limited', { headers: { 'retry-after': String(retryAfter) } })
}

/** After what went well: gives back what counts failures only. Nobody waits for it. */
export const forgive = (ctx: Ctx): void =>
  ctx.waitUntil?.(giveBack(ctx, ({ failuresOnly }) => failuresOnly === true))

/** What this request took of such buckets; a limiter that does not answer keeps it. */
const giveBack = async (ctx: Ctx, isWanted: (policy: Policy) => boolean): Promise<void> => {
  const taken = ctx.limits.filter(({ policy, allowed }) => allowed && isWanted(policies[policy]))
  await Promise.all(
    taken.map((state) =>
      ask(ctx, state, -1).catch((error: unknown) =>
        ctx.log({
          level: 'warn',
          message: 'rate limiter unreachable',
          policy: state.policy,
          error: describeError(error),
        }),
      ),
    ),
  )
}

/** Where the gate has let a caller in: the workspace whose buckets count, and its plan. */
interface Admission {
  workspaceId: string
  plan: Plan
}

/** Milliseconds that an admission is remembered: so long a removed member or a former plan may count on. */
const ADMISSION_LIFETIME = 60_000

const admissions = new Map<string, Admission & { at: number }>()

const claimOf = (caller: string, named: string | undefined) => `${caller}|${named ?? ''}`

/** Where the gate has let this caller in lately, who named the workspace so. */
export const recallAdmission = (caller: string, named: string | undefined): Admission | undefined => {
  const known = admissions.get(claimOf(caller, named))
  return known && Date.now() - known.at < ADMISSION_LIFETIME ? known : undefined
}

/**
 * After the answer: remembers whom the gate let in, and gives back what a request took that the gate refused, so that neither strangers
 * nor who has found an open session use up what is somebody else's, or that did not match the contract. What its handler refused has
 * cost work, and stays taken.
 */
export const settleTokens = async (ctx: Ctx, caller: string, isUnused: boolean): Promise<void> => {
  const { gate, scope, workspaceId } = ctx
  if (isUnused || gate === 'refused') await giveBack(ctx, isForWork)
  if (!gate || scope !== 'workspace') return
  const claim = claimOf(caller, workspaceId)
  if (gate === 'refused') {
    admissions.delete(claim)
    return
  }
  remember(admissions, claim, { workspaceId: gate.workspaceId, plan: gate.plan, at: Date.now() })
  if (ctx.limits.some(({ policy }) => policy === 'key-ip')) {
    // The key exists, so the request is its own and not its network's.
    await Promise.all([
      giveBack(ctx, ({ by }) => by === 'ip'),
      takeToken(ctx, { policy: 'api', subject: caller }),
    ])
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
