/** The audit log of a workspace, for its admins. */
import { z } from 'zod'
import { actorTypes, type auditLogs } from '../db/schema.ts'
import {
  createRoute,
  createRouter,
  json,
  listOf,
  operation,
  Paging,
  problemsOf,
  Timestamp,
  toPage,
} from '../http.ts'
import { actions } from './actions.ts'
import { listAuditLogs } from './audit.ts'

const Fields = z.record(z.string(), z.unknown()).optional()

const AuditEntry = z
  .object({
    id: z.uuid(),
    action: z.enum(actions),
    actor: z.object({ type: z.enum(actorTypes), id: z.uuid().nullable() }),
    resourceType: z.string(),
    resourceId: z.uuid().nullable(),
    before: Fields.describe('Changed fields as they were; left out for what was created'),
    after: Fields.describe('Changed fields as they are; left out for what was deleted'),
    ip: z.string().nullable(),
    userAgent: z.string().nullable(),
    requestId: z.string().nullable(),
    createdAt: Timestamp,
  })
  .openapi('AuditEntry')

const toCamelCase = (fields: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  )

const present = (row: typeof auditLogs.$inferSelect): z.output<typeof AuditEntry> => ({
  id: row.id,
  action: row.action as z.output<typeof AuditEntry>['action'],
  actor: { type: row.actorType, id: row.actorId },
  resourceType: row.resourceType,
  resourceId: row.resourceId,
  ...(row.before && { before: toCamelCase(row.before) }),
  ...(row.after && { after: toCamelCase(row.after) }),
  ip: row.ip,
  userAgent: row.userAgent,
  requestId: row.requestId,
  createdAt: row.createdAt.toISOString(),
})

const listRoute = createRoute({
  method: 'get',
  path: '/audit-logs',
  ...operation('audit.list', {
    tag: 'Audit',
    summary: 'What was done in the workspace, newest first',
    role: 'admin',
  }),
  request: {
    query: Paging.extend({
      action: z.enum(actions).optional(),
      actorId: z.uuid().optional(),
      resourceType: z.string().max(40).optional(),
      resourceId: z.uuid().optional(),
      since: Timestamp.optional(),
      until: Timestamp.optional(),
    }),
  },
  responses: {
    200: json(listOf(AuditEntry), 'A page of entries'),
    ...problemsOf('workspace_required', 'forbidden', 'not_found'),
  },
})

export const auditRoutes = createRouter().openapi(listRoute, async (c) => {
  const query = c.req.valid('query')
  return c.json(toPage(await listAuditLogs(c.var.ctx, query), query.limit, present), 200)
})
