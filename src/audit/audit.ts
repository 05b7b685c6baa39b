/** The audit log: listed here; changes are recorded by a trigger (see migrations), refusals by a job. */
import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Action } from '../actions.ts'
import { type Ctx, type JobCtx, systemContext } from '../context.ts'
import { read, transact } from '../db/client.ts'
import { auditLogs } from '../db/schema.ts'
import { type Page, rowsOf } from '../db/sql.ts'
import { describeError } from '../errors.ts'
import type { RefusalMessage } from '../outbox/messages.ts'

export type AuditLog = typeof auditLogs.$inferSelect

export interface AuditFilter extends Page {
  action?: Action | undefined
  actorId?: string | undefined
  resourceType?: string | undefined
  resourceId?: string | undefined
  since?: string | undefined
  until?: string | undefined
}

/** `limit + 1` rows, newest first. */
export const listAuditLogs = async (ctx: Ctx, filter: AuditFilter): Promise<AuditLog[]> => {
  const { limit, cursor, since, until, actorId, resourceId, resourceType, action } = filter
  const rows = await read<Record<string, unknown>>(ctx, 'audit logs', {
    limit: limit + 1,
    before: cursor,
    since,
    until,
    actor: actorId,
    resource: resourceId,
    type: resourceType,
    action,
  })
  return rowsOf(auditLogs, rows)
}

/**
 * Has a job record that a caller's right was missing: the refused transaction is rolled back, and the answer does not
 * wait for a second one. Nothing in the outbox stands for it, so what the queue does not take is recorded at once.
 */
export const reportRefusal = async (
  ctx: Ctx,
  refusal: { workspaceId: string; actor: string },
): Promise<void> => {
  const { action, env, request, waitUntil } = ctx
  if (!action) return
  const { workspaceId } = refusal
  const message: RefusalMessage = { kind: 'refusal', subjectId: uuidv7(), action, request, ...refusal }
  try {
    await env.JOBS.send(message)
  } catch (error) {
    ctx.log({ level: 'warn', message: 'queue did not take the refusal', error: describeError(error) })
    await recordRefusal(
      { ...systemContext(env, { id: request.id, workspaceId, waitUntil }), workspaceId },
      message,
    ).catch(
      // The caller's answer stays the same.
      (cause: unknown) =>
        ctx.log({ level: 'error', message: 'refusal lost', ...message, error: describeError(cause) }),
    )
  }
}

/** The job: one row, by whoever was refused. */
export const recordRefusal = async (ctx: JobCtx, refusal: RefusalMessage): Promise<void> => {
  const { subjectId, action, actor } = refusal
  const [resourceType] = action.split('.')
  const refused: Ctx = {
    ...ctx,
    principal: { type: 'system', actor },
    action: 'access.refuse',
    request: refusal.request,
  }
  await transact(refused, (db) => ({
    turn: db.execute(sql`select pg_advisory_xact_lock(hashtextextended(${subjectId}, 0))`),
    // Delivered twice, even at once, is recorded once.
    recorded: db.execute(sql`
      select app.record('access.refuse', ${resourceType}, ${subjectId}::uuid, null, ${JSON.stringify({ action })}::jsonb)
       where not exists (select from audit_logs where workspace_id = (select app.workspace_id()) and action = 'access.refuse'
                          and resource_id = ${subjectId}::uuid)`),
  }))
}
