/** The only way to the database: one batch, one transaction, one HTTP request, the gate first. */
import { neon, neonConfig } from '@neondatabase/serverless'
import { type SQL, sql } from 'drizzle-orm'
import type { BatchItem } from 'drizzle-orm/batch'
import { drizzle } from 'drizzle-orm/neon-http'
import type { Ctx, Gate } from '../context.ts'
import { type ErrorCode, isGateRefusal, statusOf } from '../errors.ts'
import { first } from './sql.ts'

/** Milliseconds; longer than any statement here should take. */
const TIMEOUT = 10_000

const connect = (ctx: Ctx) => {
  const { DATABASE_URL, DATABASE_HTTP_URL } = ctx.env
  if (DATABASE_HTTP_URL) neonConfig.fetchEndpoint = DATABASE_HTTP_URL
  return drizzle(neon(DATABASE_URL, { fetchOptions: { signal: AbortSignal.timeout(TIMEOUT) } }))
}

export type Database = ReturnType<typeof connect>

/** The gate: who is it, which workspace, may they? */
const enter = (db: Database, ctx: Ctx) => {
  const { principal, scope, role } = ctx
  const request = JSON.stringify(ctx.request)
  const workspaceId = ctx.workspaceId ?? null
  const action = ctx.action ?? null
  const answer =
    principal.type === 'system'
      ? sql`app.enter_system(${principal.userId ?? null}::uuid, ${workspaceId}::uuid, ${action}, ${request}::jsonb)`
      : sql`app.enter(${JSON.stringify(principal)}::jsonb, ${workspaceId}::uuid, ${scope === 'workspace'}, ${role}, ${action}, ${request}::jsonb)`
  return db.execute<Pick<Gate, keyof Gate>>(
    sql`select user_id "userId", workspace_id "workspaceId", role, plan from ${answer}`,
  )
}

type Statements = Record<string, BatchItem<'pg'>>
type Results<T extends Statements> = { [Name in keyof T]: T[Name]['_']['result'] }

/**
 * Runs the named statements in order, in one transaction behind the gate, and answers their results by name.
 * Statements can't see each other's results here: conditions belong in SQL (`ensure`).
 * @throws {NeonDbError} which errors.ts maps
 */
export const transact = async <T extends Statements>(
  ctx: Ctx,
  build: (db: Database) => T,
): Promise<Results<T> & { gate: Gate }> => {
  const db = connect(ctx)
  const databaseRole = ctx.scope === 'system' ? 'app_system' : 'app_tenant'
  const statements = build(db)
  const started = Date.now()
  ctx.database.requests++
  try {
    const [entered, , ...results] = await db.batch([
      enter(db, ctx),
      db.execute(sql`select set_config('role', ${databaseRole}, true)`),
      ...Object.values(statements),
    ])
    const gate = first(entered.rows)
    ctx.gate = gate
    // `as`: `fromEntries` forgets which result has which name.
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
