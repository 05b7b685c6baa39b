/** The middleware that limits how often an operation is called: whose buckets its policies take from. */
import { hash } from 'node:crypto'
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { z } from 'zod'
import type { Ctx, Principal } from '../context.ts'
import { authorize } from '../db/client.ts'
import { recallAdmission, takeTokens } from '../limits/limits.ts'
import { type PolicyName, policies } from '../limits/policies.ts'
import type { AppEnv } from './router.ts'

export const limited = (limits: readonly PolicyName[]) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const { ctx } = c.var
    if (ctx.scope === 'system') await limitAnybody(c, limits)
    else await limitCaller(ctx, limits)
    await next()
  })

/** One after the other: a network that is over its limit must not use up that of an e-mail address. */
const limitAnybody = async (c: Context<AppEnv>, limits: readonly PolicyName[]): Promise<void> => {
  for (const policy of limits) {
    const subject = policies[policy].by === 'email' ? await addressOf(c) : networkOf(c.var.ctx.request.ip)
    if (subject !== undefined) await takeTokens(c.var.ctx, [{ policy, subject }])
  }
}

/**
 * A workspace's buckets are taken from only for whom the gate lets in, so that strangers can't empty them; a caller
 * that this isolate does not know yet asks the gate first.
 */
const limitCaller = async (ctx: Ctx, limits: readonly PolicyName[]): Promise<void> => {
  const caller = callerOf(ctx.principal)
  const admission = recallAdmission(caller, ctx.workspaceId)
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

/** Undefined when the body names no e-mail address, which validation will refuse. */
const addressOf = async (c: Context<AppEnv>): Promise<string | undefined> => {
  const body: unknown = await c.req.json().catch(() => undefined)
  const { data } = z.object({ email: z.string() }).safeParse(body)
  return data && hash('sha256', data.email.trim().toLowerCase())
}

/** An IPv6 subscriber has a whole /64, so all of it is one subject. */
const networkOf = (ip = 'unknown'): string => {
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
