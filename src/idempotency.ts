/** Idempotency keys: what its caller asks for again with the same key is done once, and answered as at first. */
import { hash } from 'node:crypto'
import { and, eq, not, type SQL, sql } from 'drizzle-orm'
import type { Ctx } from './context.ts'
import { type Database, ensure, transact } from './db/client.ts'
import { currentActor, idempotencyKeys } from './db/schema.ts'
import { exists, first, inWorkspace } from './db/sql.ts'
import { AppError, toAppError } from './errors.ts'

export interface Idempotency {
  key: string
  requestHash: string
}

const sortKeys = (_: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort())
    : value

/** SHA-256 of a request as it was sent, hex: before defaults, which may change, and whatever the order of its fields. */
export const hashRequest = (action: 'create' | 'retry' | 'upload' | 'export', sent: unknown): string =>
  hash('sha256', JSON.stringify([action, sent], sortKeys))

/** Of a request with a key. */
export const idempotencyOf = (
  key: string | undefined,
  ...request: Parameters<typeof hashRequest>
): Idempotency | undefined => (key === undefined ? undefined : { key, requestHash: hashRequest(...request) })

/** SQL: the caller's own. */
export const oneKey = ({ key }: Idempotency) =>
  and(
    inWorkspace(idempotencyKeys),
    eq(idempotencyKeys.caller, sql`(select ${currentActor})`),
    eq(idempotencyKeys.key, key),
  )

/** Refuses what was asked for before: first of the statements of a change. */
export const isNewKey = (db: Database, idempotency: Idempotency) =>
  ensure(db, not(exists(idempotencyKeys, oneKey(idempotency))), 'idempotency_key_reused')

/** Notes what a key made: `body`, SQL of a JSON object. */
export const noteKey = (db: Database, { key, requestHash }: Idempotency, body: SQL) =>
  db.execute(
    sql`insert into idempotency_keys (key, request_hash, body) values (${key}, ${requestHash}, ${body})`,
  )

/**
 * Does `work`, or finds what an earlier request with the same key made.
 * @throws {AppError} idempotency_key_reused: that was another request
 */
export const once = async <T, Known>(
  ctx: Ctx,
  idempotency: Idempotency | undefined,
  work: () => Promise<T>,
  answer: (body: Known) => Promise<T>,
): Promise<T & { replayed: boolean }> => {
  try {
    return { ...(await work()), replayed: false }
  } catch (thrown) {
    if (!idempotency || toAppError(thrown).code !== 'idempotency_key_reused') throw thrown
    const { rows } = await transact(ctx, (db) => ({
      rows: db.select().from(idempotencyKeys).where(oneKey(idempotency)),
    }))
    const { requestHash, body } = first(rows)
    if (requestHash !== idempotency.requestHash) throw new AppError('idempotency_key_reused')
    // `as`: the same request noted it.
    return { ...(await answer(body as Known)), replayed: true }
  }
}
