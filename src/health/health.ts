/** Whether the API can work: the state of database, storages and offers, and what the last walk through storage has found. */
import { sql } from 'drizzle-orm'
import { checkStorage } from '../assets/storage.ts'
import { modelsOf, usableModels, usableOffers } from '../catalogue/catalogue.ts'
import type { Ctx } from '../context.ts'
import { transact } from '../db/client.ts'
import { first } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { describeError } from '../errors.ts'
import { sweeperOf } from '../outbox/use.ts'
import { breakerOf } from '../providers/breakers.ts'
import { providerOf } from '../providers/registry.ts'
import { type HealthState as State, healthStates as states } from '../words.ts'

/** `degraded` when one of the Worker's two logins could do more than its own work. */
const checkDatabase = async (ctx: Ctx): Promise<State> => {
  const other = { workspace: 'app_system', user: 'app_system', system: 'app_tenant' }[ctx.scope]
  const { login } = await transact(ctx, (db) => ({
    login: db.execute<{ bypasses: boolean }>(
      sql`select rolsuper or rolbypassrls or pg_has_role(session_user, ${other}, 'member') as bypasses
            from pg_roles where rolname = session_user`,
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

/**
 * Of models that nobody can ask now, the offers that are retired; keys that are not set are a fault only where nothing
 * can be asked at all.
 */
const findUnserved = (env: Env) => {
  const servesAny = usableModels(env).length > 0
  return modelsOf(env)
    .filter((model) => usableOffers(env, model).length === 0)
    .flatMap(({ offers }) => offers)
    .map(({ provider, model }) => ({
      provider,
      model,
      reason: providerOf(provider).isConfigured(env) ? 'retired' : 'key_missing',
    }))
    .filter(({ reason }) => reason === 'retired' || !servesAny)
}

/** The offers that only the operator can mend, and why. */
const findFaults = async ({ env }: Ctx) => {
  const offers = new Map(
    usableModels(env).flatMap((usable) =>
      usable.offers.map((offer) => [`${offer.provider}:${offer.model}`, offer]),
    ),
  )
  const faults = await Promise.all(
    [...offers.values()].map(async ({ provider, model }) => {
      const reason = await breakerOf(env, { provider, model })
        .fault()
        .catch(() => null)
      return reason ? [{ provider, model, reason }] : []
    }),
  )
  const unserved = new Map(findUnserved(env).map((one) => [`${one.provider}:${one.model}`, one]))
  return [...faults.flat(), ...unserved.values()]
}

const worst = (...of: State[]) => states[Math.max(...of.map((state) => states.indexOf(state)))] ?? 'down'

/** Logs why a check has failed. */
const down =
  (ctx: Ctx, check: string) =>
  (error: unknown): State => {
    ctx.log({ level: 'error', message: 'not ready', check, error: describeError(error) })
    return 'down'
  }

/** Of a database that nobody uses it says what it was: the question would wake it. */
const findDatabase = async (ctx: Ctx): Promise<{ database: State; at: number }> => {
  const sweeper = sweeperOf(ctx.env)
  const wellAt = await sweeper.lastWell().catch(() => null)
  if (wellAt !== null) return { database: 'ok', at: wellAt }
  const database = worst(
    ...(await Promise.all(
      (['user', 'system'] as const).map((scope) =>
        checkDatabase({ ...ctx, scope }).catch(down(ctx, 'database')),
      ),
    )),
  )
  if (database === 'ok') await sweeper.noteWell().catch(() => undefined)
  return { database, at: Date.now() }
}

/** What the last walk through storage has found. */
const findWalk = async (ctx: Ctx) => {
  const walk = await sweeperOf(ctx.env)
    .lastWalk()
    .catch((error: unknown) => {
      ctx.log({ level: 'warn', message: 'sweeper unreachable', error: describeError(error) })
      return null
    })
  if (!walk) return null
  const { endedAt, withoutRow, withoutObject, isTrusted } = walk
  return {
    comparedAt: new Date(endedAt).toISOString(),
    objectsWithoutAsset: withoutRow,
    assetsWithoutObject: withoutObject,
    mends: isTrusted,
  }
}

/** Without the second one the first still does all of its work. */
const findStorage = async (ctx: Ctx): Promise<State> => {
  const { env } = ctx
  const [home, fallback] = await Promise.all([
    checkStorage(env).then((): State => 'ok', down(ctx, 'storage')),
    env.FALLBACK && checkStorage(env.FALLBACK).then((): State => 'ok', down(ctx, 'second storage')),
  ])
  return worst(home, fallback === 'down' ? 'degraded' : 'ok')
}

const checkNow = async (ctx: Ctx) => {
  const [{ database, at }, bucket, offers, files] = await Promise.all([
    findDatabase(ctx),
    findStorage(ctx),
    findFaults(ctx),
    findWalk(ctx),
  ])
  const storage = worst(bucket, files?.mends === false ? 'degraded' : 'ok')
  const models: State = offers.length > 0 ? 'degraded' : 'ok'
  return {
    status: worst(database, storage, models),
    checks: { database, storage, models },
    databaseAskedAt: new Date(at).toISOString(),
    offers,
    files,
  }
}
