/** The routes of API keys. */
import { z } from 'zod'
import { keyScopes } from '../audit/actions.ts'
import {
  createRoute,
  createRouter,
  IdPath,
  json,
  jsonBody,
  jsonProblems,
  listOf,
  operation,
  Paging,
  problemsOf,
  Timestamp,
  text,
  toPage,
} from '../http.ts'
import { type ApiKey, createApiKey, listApiKeys, revokeApiKey } from './api-keys.ts'

const tag = 'API keys'

const ApiKeyView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    start: z.string().describe("The key's first characters"),
    scopes: z.array(z.enum(keyScopes)),
    expiresAt: Timestamp.nullable(),
    lastUsedAt: Timestamp.nullable().describe('To the minute'),
    createdBy: z.uuid().nullable(),
    createdAt: Timestamp,
  })
  .openapi('ApiKey')

const present = (row: ApiKey): z.output<typeof ApiKeyView> => ({
  id: row.id,
  name: row.name,
  start: row.start,
  scopes: row.scopes as z.output<typeof ApiKeyView>['scopes'],
  expiresAt: row.expiresAt?.toISOString() ?? null,
  lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
  createdBy: row.createdBy,
  createdAt: row.createdAt.toISOString(),
})

const createKeyRoute = createRoute({
  method: 'post',
  path: '/api-keys',
  ...operation('api_key.create', { tag, summary: 'Make a key; it is shown once', role: 'admin' }),
  request: jsonBody(
    z.strictObject({
      name: text({ max: 100 }),
      scopes: z.array(z.enum(keyScopes)).min(1).max(keyScopes.length),
      expiresAt: Timestamp.refine((value) => Date.parse(value) > Date.now(), 'is in the past').optional(),
    }),
  ),
  responses: {
    201: json(ApiKeyView.extend({ key: z.string() }), 'The key'),
    ...problemsOf(...jsonProblems, 'workspace_required', 'not_found'),
  },
})

const listRoute = createRoute({
  method: 'get',
  path: '/api-keys',
  ...operation('api_key.list', { tag, summary: 'Keys in force, newest first', role: 'admin' }),
  request: { query: Paging },
  responses: {
    200: json(listOf(ApiKeyView), 'A page of keys'),
    ...problemsOf('workspace_required', 'forbidden', 'not_found'),
  },
})

const revokeRoute = createRoute({
  method: 'delete',
  path: '/api-keys/{id}',
  ...operation('api_key.revoke', { tag, summary: 'Revoke a key at once', role: 'admin' }),
  request: { params: IdPath },
  responses: {
    204: { description: 'Revoked' },
    ...problemsOf('workspace_required', 'forbidden', 'not_found'),
  },
})

export const keyRoutes = createRouter()
  .openapi(createKeyRoute, async (c) => {
    const { key, ...row } = await createApiKey(c.var.ctx, c.req.valid('json'))
    c.header('cache-control', 'no-store')
    return c.json({ ...present({ ...row }), key }, 201)
  })
  .openapi(listRoute, async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listApiKeys(c.var.ctx, query), query.limit, present), 200)
  })
  .openapi(revokeRoute, async (c) => {
    await revokeApiKey(c.var.ctx, c.req.valid('param').id)
    return c.body(null, 204)
  })
