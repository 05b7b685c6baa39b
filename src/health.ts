/** Is it up, can it work, and with which keys can its tokens be verified? */
import { sql } from 'drizzle-orm'
import { z } from 'zod'
import { checkStorage } from './assets/storage.ts'
import { publicKeySet } from './auth/tokens.ts'
import { type Ctx, systemContext } from './context.ts'
import { transact } from './db/client.ts'
import { describeError } from './errors.ts'
import { createRoute, createRouter, json } from './http.ts'

const states = ['ok', 'degraded', 'down'] as const
type State = (typeof states)[number]

const Readiness = z
  .object({ status: z.enum(states), checks: z.object({ database: z.enum(states), storage: z.enum(states) }) })
  .openapi('Readiness')

const common = { tags: ['Health'], security: [] }

const healthRoute = createRoute({
  method: 'get',
  path: '/health',
  ...common,
  operationId: 'health.get',
  summary: 'The process answers',
  responses: { 200: json(z.object({ status: z.literal('ok') }), 'Up') },
})

const readyRoute = createRoute({
  method: 'get',
  path: '/health/ready',
  ...common,
  operationId: 'health.ready',
  summary: 'Database and storage answer',
  description: '`degraded` means that the database login could bypass row-level security.',
  responses: { 200: json(Readiness, 'Ready or degraded'), 503: json(Readiness, 'Not ready') },
})

const keysRoute = createRoute({
  method: 'get',
  path: '/.well-known/jwks.json',
  ...common,
  operationId: 'key.list',
  summary: 'Public keys of the access tokens (RFC 7517)',
  responses: {
    200: json(
      z.object({
        keys: z.array(
          z.object({
            kty: z.string(),
            crv: z.string(),
            kid: z.string(),
            x: z.string(),
            alg: z.string(),
            use: z.string(),
          }),
        ),
      }),
      'The key set',
    ),
  },
})

const checkDatabase = async (ctx: Ctx): Promise<State> => {
  const {
    login: {
      rows: [login],
    },
  } = await transact(ctx, (db) => ({
    login: db.execute<{ bypasses: boolean }>(
      sql`select rolsuper or rolbypassrls as bypasses from pg_roles where rolname = session_user`,
    ),
  }))
  return login?.bypasses ? 'degraded' : 'ok'
}

const down = (ctx: Ctx, check: string) => (error: unknown) => {
  ctx.log({ level: 'error', message: 'not ready', check, error: describeError(error) })
  return 'down' as const
}

export const healthRoutes = createRouter()
  .openapi(healthRoute, (c) => c.json({ status: 'ok' as const }, 200))
  .openapi(readyRoute, async (c) => {
    const ctx = systemContext(c.var.env, { id: c.var.requestId })
    c.set('ctx', ctx)
    const [database, storage] = await Promise.all([
      checkDatabase(ctx).catch(down(ctx, 'database')),
      checkStorage(c.var.env).then(() => 'ok' as const, down(ctx, 'storage')),
    ])
    const status = [database, storage].reduce<State>(
      (worst, state) => (states.indexOf(state) > states.indexOf(worst) ? state : worst),
      'ok',
    )
    return c.json({ status, checks: { database, storage } }, status === 'down' ? 503 : 200)
  })
  .openapi(keysRoute, (c) => {
    c.header('cache-control', 'public, max-age=300')
    return c.json(
      publicKeySet(c.var.env) as {
        keys: Required<{ kty: string; crv: string; kid: string; x: string; alg: string; use: string }>[]
      },
      200,
    )
  })
