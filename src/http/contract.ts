/** The pieces that contracts are made of: bodies and scalars. */
// Brings `.openapi` to zod's schemas.
import { z } from '@hono/zod-openapi'

export { nameText, text } from '../text.ts'

/** Made once: to make a schema costs more than to check by it. */
export const uuid = z.uuid()

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
})

/** Headers of an answer that says where the thing is. */
export const located = { Location: { schema: { type: 'string' as const } } }

/** @param example one that works with things of one's own; the tests send it */
export const jsonBody = <T extends z.ZodType>(schema: T, example: z.input<T>) => ({
  body: { required: true, content: { 'application/json': { schema, example } } },
})

/** Lower-cased, since case makes no difference; the parts as long as RFC 5321, section 4.5.3.1, has them at most. */
export const Email = z
  .string()
  .trim()
  .toLowerCase()
  .max(254)
  .refine(
    (address) => /^\p{ASCII}*$/u.test(address),
    'must have ASCII characters only: write a domain such as münchen.de as xn--mnchen-3ya.de',
  )
  .pipe(
    z.email().refine((address) => address.indexOf('@') <= 64, 'must have at most 64 characters before the @'),
  )
  .openapi({ type: 'string', format: 'email', maxLength: 254 })

/** A code as people type it, with blanks or hyphens between its characters. */
export const typedCode = (form: RegExp, message: string) =>
  z
    .string()
    .max(40)
    .transform((text) => text.replace(/[\s-]/g, ''))
    .pipe(z.string().regex(form, message))
    .openapi({ type: 'string', maxLength: 40 })

/** ISO 8601 with `Z`, of a year that Postgres knows, and to the nanosecond at most. */
export const Timestamp = z.iso
  .datetime({ error: 'must be a time in UTC, such as 2026-01-31T12:00:00Z', abort: true })
  .max(30)
  .regex(/^(?!0000)/, 'must be after the year 0')
  .openapi({ format: 'date-time', description: 'In UTC, ending in `Z`' })

/** A patch that names at least one field. */
export const someOf = <Shape extends z.core.$ZodShape>(shape: Shape) =>
  z
    .strictObject(shape)
    .partial()
    .refine((changes) => Object.keys(changes).length > 0, 'must have at least one field')

/** Lower-cased, since case makes no difference: the same request is so however its ids are written. */
export const uuidPath = (name: string) =>
  z
    .uuid()
    .toLowerCase()
    .openapi({ param: { name, in: 'path' } })
export const IdPath = z.object({ id: uuidPath('id') })

/** Header of what may be sent again without being done again. */
export const IdempotencyKey = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x20-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters')
    .optional()
    .describe("The caller's own word for this request: sent again with it, it is not done again"),
})

/** Headers of an answer that may be one to an earlier request with the same key. */
export const replayable = {
  ...located,
  'Idempotent-Replayed': { schema: { type: 'string' as const }, required: false },
}
