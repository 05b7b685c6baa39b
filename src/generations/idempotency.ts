/** Idempotency keys: a job that its caller asks for again with the same key is made once, and answered as at first. */
import { hash } from 'node:crypto'
import { and, eq, type SQL, sql } from 'drizzle-orm'
import { currentActor, idempotencyKeys } from '../db/schema.ts'
import { exists, inWorkspace } from '../db/sql.ts'

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
