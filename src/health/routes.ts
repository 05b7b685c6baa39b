/**
 * The routes of health, and of the public keys that verify what is signed here. `/health` is what asks a fresh process, so
 * nothing is loaded for it that it does not need.
 */
import { createRoute } from '@hono/zod-openapi'
import { z } from 'zod'
import { systemContext } from '../context.ts'
import { json } from '../http/contract.ts'
import { problemsOf } from '../http/problems.ts'
import { createRouter } from '../http/router.ts'
import { healthStates as states } from '../words.ts'

const Readiness = z
  .object({
    status: z.enum(states),
    checks: z.object({ database: z.enum(states), storage: z.enum(states), models: z.enum(states) }),
    databaseAskedAt: z.iso.datetime().describe('Earlier than now while nobody uses the database'),
    offers: z
      .array(z.object({ provider: z.string(), model: z.string(), reason: z.string() }))
      .describe('Those that only the operator can mend'),
    files: z
      .object({
        comparedAt: z.iso.datetime(),
        objectsWithoutAsset: z.int(),
        assetsWithoutObject: z.int(),
        mends: z.boolean().describe('False: so much is amiss that its operator has to look first'),
      })
      .nullable()
      .describe(
        'What the last comparison of storage with the database found, each counted to 101; null before the first',
      ),
  })
  .openapi('Readiness')

const PublicKeySet = z.object({
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
})

const common = { tags: ['Health'], security: [] }

/** What any route answers while a setting is missing or wrong. */
const faults = problemsOf(['internal_error', 'misconfigured'])

export const routes = createRouter()

routes.openapi(
  createRoute({
    method: 'get',
    path: '/health',
    ...common,
    operationId: 'health.get',
    summary: 'Is the process up?',
    description: 'Touches nothing else.',
    responses: { ...faults, 200: json(z.object({ status: z.literal('ok') }), 'Up') },
  }),
  (c) => c.json({ status: 'ok' as const }, 200),
)

routes.openapi(
  createRoute({
    method: 'get',
    path: '/health/ready',
    ...common,
    operationId: 'health.ready',
    summary: 'Do the database and the storage answer?',
    description:
      'The answer is a few seconds old at most; that of a database which nobody has used for some minutes stands for as long as nobody does, so that it can sleep. `degraded`: a database login could bypass row-level security, an offer of the catalogue needs its operator, storage and database differ too much to be mended, or the second storage does not answer.',
    responses: {
      ...faults,
      200: json(Readiness, 'Ready or degraded'),
      503: {
        description: 'Not ready, or misconfigured',
        content: { ...json(Readiness, '').content, ...faults[503]?.content },
      },
    },
  }),
  async (c) => {
    const ctx = systemContext(c.get('env'), { id: c.get('requestId'), waitUntil: null })
    c.set('ctx', ctx)
    const { checkReadiness } = await import('./health.ts')
    const readiness = await checkReadiness(ctx)
    return c.json(readiness, readiness.status === 'down' ? 503 : 200)
  },
)

routes.openapi(
  createRoute({
    method: 'get',
    path: '/.well-known/jwks.json',
    ...common,
    operationId: 'key.list',
    summary: 'Public keys of the access tokens and of the audit checkpoints (RFC 7517)',
    description: 'For whoever wants to verify access tokens, or checkpoints of audit logs.',
    responses: { ...faults, 200: json(PublicKeySet, 'The key set') },
  }),
  async (c) => {
    const [{ publicKeySet }, { checkpointKeySet }] = await Promise.all([
      import('../auth/tokens.ts'),
      import('../audit/checkpoints.ts'),
    ])
    c.header('cache-control', 'public, max-age=300')
    const env = c.get('env')
    return c.json({ keys: [...publicKeySet(env).keys, ...checkpointKeySet(env).keys] }, 200)
  },
)
