/** Idempotency keys: a job that its caller asks for again with the same key is made once, and answered as at first. */
import { hash } from 'node:crypto'

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
