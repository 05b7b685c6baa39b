/** Whether the API can work: the state of the database and of the storage. */
import { sql } from 'drizzle-orm'
import { checkStorage } from '../assets/storage.ts'
import type { Ctx } from '../context.ts'
import { transact } from '../db/client.ts'
import { first } from '../db/sql.ts'
import { describeError } from '../errors.ts'

/** From best to worst. */
export const states = ['ok', 'degraded', 'down'] as const
type State = (typeof states)[number]

/** `degraded` when the login could bypass row-level security. */
const checkDatabase = async (ctx: Ctx): Promise<State> => {
  const { login } = await transact(ctx, (db) => ({
    login: db.execute<{ bypasses: boolean }>(
      sql`select rolsuper or rolbypassrls as bypasses from pg_roles where rolname = session_user`,
    ),
  }))
  return first(login.rows).bypasses ? 'degraded' : 'ok'
}

/** Milliseconds that an answer stands for: the route is open to everybody, and asks the database and the storage. */
const FRESH = 3000

/** This isolate's last answer. */
let last: { at: number; readiness: Awaited<ReturnType<typeof checkNow>> } | undefined

export const checkReadiness = async (ctx: Ctx) => {
  if (!last || Date.now() - last.at > FRESH) last = { readiness: await checkNow(ctx), at: Date.now() }
  return last.readiness
}

const checkNow = async (ctx: Ctx) => {
  const down =
    (check: string) =>
    (error: unknown): State => {
      ctx.log({ level: 'error', message: 'not ready', check, error: describeError(error) })
      return 'down'
    }
  const [database, storage] = await Promise.all([
    checkDatabase(ctx).catch(down('database')),
    checkStorage(ctx.env).then((): State => 'ok', down('storage')),
  ])
  const worst = Math.max(states.indexOf(database), states.indexOf(storage))
  return { status: states[worst] ?? 'down', checks: { database, storage } }
}
