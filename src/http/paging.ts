/** Lists: `limit` and `cursor` in the query, one page and the next cursor in the answer. */
// Brings `.openapi` to zod's schemas.
import { z } from '@hono/zod-openapi'
import { uuid } from './contract.ts'

const toCursor = (id: string) => Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url')

const Cursor = z
  .string()
  .transform((value) => {
    const hex = Buffer.from(value, 'base64url').toString('hex')
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  })
  .refine((id) => uuid.safeParse(id).success, 'must be the nextCursor of an earlier page')
  .openapi({ type: 'string', description: 'The `nextCursor` of the page before' })

/** Query of a list: `limit` 1..100 (default 20) and the `cursor` of the page before. */
export const Paging = z.object({
  limit: z
    .string()
    .regex(/^\d{1,3}$/, 'must be a number from 1 to 100')
    .transform(Number)
    .pipe(z.int().min(1).max(100))
    .default(20)
    .openapi({ type: 'integer', minimum: 1, maximum: 100, default: 20, description: 'Entries of a page' }),
  cursor: Cursor.optional(),
})

export const listOf = <T extends z.ZodType>(item: T) =>
  z.object({ data: z.array(item), nextCursor: z.string().nullable() })

/** One page from `limit + 1` rows in the order of their ids; with fewer, the next begins after `stoppedAt`, if anywhere. */
export const toPage = <Row extends { id: string }, Item>(
  rows: readonly Row[],
  limit: number,
  present: (row: Row) => Item,
  stoppedAt?: string,
) => {
  const page = rows.slice(0, limit)
  const last = rows.length > limit ? page.at(-1)?.id : stoppedAt
  return { data: page.map(present), nextCursor: last ? toCursor(last) : null }
}
