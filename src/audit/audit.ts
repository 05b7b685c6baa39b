/** Reading the audit log; its rows are written by a database trigger (see migrations). */
import { and, desc, eq, gte, lt, type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { transact } from '../db/client.ts'
import { auditLogs } from '../db/schema.ts'
import type { Action } from './actions.ts'

export interface AuditFilter {
  limit: number
  cursor?: string | undefined
  action?: Action | undefined
  actorId?: string | undefined
  resourceType?: string | undefined
  resourceId?: string | undefined
  since?: string | undefined
  until?: string | undefined
}

/** `limit + 1` rows, newest first. */
export const listAuditLogs = async (ctx: Ctx, filter: AuditFilter) => {
  const conditions: (SQL | undefined)[] = [
    eq(auditLogs.workspaceId, sql`app.workspace_id()`),
    filter.cursor ? lt(auditLogs.id, filter.cursor) : undefined,
    filter.action ? eq(auditLogs.action, filter.action) : undefined,
    filter.actorId ? eq(auditLogs.actorId, filter.actorId) : undefined,
    filter.resourceType ? eq(auditLogs.resourceType, filter.resourceType) : undefined,
    filter.resourceId ? eq(auditLogs.resourceId, filter.resourceId) : undefined,
    filter.since ? gte(auditLogs.createdAt, new Date(filter.since)) : undefined,
    filter.until ? lt(auditLogs.createdAt, new Date(filter.until)) : undefined,
  ]
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(auditLogs)
      .where(and(...conditions))
      .orderBy(desc(auditLogs.id))
      .limit(filter.limit + 1),
  }))
  return rows
}
