/** What every route shares: its contract's boilerplate, authentication, paging, and validation errors. */
import { createRoute, OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { getCookie } from 'hono/cookie'
import { createMiddleware } from 'hono/factory'
import { z } from 'zod'
import type { Action } from './audit/actions.ts'
import { reportRefusal } from './audit/audit.ts'
import { isApiKey, readApiKey } from './auth/api-keys.ts'
import { verifySessionCookie } from './auth/authjs.ts'
import { verifyAccessToken } from './auth/tokens.ts'
import { type Ctx, log, type Principal, type Role } from './context.ts'
import type { Env, RawEnv } from './env.ts'
import { AppError, type ErrorCode, invalidField, Problem, refusalOf, statusOf } from './errors.ts'
import { sha256Hex } from './hash.ts'
import { settleTokens, takeToken, workspaceSubject } from './limits/limits.ts'
import { type PolicyName, policies } from './limits/policies.ts'

export { createRoute }

export interface AppEnv {
  Bindings: RawEnv
  Variables: { env: Env; requestId: string; ctx: Ctx }
}

export const createRouter = () =>
  new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (result.success) return
      const base = result.target === 'json' ? '' : `/${result.target === 'param' ? 'path' : result.target}`
      const token = (key: PropertyKey) => String(key).replaceAll('~', '~0').replaceAll('/', '~1')
      throw new AppError('validation_failed', {
        errors: result.error.issues.slice(0, 20).flatMap((issue) => {
          const at = [base, ...issue.path.map(token)].join('/')
          return issue.code === 'unrecognized_keys'
            ? issue.keys
                .slice(0, 20)
                .map((key) => ({ pointer: `${at}/${token(key)}`, message: 'is not a known field' }))
            : [{ pointer: at, message: issue.message }]
        }),
      })
    },
  })

interface Operation {
  tag: string
  summary: string
  description?: string
  /** Default `workspace`. `public` needs no caller, `user` no workspace. */
  scope?: 'workspace' | 'user' | 'public'
  /** Least role; default `viewer`. */
  role?: Role
  /** The workspace is the path's `{id}` and not the header's. */
  workspaceInPath?: boolean
  limits?: readonly PolicyName[]
}

const securitySchemes = [{ accessToken: [] }, { apiKey: [] }, { authjs: [] }]

/** The part of a contract that says what is done, by whom, how often; with the middleware that enforces it. */
export const operation = (action: Action, options: Operation) => ({
  operationId: action,
  tags: [options.tag],
  summary: options.summary,
  ...(options.description && { description: options.description }),
  security: options.scope === 'public' ? [] : securitySchemes,
  ...((options.scope ?? 'workspace') === 'workspace' && {
    'x-role': options.role ?? 'viewer',
    ...(!options.workspaceInPath && { parameters: [workspaceHeader] }),
  }),
  middleware: establish(action, options),
})

const workspaceHeader = {
  name: 'X-Workspace-Id',
  in: 'header' as const,
  required: false,
  description: 'Which workspace; may be left out by those who belong to exactly one.',
  schema: { type: 'string' as const, format: 'uuid' },
}

const Uuid = z.uuid()

const establish = (action: Action, options: Operation) =>
  createMiddleware<AppEnv>(async (c, next) => {
    const { env, requestId } = c.var
    const scope = options.scope ?? 'workspace'
    const principal: Principal = scope === 'public' ? { type: 'system' } : await authenticate(c)
    const named = options.workspaceInPath ? c.req.param('id') : c.req.header('x-workspace-id')
    if (scope === 'workspace' && named !== undefined && !Uuid.safeParse(named).success) {
      throw invalidField(options.workspaceInPath ? '/path/id' : '/header/X-Workspace-Id', 'is not a UUID')
    }
    const ip = c.req.header('cf-connecting-ip')
    const userAgent = c.req.header('user-agent')?.slice(0, 400).toWellFormed()
    c.set('ctx', {
      env,
      principal,
      scope: scope === 'public' ? 'system' : scope,
      workspaceId: scope === 'workspace' ? named?.toLowerCase() : undefined,
      role: options.role ?? 'viewer',
      action,
      request: { id: requestId, ...(ip && { ip }), ...(userAgent && { userAgent }) },
      database: { requests: 0, milliseconds: 0 },
      limits: [],
      limiterMilliseconds: 0,
      log: (fields) => log({ requestId, action, ...fields }),
    })
    const { ctx } = c.var
    const limits: readonly PolicyName[] = [
      ...(scope === 'public' ? [] : (['api'] as const)),
      ...(options.limits ?? []),
    ]
    for (const policy of limits) {
      const subject = await limitSubject(c, policy)
      if (subject !== undefined) await takeToken(ctx, policy, subject)
    }
    await next()
    const refusal = c.error && refusalOf(c.error)
    if (refusal) await reportRefusal(ctx, refusal)
    c.executionCtx.waitUntil(settleTokens(ctx, callerOf(principal)))
  })

