/** Idempotency keys: a job that its caller asks for again with the same key is made once, and answered as at first. */
import { hash } from 'node:crypto'
import { and, eq, getTableColumns, type SQL, sql } from 'drizzle-orm'
import type { Database } from '../db/client.ts'
import { currentActor, generations, idempotencyKeys } from '../db/schema.ts'
import { exists, inWorkspace } from '../db/sql.ts'
import { AppError } from '../errors.ts'
import { type GenerationWithOutputs, oneGeneration, positionInLine } from './generations.ts'

export interface Idempotency {
  key: string
  requestHash: string
}

const sortKeys = (_: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort())
    : value

/** SHA-256 of a request as it was sent, hex: before defaults, which may change, and whatever the order of its fields. */
export const hashRequest = (action: 'create' | 'retry', sent: unknown): string =>
  hash('sha256', JSON.stringify([action, sent], sortKeys))

const isThis = ({ key }: Idempotency) =>
  and(inWorkspace(idempotencyKeys), eq(idempotencyKeys.caller, currentActor), eq(idempotencyKeys.key, key))

/** SQL: the key came with an earlier request. */
export const isRepeated = (idempotency: Idempotency | undefined): SQL =>
  idempotency ? exists(idempotencyKeys, isThis(idempotency)) : sql`false`

/** SQL: the id of the new job, or of the one that the key made before, with which an insert does nothing. */
export const idFor = (id: string, idempotency: Idempotency | undefined): SQL =>
  idempotency
    ? sql`coalesce((select ${idempotencyKeys.generationId} from ${idempotencyKeys} where ${isThis(idempotency)}), ${id}::uuid)`
    : sql`${id}::uuid`

/** Statements that keep what a new job is answered with, and find what an earlier one was. */
export const keepAnswer = (db: Database, id: string, idempotency: Idempotency | undefined) => ({
  kept: db.execute(sql`
    insert into idempotency_keys (key, request_hash, generation_id, body)
    select ${idempotency?.key ?? null}, ${idempotency?.requestHash ?? null}, id,
           to_jsonb(generations) || jsonb_build_object('position', ${positionInLine})
      from generations where ${oneGeneration(id)} and ${idempotency !== undefined}`),
  earlier: db
    .select()
    .from(idempotencyKeys)
    .where(idempotency ? isThis(idempotency) : sql`false`),
})

/**
 * The job as it was first answered, if the key made it before.
 * @throws {AppError} idempotency_key_reused
 */
export const replayOf = (
  id: string,
  idempotency: Idempotency | undefined,
  [earlier]: readonly (typeof idempotencyKeys.$inferSelect)[],
): GenerationWithOutputs | undefined => {
  if (!earlier || earlier.generationId === id) return undefined
  if (earlier.requestHash !== idempotency?.requestHash) throw new AppError('idempotency_key_reused')
  const { body } = earlier
  const row = Object.entries(getTableColumns(generations)).map(([name, column]) => {
    const value = body[column.name] ?? null
    return [name, value === null ? null : column.mapFromDriverValue(value)]
  })
  // `as`: the row was one of this table when it was kept.
  return { ...Object.fromEntries(row), position: body.position, outputs: [] } as GenerationWithOutputs
}
