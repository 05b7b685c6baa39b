/** What every verb gets, whether a request, a message or cron calls it: the caller, the workspace, the configuration. */
import type { Action } from './actions.ts'
import type { Env } from './env.ts'
import type { Taken } from './limits/limiter.ts'
import type { PolicyName } from './limits/policies.ts'
import type { Language, Plan, Role } from './words.ts'

/**
 * What the gate answers. A scope without workspace, or without user, gets null for what it lacks; the types leave that
 * out, since no verb of that scope reads it. A type and no interface, so that it fits what a statement's rows may be.
 */
export type Gate = {
  userId: string
  workspaceId: string
  role: Role
  plan: Plan
}

/** One limiter's answer about one request. */
export interface LimitState extends Taken {
  policy: PolicyName
  subject: string
}

export type Principal =
  | { type: 'session'; id: string; userId: string }
  | { type: 'api_key' /** SHA-256, hex. */; hash: string }
  /** Signed in at the front end; `newUserId` becomes the id of somebody without an account. */
  | {
      type: 'authjs'
      provider: string
      providerAccountId: string
      email: string | undefined
      emailVerified: boolean
      name: string | undefined
      /** Seconds since 1970. */
      signedInAt: number
      newUserId: string
      /** Of a second factor, shown here; `at` in seconds, `mark` as `app.mark_of` says. */
      proof: { userId: string; at: number; mark: string } | undefined
    }
  /** The server itself; `userId` while it signs up or signs in that user, `actor` (`type:id`) while it acts for another. */
  | { type: 'system'; userId?: string; actor?: string }

export interface Ctx {
  readonly env: Env
  readonly principal: Principal
  /** `workspace`: acts in one; `user`: only the caller matters; `system`: before either is known. */
  readonly scope: 'workspace' | 'user' | 'system'
  /** As named by the caller or message; undefined means the caller's only one. */
  readonly workspaceId: string | undefined
  /** The least role that may do this. */
  readonly role: Role
  /** Takes a proof of the person that is not older than 15 minutes. */
  readonly stepUp?: boolean
  /** The member whom this removes; whoever has no second factor may leave a workspace that demands one. */
  readonly removes?: string
  /** Also the audit action; undefined while nothing is done that is audited. */
  readonly action: Action | undefined
  /** Secrets that this may store, and no others: hashes, ciphertexts, public keys. The database is told what they hash to. */
  readonly seals?: readonly string[] | undefined
  readonly request: {
    readonly id: string
    readonly ip?: string | undefined
    /** Of the address, as limits count: of IPv6 a /64. Not of addresses that are private. */
    readonly network?: string | undefined
    /** ISO 3166. */
    readonly country?: string | undefined
    readonly userAgent?: string | undefined
    /** That its sender reads. */
    readonly language?: Language | undefined
  }
  /** Database requests made so far and the milliseconds waited for them. */
  readonly database: { requests: number; milliseconds: number }
  /** The limiter's answers, for the response's headers. */
  readonly limits: LimitState[]
  /** Milliseconds waited for the limiter. */
  limiterMilliseconds: number
  /** The gate's answer, once a transaction has committed or the gate has refused it. */
  gate?: Gate | 'refused'
  /** Keeps the invocation for work that nobody waits for; null in upkeep, which is no use of the database by anybody. */
  readonly waitUntil: WaitUntil | null
  log(fields: Record<string, unknown>): void
}

export type WaitUntil = (work: Promise<unknown>) => void

/** For a queue message: the server itself, under one workspace's policies. */
export type JobCtx = Ctx & { readonly workspaceId: string }

export const log = (fields: Record<string, unknown>) => console.log(JSON.stringify(fields))

/** For what no caller waits for: messages and cron. With a workspace, that tenant's row-level policies apply. */
export const systemContext = (
  env: Env,
  options: { id: string; action?: Action; workspaceId?: string; waitUntil: WaitUntil | null },
): Ctx => ({
  env,
  principal: { type: 'system' },
  scope: options.workspaceId ? 'workspace' : 'system',
  workspaceId: options.workspaceId,
  role: 'owner',
  action: options.action,
  request: { id: options.id },
  database: { requests: 0, milliseconds: 0 },
  limits: [],
  limiterMilliseconds: 0,
  waitUntil: options.waitUntil,
  log: (fields) => log({ requestId: options.id, workspaceId: options.workspaceId, ...fields }),
})