/** @throws {AppError} unauthorized, origin_not_allowed */
const authenticate = async (c: Context<AppEnv>): Promise<Principal> => {
  const { env } = c.var
  const header = c.req.header('authorization')
  const principal =
    header === undefined ? await verifySessionCookie(env, getCookie(c)) : await verifyBearer(env, header)
  if (!principal) throw new AppError('unauthorized')
  // A browser adds cookies to what any site sends, but names that site.
  const changes = c.req.method !== 'GET' && c.req.method !== 'HEAD'
  if (principal.type === 'authjs' && changes && !env.ALLOWED_ORIGINS.includes(c.req.header('origin') ?? '')) {
    throw new AppError('origin_not_allowed')
  }
  return principal
}

const verifyBearer = async (env: Env, header: string): Promise<Principal | undefined> => {
  const token = /^Bearer +([\w.~+/=-]+)$/i.exec(header)?.[1] ?? ''
  return isApiKey(token) ? readApiKey(token) : verifyAccessToken(env, token)
}

/** One bucket a caller, whichever way they came. */
const callerOf = (principal: Principal): string => {
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

/** Whose bucket; undefined when the request names nobody and validation will refuse it. */
const limitSubject = async (c: Context<AppEnv>, policy: PolicyName): Promise<string | undefined> => {
  const { ctx } = c.var
  switch (policies[policy].by) {
    case 'ip':
      return networkOf(ctx.request.ip)
    case 'email': {
      const body: unknown = await c.req.json().catch(() => undefined)
      const email = (body as { email?: unknown } | null | undefined)?.email
      return typeof email === 'string' ? sha256Hex(email.trim().toLowerCase()) : undefined
    }
    case 'workspace':
      return workspaceSubject(callerOf(ctx.principal), ctx.workspaceId)
    case 'caller':
      return callerOf(ctx.principal)
  }
}

/** An IPv6 subscriber has a /64, so that is what counts. */
const networkOf = (ip = 'unknown') => (ip.includes(':') ? ip.split(':').slice(0, 4).join(':') : ip)

/** Text that Postgres can store and people can read: no control characters, no lone surrogates. */
export const text = (options: { min?: number; max: number }) =>
  z
    .string()
    .trim()
    .min(options.min ?? 1)
    .max(options.max)
    .refine(
      (value) => value.isWellFormed() && !/[^\P{Cc}\t\n\r]/u.test(value),
      'has characters that are not text',
    )

/** Case makes no difference. */
export const Email = z
  .string()
  .trim()
  .toLowerCase()
  .max(254)
  .pipe(z.email())
  .openapi({ type: 'string', format: 'email', maxLength: 254 })

/** ISO 8601 with `Z`, of a year that Postgres knows. */
export const Timestamp = z.iso.datetime().regex(/^(?!0000)/, 'is before the year 1')
export const IdPath = z.object({ id: z.uuid().openapi({ param: { name: 'id', in: 'path' } }) })

const toCursor = (id: string) => Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')

const Cursor = z
  .string()
  .transform((value) => {
    const hex = Buffer.from(value, 'base64url').toString('hex')
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  })
  .refine((id) => Uuid.safeParse(id).success, { message: 'is not a cursor of this list' })
  .openapi({ type: 'string' })

/** Query of a list: `limit` 1..100 (default 20) and the `cursor` of the page before. */
export const Paging = z.object({
  limit: z
    .string()
    .regex(/^\d{1,3}$/, 'is not a number from 1 to 100')
    .transform(Number)
    .pipe(z.int().min(1).max(100))
    .default(20)
    .openapi({ type: 'integer', minimum: 1, maximum: 100, default: 20 }),
  cursor: Cursor.optional(),
})

export const listOf = <T extends z.ZodType>(item: T) =>
  z.object({ data: z.array(item), nextCursor: z.string().nullable() })

/** One page from `limit + 1` rows, newest first by id. */
export const toPage = <Row extends { id: string }, Item>(
  rows: readonly Row[],
  limit: number,
  present: (row: Row) => Item,
) => {
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  return { data: page.map(present), nextCursor: rows.length > limit && last ? toCursor(last.id) : null }
}

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
})

export const jsonBody = <T extends z.ZodType>(schema: T) => ({
  body: { required: true, content: { 'application/json': { schema } } },
})

/** What a route that takes JSON may refuse besides. */
export const jsonProblems = ['malformed_json', 'payload_too_large', 'unsupported_media_type'] as const

const alwaysPossible: ErrorCode[] = [
  'unauthorized',
  'account_not_linked',
  'forbidden',
  'origin_not_allowed',
  'validation_failed',
  'rate_limited',
  'internal_error',
  'unavailable',
]

/** Contract entries for the given refusals and the ones that any route can answer with. */
export const problemsOf = (...codes: ErrorCode[]) => {
  const byStatus = Object.groupBy([...new Set([...alwaysPossible, ...codes])], (code) =>
    String(statusOf(code)),
  )
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, group]) => [
      status,
      { description: (group ?? []).join(', '), content: { 'application/problem+json': { schema: Problem } } },
    ]),
  )
}
