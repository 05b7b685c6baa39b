/** The routes of the audit log. */
import { z } from 'zod'
import { actions } from '../actions.ts'
import type { Ctx } from '../context.ts'
import { json, Timestamp, text } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { createRouter } from '../http/router.ts'
import { actorTypes } from '../words.ts'
import { type AuditLog, listAuditLogs } from './audit.ts'
import { type Checkpoint, listCheckpoints } from './checkpoints.ts'
import { verifyAuditLogs } from './verify.ts'

const tag = 'Audit'

const Fields = z.record(z.string(), z.unknown()).optional()

const EntryView = z
  .object({
    id: z.uuid(),
    action: z.enum(actions),
    actor: z.object({ type: z.enum(actorTypes), id: z.uuid().nullable() }),
    resourceType: z.string(),
    resourceId: z.uuid().nullable(),
    before: Fields.describe('Changed fields as they were; left out for what was created'),
    after: Fields.describe('Changed fields as they are; left out for what was deleted'),
    ip: z.string().nullable(),
    userAgent: z.string().nullable(),
    requestId: z.string().nullable(),
    createdAt: Timestamp,
  })
  .openapi('AuditEntry')

const toCamelCase = (fields: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [
      key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
      value,
    ]),
  )

const present = (row: AuditLog): z.output<typeof EntryView> => ({
  id: row.id,
  // `as`: plain text in the schema, written from this very list.
  action: row.action as z.output<typeof EntryView>['action'],
  actor: { type: row.actorType, id: row.actorId },
  resourceType: row.resourceType,
  resourceId: row.resourceId,
  ...(row.before && { before: toCamelCase(row.before) }),
  ...(row.after && { after: toCamelCase(row.after) }),
  ip: row.ip,
  userAgent: row.userAgent,
  requestId: row.requestId,
  createdAt: row.createdAt.toISOString(),
})

const Verdict = z.object({
  valid: z.boolean().describe('Of what was looked at: the whole log, once `next` is null'),
  entries: z.int().describe('Looked at'),
  brokenAt: z
    .uuid()
    .nullable()
    .describe(
      'The first entry that was changed, that follows a missing one, or that is not what its checkpoint says: then the change lies before it',
    ),
  truncated: z.boolean().describe('Entries are missing from the end'),
  verifiedTo: z.int().describe('Sequence of the last entry that holds'),
  next: z.int().nullable().describe('`since` of the request that goes on; null at the end'),
  forgedCheckpoint: z
    .int()
    .nullable()
    .describe('Sequence of the first checkpoint whose signature does not fit'),
  checkpointMatches: z
    .boolean()
    .nullable()
    .describe(
      'Whether the log has the entry that the checkpoint in the query signs; null if that may be pruned',
    ),
})

const CheckpointView = z
  .object({
    id: z.uuid(),
    sequence: z.int().describe('Entries that it covers'),
    hash: z.string().describe('Of the last one, which follows from all before it'),
    signature: z
      .string()
      .describe(
        'Compact JWS (EdDSA) over `{workspaceId, sequence, hash, at}`, by the key `kid` of /.well-known/jwks.json',
      ),
    kid: z.string(),
    createdAt: Timestamp,
  })
  .openapi('AuditCheckpoint')

const presentCheckpoint = (row: Checkpoint): z.output<typeof CheckpointView> => ({
  id: row.id,
  sequence: row.sequence,
  hash: row.hash,
  signature: row.signature,
  kid: row.kid,
  createdAt: row.createdAt.toISOString(),
})

const Filter = z.object({
  action: z.enum(actions).optional(),
  actorId: z.uuid().optional(),
  resourceType: text({ max: 40 }).optional(),
  resourceId: z.uuid().optional(),
  since: Timestamp.optional(),
  until: Timestamp.optional(),
})

/** Entries of one database request. */
const EXPORT_PAGE = 500

/** One page after the other, as the client reads; each passes the gate again. */
const exportLines = async (
  ctx: Ctx,
  filter: z.output<typeof Filter>,
): Promise<ReadableStream<Uint8Array>> => {
  const encoder = new TextEncoder()
  let rows = await listAuditLogs(ctx, { ...filter, limit: EXPORT_PAGE })
  return new ReadableStream({
    async pull(controller) {
      const { data } = toPage(rows, EXPORT_PAGE, present)
      if (data.length > 0)
        controller.enqueue(encoder.encode(data.map((entry) => `${JSON.stringify(entry)}\n`).join('')))
      if (rows.length <= EXPORT_PAGE) return controller.close()
      rows = await listAuditLogs(ctx, { ...filter, limit: EXPORT_PAGE, cursor: data.at(-1)?.id })
    },
  })
}

export const routes = createRouter()

routes.openapi(
  operation('audit.list', {
    method: 'get',
    path: '/audit-logs',
    tag,
    summary: 'What was done in the workspace, newest first',
    role: 'admin',
    request: { query: Paging.extend(Filter.shape) },
    responses: { 200: json(listOf(EntryView), 'A page of entries') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listAuditLogs(c.get('ctx'), query), query.limit, present), 200)
  },
)

routes.openapi(
  operation('audit.export', {
    method: 'get',
    path: '/audit-logs/export',
    tag,
    summary: 'All entries as NDJSON, newest first, streamed',
    role: 'admin',
    request: { query: Filter },
    responses: {
      200: {
        description: 'One entry a line',
        headers: { 'Content-Disposition': { schema: { type: 'string' } } },
        content: { 'application/x-ndjson': { schema: z.string() } },
      },
    },
  }),
  // `as`: the contract's types know JSON and text only.
  async (c) =>
    c.body(await exportLines(c.get('ctx'), c.req.valid('query')), 200, {
      'content-type': 'application/x-ndjson',
      'content-disposition': 'attachment; filename="audit-logs.ndjson"',
    }) as never,
)

routes.openapi(
  operation('checkpoint.list', {
    method: 'get',
    path: '/audit-logs/checkpoints',
    tag,
    summary: 'Signed checkpoints of the log, newest first',
    description:
      'Kept elsewhere, one of them proves to /audit-logs/verify, or by its signature, what the log once was.',
    role: 'admin',
    request: { query: Paging },
    responses: { 200: json(listOf(CheckpointView), 'A page of checkpoints') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    return c.json(toPage(await listCheckpoints(c.get('ctx'), query), query.limit, presentCheckpoint), 200)
  },
)

routes.openapi(
  operation('audit.verify', {
    method: 'get',
    path: '/audit-logs/verify',
    tag,
    summary: 'Does every entry still follow from the one before it, and agree with the checkpoints?',
    description:
      'Looks at up to 20,000 entries. A longer log takes further requests, each from the `next` of the one before it.',
    role: 'admin',
    limits: ['audit-verify'],
    request: {
      query: z.object({
        since: z
          .string()
          .regex(/^\d{1,15}$/, 'must be a sequence')
          .transform(Number)
          .openapi({ type: 'integer', minimum: 0 })
          .optional()
          .describe('Only entries after this sequence'),
        checkpoint: text({ max: 1000 })
          .optional()
          .describe('The `signature` of a checkpoint, to hold the log against'),
      }),
    },
    responses: { 200: json(Verdict, 'The verdict') },
  }),
  async (c) => c.json(await verifyAuditLogs(c.get('ctx'), c.req.valid('query')), 200),
)
