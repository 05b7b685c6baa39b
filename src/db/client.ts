/** The only way to the database: one batch, one transaction, one HTTP request, the gate first. */
import { hash } from 'node:crypto'
import { neon, neonConfig } from '@neondatabase/serverless'
import { type SQL, sql } from 'drizzle-orm'
import type { BatchItem } from 'drizzle-orm/batch'
import { drizzle } from 'drizzle-orm/neon-http'
import type { PgColumn } from 'drizzle-orm/pg-core'
import type { Ctx, Gate } from '../context.ts'
import { type ErrorCode, isGateRefusal, statusOf } from '../errors.ts'
import { tellOfUse } from '../outbox/use.ts'
import { first } from './sql.ts'

/** Milliseconds; longer than any statement here should take. */
const TIMEOUT = 10_000

neonConfig.fetchFunction = (url: string, init: RequestInit) =>
  fetch(url, { ...init, signal: AbortSignal.timeout(TIMEOUT) })

const connect = (login: string) => drizzle(neon(login))

export type Database = ReturnType<typeof connect>

/** By login. Nothing of a request is in them: each statement is a request of its own to the database's proxy. */
const databases = new Map<string, Database>()

const databaseOf = ({ env, scope }: Ctx): Database => {
  const login = scope === 'system' ? env.SYSTEM_DATABASE_URL : env.DATABASE_URL
  const known = databases.get(login)
  if (known) return known
  if (env.DATABASE_HTTP_URL) neonConfig.fetchEndpoint = env.DATABASE_HTTP_URL
  const database = connect(login)
  databases.set(login, database)
  return database
}

/**
 * The gate: who is it, which workspace, may they? The claim is signed, so that nothing else that runs as the Worker's
 * login can make one, and comes back as a signed context.
 */
const sign = (ctx: Ctx, turn: boolean) => {
  const { principal: credential, scope, workspaceId, role, action, request } = ctx
  const claim = JSON.stringify({ credential, scope, workspaceId, role, action, request, turn })
  const proof = hash('sha256', `${ctx.env.GATE_KEY}${claim}${ctx.env.GATE_KEY}`)
  return { claim, proof }
}

const enter = (db: Database, ctx: Ctx, turn: boolean) => {
  const { claim, proof } = sign(ctx, turn)
  return db.execute<Pick<Gate, keyof Gate>>(
    sql`select user_id "userId", workspace_id "workspaceId", role, plan from app.enter(${claim}, ${proof})`,
  )
}

/** Counts a request, and keeps what the gate made of it. */
const account = async <T extends { gate: Gate }>(ctx: Ctx, request: () => Promise<T>): Promise<T> => {
  const started = Date.now()
  ctx.database.requests++
  if (ctx.waitUntil) tellOfUse(ctx.env, ctx.waitUntil)
  try {
    const answer = await request()
    ctx.gate = answer.gate
    return answer
  } catch (error) {
    if (isGateRefusal(error)) ctx.gate = 'refused'
    throw error
  } finally {
    ctx.database.milliseconds += Date.now() - started
  }
}

type Statements = Record<string, BatchItem<'pg'>>
type Results<T extends Statements> = { [Name in keyof T]: T[Name]['_']['result'] }

const run = async <T extends Statements>(
  ctx: Ctx,
  build: (db: Database) => T,
  turn: boolean,
): Promise<Results<T> & { gate: Gate }> => {
  const db = databaseOf(ctx)
  const statements = build(db)
  return account(ctx, async () => {
    const [entered, ...results] = await db.batch([enter(db, ctx, turn), ...Object.values(statements)])
    // `as`: `fromEntries` forgets which result has which name.
    const named = Object.fromEntries(
      Object.keys(statements).map((name, i) => [name, results[i]]),
    ) as Results<T>
    return { ...named, gate: first(entered.rows) }
  })
}

/**
 * Runs the named statements in order, in one transaction behind the gate, and answers their results by name.
 * Statements can't see each other's results here: conditions belong in SQL (`ensure`).
 * @throws {NeonDbError} which errors.ts maps
 */
export const transact = <T extends Statements>(ctx: Ctx, build: (db: Database) => T) => run(ctx, build, false)

/**
 * The same in the workspace's turn: changes of one workspace come one after the other, so quotas hold, and the caller's
 * right is that of the moment. Whatever changes a row of a workspace that another change may touch goes this way.
 * @throws {NeonDbError} also not_found, if the workspace is deleted by then
 */
export const change = <T extends Statements>(ctx: Ctx, build: (db: Database) => T) => run(ctx, build, true)

/**
 * A read that is asked often: the gate and one function of the database in one statement, whose text is made once.
 * `source` names the function's rows as `columns` expect it, and its first argument is the gate's answer, so that the gate
 * comes first; `key` is a column that no row lacks. Its placeholders are the parameters.
 */
export const defineRead = <Row>(
  columns: Record<string, PgColumn | SQL>,
  key: PgColumn | SQL,
  source: SQL,
) => {
  // In SQL of their own, since no table of the query is theirs.
  const row = Object.fromEntries(
    Object.entries(columns).map(([name, column]) => [
      name,
      'table' in column ? sql`${column}`.mapWith(column) : column,
    ]),
  )
  const prepare = (db: Database) =>
    db
      .select({
        gate: {
          userId: sql<string>`gate.user_id`,
          workspaceId: sql<string>`gate.workspace_id`,
          role: sql<Gate['role']>`gate.role`,
          plan: sql<Gate['plan']>`gate.plan`,
        },
        isRow: sql<boolean>`${key} is not null`,
        row,
      })
      .from(sql`app.enter(${sql.placeholder('claim')}, ${sql.placeholder('proof')}) gate`)
      .leftJoinLateral(source, sql`true`)
      .prepare('read')
  const prepared = new Map<Database, ReturnType<typeof prepare>>()
  return (ctx: Ctx, parameters: Record<string, unknown> = {}) =>
    account(ctx, async () => {
      const db = databaseOf(ctx)
      const statement = prepared.get(db) ?? prepare(db)
      prepared.set(db, statement)
      const answer = await statement.execute({ ...sign(ctx, false), ...parameters })
      // `as`: the columns are those of `Row`.
      const rows = answer.flatMap((one) => (one.isRow ? [one.row as Row] : []))
      return { gate: first(answer).gate, rows }
    })
}

/**
 * The gate and one function of the database in one statement, in the workspace's turn (`change`). The function's first
 * argument is the gate's answer, so that the gate comes first. @returns the function's row
 */
export const call = async <Row extends Record<string, unknown>>(
  ctx: Ctx,
  source: SQL,
): Promise<Row & { gate: Gate }> => {
  const { claim, proof } = sign(ctx, true)
  return account(ctx, async () => {
    const { rows } = await databaseOf(ctx).execute<Row & { gate: Gate }>(sql`
      select jsonb_build_object('userId', gate.user_id, 'workspaceId', gate.workspace_id, 'role', gate.role, 'plan', gate.plan) gate, f.*
        from app.enter(${claim}, ${proof}) gate cross join lateral ${source} f`)
    return first(rows)
  })
}

/** Only the gate: for what needs a caller and no data. */
export const authorize = (ctx: Ctx) => transact(ctx, () => ({}))

/** A statement that refuses the whole transaction with `code` unless `condition` holds. */
export const ensure = (db: Database, condition: SQL, code: ErrorCode) =>
  db.execute(sql`select app.require((${condition}), ${statusOf(code)}, ${code})`)
