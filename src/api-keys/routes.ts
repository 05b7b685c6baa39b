/** The routes of API keys. */
import { z } from 'zod'
import { keyScopes } from '../actions.ts'
import { IdPath, json, jsonBody, located, nameText, Timestamp } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { createRouter } from '../http/router.ts'
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
  // `as`: an array of plain text in the schema, written from this very list.
  scopes: row.scopes as z.output<typeof ApiKeyView>['scopes'],
  expiresAt: row.expiresAt?.toISOString() ?? null,
  lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
  createdBy: row.createdBy,
  createdAt: row.createdAt.toISOString(),
})

export const routes = createRouter()

routes.openapi(
  operation('api_key.create', {
    method: 'post',
    path: '/api-keys',
    tag,
    summary: 'Create a key; it is shown once',
    description: 'A workspace has up to 100; those that have expired make room.',
    role: 'admin',
    stepUp: true,
    request: jsonBody(
      z.strictObject({
        name: nameText({ max: 100 }),
        scopes: z.array(z.enum(keyScopes)).min(1).max(keyScopes.length),
        expiresAt: Timestamp.refine(
          (value) => Date.parse(value) > Date.now(),
          'must be in the future',
        ).optional(),
      }),
      {
        name: 'shop server',
        scopes: ['asset.create', 'generation.create', 'generation.get', 'generation.events'],
      },
    ),
    responses: { 201: { ...json(ApiKeyView.extend({ key: z.string() }), 'The key'), headers: located } },
    refuses: ['plan_limit_reached'],
  }),
  async (c) => {
    const { key, ...row } = await createApiKey(c.get('ctx'), c.req.valid('json'))
    c.header('cache-control', 'no-store')
    c.header('location', `/api/v1/api-keys/${row.id}`)
    return c.json({ ...present(row), key }, 201)
  },
)

routes.openapi(
  operation('api_key.list', {
    method: 'get',
    path: '/api-keys',
    tag,
    summary: 'Keys in force, newest first',
    role: 'admin',
    request: { query: Paging },
    responses: { 200: json(listOf(ApiKeyView), 'A page of keys') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listApiKeys(c.get('ctx'), query), query.limit, present), 200)
  },
)

routes.openapi(
  operation('api_key.revoke', {
    method: 'delete',
    path: '/api-keys/{id}',
    tag,
    summary: 'Revoke a key at once',
    role: 'admin',
    request: { params: IdPath },
    responses: { 204: { description: 'Revoked' } },
  }),
  async (c) => {
    await revokeApiKey(c.get('ctx'), c.req.valid('param').id)
    return c.body(null, 204)
  },
)
