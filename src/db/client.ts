/** The only door to the database: one batch, one transaction, one HTTP request, the gate first. */
import { neon, neonConfig } from '@neondatabase/serverless'
import { type SQL, sql } from 'drizzle-orm'
import type { BatchItem } from 'drizzle-orm/batch'
import { drizzle } from 'drizzle-orm/neon-http'
import type { Ctx, Gate } from '../context.ts'
import { type ErrorCode, isGateRefusal, statusOf } from '../errors.ts'

/** Milliseconds; longer than any statement here should take. */
const TIMEOUT = 10_000

const connect = (ctx: Ctx) => {
  const { DATABASE_URL, DATABASE_HTTP_URL } = ctx.env
  if (DATABASE_HTTP_URL) neonConfig.fetchEndpoint = DATABASE_HTTP_URL
  return drizzle(neon(DATABASE_URL, { fetchOptions: { signal: AbortSignal.timeout(TIMEOUT) } }))
}

export type Database = ReturnType<typeof connect>

const enter = (ctx: Ctx) => {
  const request = JSON.stringify(ctx.request)
  const workspaceId = ctx.workspaceId ?? null
  const action = ctx.action ?? null
  return ctx.principal.type === 'system'
    ? sql`select * from app.enter_system(${ctx.principal.userId ?? null}::uuid, ${workspaceId}::uuid, ${action}, ${request}::jsonb)`
    : sql`select * from app.enter(${JSON.stringify(ctx.principal)}::jsonb, ${workspaceId}::uuid, ${ctx.scope === 'workspace'}, ${ctx.role}, ${action}, ${request}::jsonb)`
}

type Results<T extends Record<string, BatchItem<'pg'>>> = { [Name in keyof T]: T[Name]['_']['result'] }

/**
 * Runs the named statements in order, in one transaction behind the gate, and answers their results by name.
 * Statements can't see each other's results here: conditions belong into SQL (`ensure`).
 * @throws {NeonDbError} which errors.ts maps
 */
export const transact = async <T extends Record<string, BatchItem<'pg'>>>(
  ctx: Ctx,
  build: (db: Database) => T,
): Promise<Results<T> & { gate: Gate }> => {
  const db = connect(ctx)
  const role = ctx.scope === 'system' ? 'app_system' : 'app_tenant'
  const statements = build(db)
  const started = Date.now()
  ctx.database.requests++
  try {
    const [entered, , ...results] = await db.batch([
      db.execute(enter(ctx)),
      db.execute(sql`select set_config('role', ${role}, true)`),
      ...Object.values(statements),
    ])
    const row = entered.rows[0] as Record<string, string | null>
    const gate = {
      userId: row.user_id,
      workspaceId: row.workspace_id,
      role: row.role,
      plan: row.plan,
    } as Gate
    ctx.gate = gate
    const named = Object.fromEntries(
      Object.keys(statements).map((name, i) => [name, results[i]]),
    ) as Results<T>
    return { ...named, gate }
  } catch (error) {
    if (isGateRefusal(error)) ctx.gate = 'refused'
    throw error
  } finally {
    ctx.database.milliseconds += Date.now() - started
  }
}

/** Only the gate: for what needs a caller and no data. */
export const authorize = (ctx: Ctx) => transact(ctx, () => ({}))

/** A statement that refuses the whole transaction with `code` unless `condition` holds. */
export const ensure = (db: Database, condition: SQL, code: ErrorCode) =>
  db.execute(sql`select app.require((${condition}), ${statusOf(code)}, ${code})`)
