/** The pieces that contracts are made of: bodies, scalars, and the problems that a route can answer with. */
// Brings `.openapi` to zod's schemas.
import { z } from '@hono/zod-openapi'
import { type ErrorCode, Problem, statusOf } from '../errors.ts'

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
})

export const jsonBody = <T extends z.ZodType>(schema: T) => ({
  body: { required: true, content: { 'application/json': { schema } } },
})

/** Text that Postgres can store and people can read: no control characters, no lone surrogates. */
export const text = (options: { min?: number; max: number }) =>
  z
    .string()
    .trim()
    .min(options.min ?? 1)
    .max(options.max)
    .refine(
      (value) => value.isWellFormed() && !/[^\P{Cc}\t\n\r]/u.test(value),
      'has characters that are not text',
    )

/** Case makes no difference. */
export const Email = z
  .string()
  .trim()
  .toLowerCase()
  .max(254)
  .pipe(z.email())
  .openapi({ type: 'string', format: 'email', maxLength: 254 })

/** ISO 8601 with `Z`, of a year that Postgres knows. */
export const Timestamp = z.iso.datetime().regex(/^(?!0000)/, 'is before the year 1')

export const uuidPath = (name: string) => z.uuid().openapi({ param: { name, in: 'path' } })
export const IdPath = z.object({ id: uuidPath('id') })

/** Header of what may be sent again without being done again. */
export const IdempotencyKey = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x20-\x7e]{1,255}$/)
    .optional(),
})

/** Entries of a contract for the given refusals, by status. */
export const problemsOf = (codes: readonly ErrorCode[]) =>
  Object.fromEntries(
    Object.entries(Object.groupBy(new Set(codes), (code) => String(statusOf(code)))).map(
      ([status, group = []]) => [
        status,
        { description: group.join(', '), content: { 'application/problem+json': { schema: Problem } } },
      ],
    ),
  )
