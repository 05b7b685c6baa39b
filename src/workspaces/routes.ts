/** The routes of workspaces. */
import { z } from 'zod'
import { IdPath, json, jsonBody, located, nameText, someOf, Timestamp } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { createRouter } from '../http/router.ts'
import { plans, roles } from '../words.ts'
import {
  createWorkspace,
  deleteWorkspace,
  getWorkspace,
  listWorkspaces,
  restoreWorkspace,
  updateWorkspace,
  type WorkspaceWithRole,
} from './workspaces.ts'

const tag = 'Workspaces'

const name = nameText({ max: 100 })
const slug = z
  .string()
  .regex(
    /^[a-z0-9]+(-[a-z0-9]+)*$/,
    'must be lower-case letters and digits, with single hyphens between them',
  )
  .min(3)
  .max(40)

export const WorkspaceView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    slug: z.string(),
    plan: z.enum(plans),
    secondFactorRequired: z.boolean().describe('Of its members'),
    role: z.enum(roles).describe("The caller's"),
    createdAt: Timestamp,
    updatedAt: Timestamp,
    deletedAt: Timestamp.nullable().describe('An owner can restore it for 30 days from then on'),
  })
  .openapi('Workspace')

export const presentWorkspace = (row: WorkspaceWithRole): z.output<typeof WorkspaceView> => ({
  id: row.id,
  name: row.name,
  slug: row.slug,
  plan: row.plan,
  secondFactorRequired: row.secondFactorRequired,
  role: row.role,
  createdAt: row.createdAt.toISOString(),
  updatedAt: row.updatedAt.toISOString(),
  deletedAt: row.deletedAt?.toISOString() ?? null,
})

export const routes = createRouter()

routes.openapi(
  operation('workspace.create', {
    method: 'post',
    path: '/workspaces',
    tag,
    summary: 'Create a workspace as its owner',
    scope: 'user',
    request: jsonBody(z.strictObject({ name, slug: slug.optional() }), { name: 'Mugs and More' }),
    responses: { 201: { ...json(WorkspaceView, 'The workspace'), headers: located } },
    refuses: ['plan_limit_reached', 'slug_taken'],
  }),
  async (c) => {
    const workspace = await createWorkspace(c.get('ctx'), c.req.valid('json'))
    c.header('location', `/api/v1/workspaces/${workspace.id}`)
    return c.json(presentWorkspace(workspace), 201)
  },
)

routes.openapi(
  operation('workspace.list', {
    method: 'get',
    path: '/workspaces',
    tag,
    summary: "The caller's workspaces, newest first",
    scope: 'user',
    request: {
      query: Paging.extend({
        deleted: z
          .enum(['true', 'false'])
          .default('false')
          .describe('`true`: instead those that the caller owns and can restore'),
      }),
    },
    responses: { 200: json(listOf(WorkspaceView), 'A page of workspaces') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    const page = { ...query, deleted: query.deleted === 'true' }
    return c.json(toPage(await listWorkspaces(c.get('ctx'), page), query.limit, presentWorkspace), 200)
  },
)

routes.openapi(
  operation('workspace.get', {
    method: 'get',
    path: '/workspaces/{id}',
    tag,
    summary: 'One workspace',
    workspaceInPath: true,
    request: { params: IdPath },
    responses: { 200: json(WorkspaceView, 'The workspace') },
  }),
  async (c) => c.json(presentWorkspace(await getWorkspace(c.get('ctx'))), 200),
)

routes.openapi(
  operation('workspace.update', {
    method: 'patch',
    path: '/workspaces/{id}',
    tag,
    summary: 'Change name or slug, or whether members need a second factor',
    description:
      'With `secondFactorRequired` sessions that were not proved by a second factor are answered with 403 `second_factor_required`; API keys stay. Only an owner whose own session was may change that.',
    role: 'admin',
    workspaceInPath: true,
    request: {
      params: IdPath,
      ...jsonBody(someOf({ name, slug, secondFactorRequired: z.boolean() }), { name: 'Mugs and More' }),
    },
    responses: { 200: json(WorkspaceView, 'The workspace') },
    refuses: ['slug_taken'],
  }),
  async (c) => c.json(presentWorkspace(await updateWorkspace(c.get('ctx'), c.req.valid('json'))), 200),
)

routes.openapi(
  operation('workspace.delete', {
    method: 'delete',
    path: '/workspaces/{id}',
    tag,
    summary: 'Delete a workspace and everything in it, in 30 days',
    description:
      'Nobody is let in from now on, keys stop, and jobs are canceled and refunded. For 30 days an owner finds it by `GET /workspaces?deleted=true` and can restore it; then files, rows and audit log are removed for good.',
    role: 'owner',
    stepUp: true,
    workspaceInPath: true,
    request: { params: IdPath },
    responses: { 204: { description: 'Deleted' } },
  }),
  async (c) => {
    await deleteWorkspace(c.get('ctx'))
    return c.body(null, 204)
  },
)

routes.openapi(
  operation('workspace.restore', {
    method: 'post',
    path: '/workspaces/{id}/restore',
    tag,
    summary: 'Restore a workspace that was deleted less than 30 days ago',
    description:
      'Needs the role `owner` in it. Members, files, keys and webhooks are there again; jobs that were canceled stay so, and free credits that went on to another workspace stay there if they were used there. One that is not deleted is answered as it is.',
    scope: 'user',
    request: { params: IdPath },
    responses: { 200: json(WorkspaceView, 'The workspace') },
    refuses: ['not_found', 'plan_limit_reached'],
  }),
  async (c) => c.json(presentWorkspace(await restoreWorkspace(c.get('ctx'), c.req.valid('param').id)), 200),
)
