/** The only way to the database: one batch, one transaction, one HTTP request, the gate first. */
import { hash } from 'node:crypto'
import { NeonDbError, neon, neonConfig } from '@neondatabase/serverless'
import { type SQL, sql } from 'drizzle-orm'
import type { BatchItem } from 'drizzle-orm/batch'
import { drizzle } from 'drizzle-orm/neon-http'
import type { Ctx, Gate } from '../context.ts'
import { type ErrorCode, isGateRefusal, isUnknownOutcome, statusOf } from '../errors.ts'
import { tellOfUse } from '../outbox/use.ts'
import { remember } from '../remember.ts'
import { first } from './sql.ts'

/** Milliseconds; longer than any statement here should take. */
const TIMEOUT = 10_000

const send = (url: string, init: RequestInit) => {
  init.signal = AbortSignal.timeout(TIMEOUT)
  return fetch(url, init)
}
neonConfig.fetchFunction = send

const connect = (login: string) => {
  const { hostname, port } = new URL(login)
  const { fetchEndpoint } = neonConfig
  return {
    login,
    database: drizzle(neon(login)),
    url: typeof fetchEndpoint === 'string' ? fetchEndpoint : fetchEndpoint(hostname, port),
  }
}
type Connection = ReturnType<typeof connect>

export type Database = Connection['database']

/** By login. Nothing of a request is in them: each statement is a request of its own to the database's proxy. */
const connections = new Map<string, Connection>()

const connectionOf = ({ env, scope }: Ctx): Connection => {
  const login = scope === 'system' ? env.SYSTEM_DATABASE_URL : env.DATABASE_URL
  const known = connections.get(login)
  if (known) return known
  if (env.DATABASE_HTTP_URL) neonConfig.fetchEndpoint = env.DATABASE_HTTP_URL
  const connection = connect(login)
  connections.set(login, connection)
  return connection
}

/**
 * The gate: who is it, which workspace, may they? The claim is signed, so that nothing else that runs as the Worker's
 * login can make one, and comes back as a signed context.
 */
const sign = (ctx: Ctx, turn: boolean, called?: { what: Callable; with: object }) => {
  const { principal: credential, scope, workspaceId, role, stepUp, removes, action, request } = ctx
  const seals = ctx.seals?.map((secret) => hash('sha256', secret))
  const claim = JSON.stringify({
    credential,
    scope,
    workspaceId,
    role,
    stepUp,
    removes,
    action,
    request,
    seals,
    turn,
    ...called,
  })
  return { claim, proof: proofOf(ctx, claim) }
}

const proofOf = ({ env }: Ctx, claim: string) => hash('sha256', `${env.GATE_KEY}${claim}${env.GATE_KEY}`)

/** Proofs of what is claimed again and again. */
const proofs = new Map<string, string>()

/** The claim of a read, which leaves no trace: it names no request, and so is the same each time, but for who may need an account. */
const signRead = (ctx: Ctx) => {
  const { principal: credential, scope, workspaceId, role, action } = ctx
  if (credential.type === 'authjs') return sign(ctx, false)
  const claim = JSON.stringify({ credential, scope, workspaceId, role, action, turn: false })
  return { claim, proof: proofs.get(claim) ?? remember(proofs, claim, proofOf(ctx, claim)) }
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
  const db = connectionOf(ctx).database
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
 * One statement past Drizzle and the driver, which reads the login anew each time: that would be an eighth of what a read costs
 * (docs/performance.md). The protocol is the driver's, of one row with one value of JSON.
 * @throws {NeonDbError} as the driver does
 */
const post = async (
  { url, login }: Connection,
  query: string,
  params: readonly string[],
): Promise<string> => {
  const response = await send(url, {
    method: 'POST',
    headers: {
      'neon-connection-string': login,
      'neon-raw-text-output': 'true',
      'neon-array-mode': 'true',
    },
    body: JSON.stringify({ query, params }),
  })
  if (response.status === 400) throw Object.assign(new NeonDbError(''), await response.json())
  if (!response.ok) throw new NeonDbError(`the proxy answered ${response.status}: ${await response.text()}`)
  const { rows } = await response.json<{ rows: [[string]] }>()
  return rows[0][0]
}

const ask = <Answer>(ctx: Ctx, how: 'read' | 'read_own' | 'change', params: readonly string[]) =>
  account(ctx, async () => {
    try {
      // `as`: what the function answers.
      return JSON.parse(
        await post(connectionOf(ctx), `select app.${how}(${params.map((_, i) => `$${i + 1}`)})`, params),
      ) as Answer & { gate: Gate }
    } catch (cause) {
      if (cause instanceof NeonDbError) throw cause
      throw Object.assign(new NeonDbError('no answer from the database'), { cause })
    }
  })

/** What `app.read_own` reads: the caller, and their workspaces. */
const own: readonly string[] = ['me', 'workspaces']

/** What is read so; all else by `app.read`. */
type Readable =
  | 'me'
  | 'workspaces'
  | 'asset'
  | 'assets'
  | 'some assets'
  | 'matching assets'
  | 'generation'
  | 'generations'
  | 'audit logs'

/**
 * A read that is asked often: the gate and one function of the database in one statement (`app.read`), with parameters by
 * name; what is undefined is null.
 * @returns the function's rows, as Postgres makes JSON of them
 */
export const read = async <Row extends object>(
  ctx: Ctx,
  what: Readable,
  parameters: Record<string, unknown> = {},
): Promise<Row[]> => {
  const { claim, proof } = signRead(ctx)
  const how = own.includes(what) ? 'read_own' : 'read'
  const { rows } = await ask<{ rows: Row[] }>(ctx, how, [claim, proof, what, JSON.stringify(parameters)])
  return rows
}

/** What `app.change` calls. */
export type Callable =
  | 'accept'
  | 'claim'
  | 'note_calls'
  | 'keep_operation'
  | 'keep_calls'
  | 'renew'
  | 'release'
  | 'settle'
  | 'cancel'

/**
 * The gate and one function that changes a generation in one statement (`app.change`), in the workspace's turn (`change`),
 * with parameters by name, which the claim names, so that they are signed; what is undefined is null.
 * @returns the function's row, as Postgres makes JSON of it
 */
export const call = async <Row extends object>(
  ctx: Ctx,
  what: Callable,
  parameters: Record<string, unknown>,
): Promise<Row & { gate: Gate }> => {
  const { claim, proof } = sign(ctx, true, { what, with: parameters })
  const { gate, row } = await ask<{ row: Row }>(ctx, 'change', [claim, proof])
  return { ...row, gate }
}

/** Does what is harmless twice until the database has done it, for so many milliseconds. */
export const persist = async <T>(patience: number, attempt: () => Promise<T>): Promise<T> => {
  const end = Date.now() + patience
  for (let pause = 200; ; pause = Math.min(5000, pause * 2)) {
    try {
      return await attempt()
    } catch (error) {
      if (!isUnknownOutcome(error) || Date.now() + pause > end) throw error
      await scheduler.wait(pause)
    }
  }
}

/** Only the gate: for what needs a caller and no data. */
export const authorize = (ctx: Ctx) => transact(ctx, () => ({}))

/** A statement that refuses the whole transaction with `code` unless `condition` holds. */
export const ensure = (db: Database, condition: SQL, code: ErrorCode) =>
  db.execute(sql`select app.require((${condition}), ${statusOf(code)}, ${code})`)
