/** What every route shares: its contract's boilerplate, authentication, paging, and validation errors. */
import { createRoute, OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { createMiddleware } from 'hono/factory'
import { z } from 'zod'
import type { Action } from './audit/actions.ts'
import { verifyAccessToken } from './auth/tokens.ts'
import { type Ctx, log, type Principal, type Role } from './context.ts'
import type { Env, RawEnv } from './env.ts'
import { AppError, type ErrorCode, invalidField, Problem, statusOf } from './errors.ts'
import { sha256Hex } from './hash.ts'
import { settleTokens, takeToken } from './limits/limits.ts'
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

const securitySchemes = [{ accessToken: [] }]

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
    const userAgent = c.req.header('user-agent')?.slice(0, 400)
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
      log: (fields) => log({ requestId, action, ...fields }),
    })
    const { ctx } = c.var
    for (const policy of options.limits ?? []) await takeToken(ctx, policy, await limitSubject(c, policy))
    await next()
    if (ctx.limits.length > 0) c.executionCtx.waitUntil(settleTokens(ctx))
  })

/** @throws {AppError} unauthorized */
const authenticate = async (c: Context<AppEnv>): Promise<Principal> => {
  const token = /^Bearer +([\w.~+/=-]+)$/i.exec(c.req.header('authorization') ?? '')?.[1]
  const principal = token && (await verifyAccessToken(c.var.env, token))
  if (!principal) throw new AppError('unauthorized')
  return principal
}

const limitSubject = async (c: Context<AppEnv>, policy: PolicyName): Promise<string> => {
  const { ctx } = c.var
  switch (policies[policy].by) {
    case 'ip':
      return networkOf(ctx.request.ip)
    case 'email': {
      const body: unknown = await c.req.json().catch(() => undefined)
      return sha256Hex(
        String((body as { email?: unknown } | undefined)?.email)
          .trim()
          .toLowerCase(),
      )
    }
    case 'workspace':
      // A caller of one workspace need not name it; until the gate has, the caller stands for it.
      return ctx.workspaceId ?? `user:${ctx.principal.userId}`
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

export const Timestamp = z.iso.datetime()
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
  limit: z.coerce.number().int().min(1).max(100).default(20).openapi({ type: 'integer' }),
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

const alwaysPossible: ErrorCode[] = ['unauthorized', 'validation_failed', 'internal_error', 'unavailable']

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
