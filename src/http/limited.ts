/** The middleware that limits how often an operation is called: whose buckets its policies take from. */
import type { Context, Next } from 'hono'
import { createMiddleware } from 'hono/factory'
import { z } from 'zod'
import { hashAddress, readDeviceToken } from '../auth/device-tokens.ts'
import type { Ctx, Principal } from '../context.ts'
import { authorize } from '../db/client.ts'
import { isDenied, recallAdmission, takeTokens } from '../limits/limits.ts'
import { type Policy, type PolicyName, policies } from '../limits/policies.ts'
import type { AppEnv } from './router.ts'

export const limited = (limits: readonly PolicyName[]) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const ctx = c.get('ctx')
    if (ctx.scope === 'system') await limitAnybody(c, limits)
    else if (isRead(c) && limits.length === 0 && isKnown(ctx)) return readLimited(c, next)
    else await limitCaller(ctx, limits)
    return next()
  })

const isRead = ({ req }: Context<AppEnv>) => req.method === 'GET' || req.method === 'HEAD'

const recall = ({ principal, workspaceId }: Ctx) => recallAdmission(callerOf(principal), workspaceId)

/** Whom to ask the database for harms nobody: neither is the credential a guess, nor does it make an account. */
const isKnown = (ctx: Ctx) => ctx.principal.type === 'session' || recall(ctx) !== undefined

/** Asks the limiter and reads at the same time; what was read is thrown away where the limiter refuses. */
const readLimited = async (c: Context<AppEnv>, next: Next): Promise<void> => {
  const ctx = c.get('ctx')
  const bucket = { policy: 'api' as const, subject: callerOf(ctx.principal) }
  // Who is denied by now reads nothing.
  if (isDenied([bucket])) return takeTokens(ctx, [bucket])
  // What CORS has set; to look at an answer that does not exist yet makes one.
  const before = c.req.header('origin') === undefined ? undefined : new Headers(c.res.headers)
  const [taken, read] = await Promise.allSettled([takeTokens(ctx, [bucket]), next()])
  if (taken.status === 'rejected') {
    await c.res.body?.cancel()
    // Hono copies the headers of an answer to the one in its place, and these may be a file's URL.
    c.res = undefined
    c.res = new Response(null, before && { headers: before })
    throw taken.reason
  }
  if (read.status === 'rejected') throw read.reason
}

/**
 * Nobody yet: all at the same time, but for an address that no limiter is asked of when its network is denied. A device that
 * has signed in before is counted by itself and with those of its network, and not with strangers and the address. Whom a token names (`user`) the verb counts.
 */
const limitAnybody = async (c: Context<AppEnv>, limits: readonly PolicyName[]): Promise<void> => {
  const isByDevice = (policy: PolicyName) => ['device', 'device-ip'].includes(policies[policy].by)
  const device = limits.some(isByDevice) ? await deviceOf(c) : undefined
  const buckets: { policy: PolicyName; subject: string }[] = []
  const wanted = limits.filter(
    (one) => policies[one].by !== 'user' && isByDevice(one) === (device !== undefined),
  )
  for (const policy of wanted) {
    const { by } = policies[policy]
    const subject = by === 'device' ? device : await subjectOf(c, by, isDenied(buckets))
    if (subject !== undefined) buckets.push({ policy, subject })
  }
  await takeTokens(c.get('ctx'), buckets)
}

const subjectOf = async (
  c: Context<AppEnv>,
  by: Policy['by'],
  isLost: boolean,
): Promise<string | undefined> => {
  const network = networkOf(c.get('ctx').request.ip)
  if (by === 'ip' || by === 'device-ip') return network
  const address = isLost ? undefined : await addressOf(c)
  return address && by === 'ip and email' ? `${network} ${address}` : address
}

/**
 * A workspace's buckets are taken from only for whom the gate lets in, so that strangers can't empty them; a caller
 * that this isolate does not know yet asks the gate first.
 */
const limitCaller = async (ctx: Ctx, limits: readonly PolicyName[]): Promise<void> => {
  const caller = callerOf(ctx.principal)
  const admission = recall(ctx)
  const perWorkspace = limits.filter((policy) => policies[policy].by === 'workspace')
  const perCaller: PolicyName[] = ['api', ...limits.filter((policy) => policies[policy].by === 'caller')]
  // Anybody can make up a key, so it has no bucket until the gate has let it in.
  const isUnknownKey = !admission && ctx.principal.type === 'api_key'
  const own = isUnknownKey
    ? [{ policy: 'key-ip' as const, subject: networkOf(ctx.request.ip) }]
    : perCaller.map((policy) => ({ policy, subject: caller }))
  const bucketsOf = ({ workspaceId, plan }: NonNullable<typeof admission>) =>
    perWorkspace.map((policy) => ({ policy, subject: workspaceId, plan }))

  if (admission) return takeTokens(ctx, [...own, ...bucketsOf(admission)])
  await takeTokens(ctx, own)
  if (perWorkspace.length > 0) await takeTokens(ctx, bucketsOf((await authorize(ctx)).gate))
}

/** Whose requests are counted together. */
export const callerOf = (principal: Principal): string => {
  switch (principal.type) {
    case 'session':
      return `user:${principal.userId}`
    case 'api_key':
      return `key:${principal.hash}`
    case 'authjs':
      return `authjs:${principal.provider}:${principal.providerAccountId}`
    case 'system':
      return 'system'
  }
}

const SignIn = z.object({ email: z.string(), device_token: z.string().optional() })

const bodyOf = async (c: Context<AppEnv>) =>
  SignIn.safeParse(await c.req.json().catch((): unknown => undefined)).data

/** Undefined when the body names no e-mail address, which validation will refuse. */
const addressOf = async (c: Context<AppEnv>): Promise<string | undefined> => {
  const body = await bodyOf(c)
  return body && hashAddress(body.email)
}

/** The device that has signed in with this address before, if the body shows that. */
const deviceOf = async (c: Context<AppEnv>): Promise<string | undefined> => {
  const body = await bodyOf(c)
  return body?.device_token === undefined
    ? undefined
    : readDeviceToken(c.get('env'), body.device_token, body.email)?.id
}

/** An IPv6 subscriber has a whole /64, so all of it is one subject. */
export const networkOf = (ip = 'unknown'): string => {
  if (!ip.includes(':')) return ip
  const [head = '', tail = ''] = ip.toLowerCase().split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const zeros = ip.includes('::') ? 8 - groups(head).length - groups(tail).length : 0
  const all = [...groups(head), ...Array<string>(Math.max(0, zeros)).fill('0'), ...groups(tail)]
  return all
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')
}
