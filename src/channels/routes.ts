/** The routes of channels: what an asset misses of their rules, and copies that meet them. */
import { z } from 'zod'
import { IdempotencyKey, IdPath, json, jsonBody, replayable, Timestamp } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { createRouter } from '../http/router.ts'
import { idempotencyOf } from '../idempotency.ts'
import { channels, exportRefusals, exportStatuses, tasks } from '../words.ts'
import { checkAsset } from './checks.ts'
import { createExports, type Export, listExports } from './exports.ts'

const tag = 'Channels'

const CheckView = z.object({
  rule: z.string(),
  level: z.enum(['required', 'recommended']),
  passes: z.boolean().nullable().describe('Null where it cannot be told'),
  found: z.string().nullable(),
  wanted: z.string(),
  helps: z
    .enum(['export', ...tasks])
    .nullable()
    .describe('What may help where it does not pass: an export, or a task for a model'),
  source: z.string().nullable().describe('Where the rule is written'),
  asOf: z.string().nullable().describe('The month in which that was read'),
})

const ReportView = z
  .object({
    assetId: z.uuid(),
    data: z.array(
      z.object({
        channel: z.enum(channels),
        passes: z.boolean().describe('Whether nothing that is required is missed'),
        checks: z.array(CheckView),
      }),
    ),
  })
  .openapi('ChannelChecks')

const ExportView = z
  .object({
    id: z.uuid(),
    assetId: z.uuid(),
    channel: z.enum(channels),
    status: z.enum(exportStatuses),
    outputId: z.uuid().nullable().describe('The new asset, once there is one'),
    refusal: z
      .object({
        code: z.enum(exportRefusals),
        detail: z.string(),
        helps: z.enum(tasks).nullable().describe('The task whose result could be exported'),
      })
      .nullable(),
    createdBy: z.uuid().nullable(),
    createdAt: Timestamp,
    endedAt: Timestamp.nullable(),
  })
  .openapi('Export')

const presentExport = (row: Export): z.output<typeof ExportView> => ({
  id: row.id,
  assetId: row.assetId,
  channel: row.channel,
  status: row.status,
  outputId: row.status === 'succeeded' ? row.outputId : null,
  refusal: row.refusal,
  createdBy: row.createdBy,
  createdAt: row.createdAt.toISOString(),
  endedAt: row.endedAt?.toISOString() ?? null,
})

export const routes = createRouter()

routes.openapi(
  operation('asset.check', {
    method: 'get',
    path: '/assets/{id}/checks',
    tag,
    summary: "Hold an asset against a channel's rules",
    description:
      'Without `channel` against those of all. Pixels are measured exactly, in sRGB and as shown; films by what their index says.',
    limits: ['check'],
    request: { params: IdPath, query: z.object({ channel: z.enum(channels).optional() }) },
    responses: { 200: json(ReportView, 'Rule by rule, what was found and what is wanted') },
    refuses: ['upload_incomplete'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const { channel } = c.req.valid('query')
    const data = await checkAsset(c.get('ctx'), id, channel ? [channel] : channels)
    return c.json({ assetId: id, data }, 200)
  },
)

routes.openapi(
  operation('export.create', {
    method: 'post',
    path: '/assets/{id}/exports',
    tag,
    summary: 'Have copies made that channels accept',
    description:
      'Each becomes a new asset of source `export`, or is refused by name: `GET` of the same path tells. One that is still to be made is answered as it is. With an `Idempotency-Key` the same request of the same caller twice makes them once.',
    role: 'member',
    limits: ['export'],
    request: {
      params: IdPath,
      headers: IdempotencyKey,
      ...jsonBody(z.strictObject({ channels: z.array(z.enum(channels)).min(1).max(channels.length) }), {
        channels: ['web'],
      }),
    },
    responses: {
      202: { ...json(z.object({ data: z.array(ExportView) }), 'What is to be made'), headers: replayable },
    },
    refuses: ['storage_quota_exceeded', 'upload_incomplete', 'idempotency_key_reused'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const key = c.req.valid('header')['idempotency-key']
    const idempotency = idempotencyOf(key, 'export', { id, ...(await c.req.json<object>()) })
    const { channels: asked } = c.req.valid('json')
    const { exports, replayed } = await createExports(c.get('ctx'), id, asked, idempotency)
    if (replayed) c.header('idempotent-replayed', 'true')
    c.header('location', `/api/v1/assets/${id}/exports`)
    return c.json({ data: exports.map(presentExport) }, 202)
  },
)

routes.openapi(
  operation('export.list', {
    method: 'get',
    path: '/assets/{id}/exports',
    tag,
    summary: 'What became of exports, newest first',
    request: { params: IdPath, query: Paging },
    responses: { 200: json(listOf(ExportView), 'A page of exports') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    const rows = await listExports(c.get('ctx'), c.req.valid('param').id, query)
    return c.json(toPage(rows, query.limit, presentExport), 200)
  },
)
