/** The routes of assets. */
import { parseAccept } from 'hono/utils/accept'
import { z } from 'zod'
import { AppError } from '../errors.ts'
import { IdPath, json, jsonBody, located, nameText, someOf, Timestamp, text } from '../http/contract.ts'
import { operation } from '../http/operation.ts'
import { listOf, Paging, toPage } from '../http/paging.ts'
import { ErrorCodeView } from '../http/problems.ts'
import { createRouter } from '../http/router.ts'
import {
  assetKinds,
  assetSources,
  assetStatuses,
  channels,
  copyFormats,
  copyWidths,
  mediaKinds,
  providerNames,
  styles,
  tasks,
} from '../words.ts'
import {
  type Asset,
  deleteAsset,
  downloadAssets,
  getAsset,
  getLineage,
  getReadyAsset,
  listAssets,
  updateAsset,
} from './assets.ts'
import { getCopy } from './copies.ts'
import { FileName } from './names.ts'
import { presignDownload, presignShown } from './presign.ts'
import { uploadAsset } from './upload.ts'

const tag = 'Assets'

export const exampleAsset = {
  id: '0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11',
  workspaceId: '0198c1dd-2b84-7d10-8f6e-5c1d3e9a4b02',
  name: 'mug.jpg',
  kind: 'image',
  mimeType: 'image/jpeg',
  size: 48_213,
  sha256: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  width: 1200,
  height: 900,
  source: 'upload',
  status: 'ready',
  tags: ['spring'],
  createdBy: '0198c1dc-91f3-7a6e-b0c4-2d7f8e1a5c33',
  createdAt: '2026-01-31T12:00:00.000Z',
}

export const AssetView = z
  .object({
    id: z.uuid(),
    workspaceId: z.uuid(),
    name: z.string(),
    kind: z.enum(assetKinds),
    mimeType: z.string(),
    size: z.int().describe('Bytes'),
    sha256: z.string().optional().describe('Hex; once the file is ready'),
    width: z.int().optional().describe('Pixels; images only'),
    height: z.int().optional().describe('Pixels; images only'),
    durationSeconds: z.number().optional().describe('Of films that say'),
    pages: z.int().optional().describe('Of PDFs that say'),
    source: z.enum(assetSources),
    status: z.enum(assetStatuses).describe('`pending`: announced, and not all there, or not yet read'),
    tags: z.array(z.string()),
    createdBy: z.uuid().nullable(),
    createdAt: Timestamp,
  })
  .openapi('Asset', { example: exampleAsset })

export const presentAsset = (row: Asset): z.output<typeof AssetView> => ({
  id: row.id,
  workspaceId: row.workspaceId,
  name: row.name,
  kind: row.kind,
  mimeType: row.mimeType,
  size: row.size,
  ...(row.sha256 !== null && { sha256: row.sha256 }),
  ...(row.width !== null && { width: row.width }),
  ...(row.height !== null && { height: row.height }),
  ...(row.durationSeconds !== null && { durationSeconds: row.durationSeconds }),
  ...(row.pages !== null && { pages: row.pages }),
  source: row.source,
  status: row.status,
  tags: row.tags,
  createdBy: row.createdBy,
  createdAt: row.createdAt.toISOString(),
})

/** Pixels, as text of a query. */
const CopyWidth = z
  .string()
  .regex(/^\d{1,4}$/, `must be one of ${copyWidths.join(', ')}`)
  .transform(Number)
  .pipe(z.literal(copyWidths))
  .openapi({ type: 'integer', enum: [...copyWidths] })

const Disposition = z
  .enum(['inline', 'attachment'])
  .default('attachment')
  .describe('Pictures and films may be shown inline; others are attachments all the same')

const Link = z.object({
  url: z.url().describe('For ten minutes at a time the same, so that it can be cached'),
  expiresAt: Timestamp,
})

const Tag = nameText({ max: 50 })

/** JSON Schema and not zod's: a validator would read the whole body into memory. */
const fileForm = {
  type: 'object' as const,
  properties: { file: { type: 'string' as const, format: 'binary' } },
  required: ['file'],
}
/** The file itself, whose type its content tells. */
const rawTypes = Object.fromEntries(
  ['application/octet-stream', ...Object.keys(mediaKinds)].map((type) => [
    type,
    { schema: { type: 'string' as const, format: 'binary' } },
  ]),
)

export const routes = createRouter()

routes.openapi(
  operation('asset.create', {
    method: 'post',
    path: '/assets/upload',
    tag,
    summary: 'Upload a file',
    description:
      'One `file` of up to 95 MB, or the file itself as the body: JPEG, PNG, WebP, GIF, AVIF, HEIC, MP4, WebM, PDF, DOCX, XLSX or plain text, detected by its content. Larger ones, or straight to storage: `POST /assets/uploads`.',
    role: 'member',
    request: {
      query: z.object({
        name: FileName.optional().describe("The file's name; default the form's, or `untitled`"),
      }),
      body: {
        required: true,
        content: {
          'multipart/form-data': { schema: fileForm },
          ...rawTypes,
        },
      },
    },
    responses: { 201: { ...json(AssetView, 'The asset'), headers: located } },
    refuses: ['storage_quota_exceeded', 'upload_expired'],
  }),
  async (c) => {
    const contentType = c.req.header('content-type') ?? ''
    const contentLength = Number(c.req.header('content-length') ?? 0)
    const { body } = c.req.raw
    if (!body) throw new AppError('malformed_multipart')
    const { name } = c.req.valid('query')
    const asset = await uploadAsset(c.get('ctx'), { body, contentType, contentLength, name })
    c.header('location', `/api/v1/assets/${asset.id}`)
    return c.json(presentAsset(asset), 201)
  },
)

routes.openapi(
  operation('asset.list', {
    method: 'get',
    path: '/assets',
    tag,
    summary: 'Assets, newest first',
    request: {
      query: Paging.extend({
        kind: z.enum(assetKinds).optional(),
        source: z.enum(assetSources).optional(),
        status: z.enum(assetStatuses).optional(),
        tag: Tag.optional(),
        since: Timestamp.optional(),
        until: Timestamp.optional().describe('Before it'),
        q: text({ max: 100 })
          .optional()
          .describe(
            'Part of the name. Without three letters or digits in a row a page looks at 500 assets: it may have fewer than `limit`, or none, and a `nextCursor`',
          ),
      }),
    },
    responses: { 200: json(listOf(AssetView), 'A page of assets') },
  }),
  async (c) => {
    const query = c.req.valid('query')
    const { rows, stoppedAt } = await listAssets(c.get('ctx'), query)
    return c.json(toPage(rows, query.limit, presentAsset, stoppedAt), 200)
  },
)

routes.openapi(
  operation('asset.get', {
    method: 'get',
    path: '/assets/{id}',
    tag,
    summary: 'One asset',
    request: { params: IdPath },
    responses: { 200: json(AssetView, 'The asset') },
  }),
  async (c) => c.json(presentAsset(await getAsset(c.get('ctx'), c.req.valid('param').id)), 200),
)

const Lineage = z
  .object({
    assetId: z.uuid(),
    sha256: z.string().nullable().describe('Hex; null of what is not ready'),
    source: z.enum(assetSources),
    createdBy: z.uuid().nullable(),
    createdAt: Timestamp,
    generation: z
      .object({
        id: z.uuid(),
        task: z.enum(tasks),
        model: z.string(),
        provider: z.enum(providerNames).nullable(),
        providerModel: z.string().nullable().describe('As the provider calls it'),
        promptSent: z.string().nullable().describe('All the words that the model was sent'),
        prompt: z.string().nullable(),
        text: z.string().nullable(),
        style: z.enum(styles).nullable(),
        seed: z.int().nullable(),
        inputs: z
          .array(z.object({ assetId: z.uuid(), sha256: z.string() }))
          .describe('Photos as they were then; they may be deleted by now'),
        credits: z.number().describe('Charged for this one of its outputs'),
        requestedBy: z.uuid().nullable(),
        requestedAt: Timestamp,
      })
      .nullable()
      .describe('What made it; null for an upload and for an export'),
    export: z
      .object({ assetId: z.uuid(), channel: z.enum(channels) })
      .nullable()
      .describe(
        'Of which asset it is a copy, for which channel; null for others, and once that asset is deleted',
      ),
  })
  .openapi('Lineage')

routes.openapi(
  operation('asset.lineage', {
    method: 'get',
    path: '/assets/{id}/lineage',
    tag,
    summary: 'Where an asset came from',
    request: { params: IdPath },
    responses: { 200: json(Lineage, 'Its lineage') },
  }),
  async (c) => {
    const { asset, generation, job, madeFor } = await getLineage(c.get('ctx'), c.req.valid('param').id)
    return c.json(
      {
        assetId: asset.id,
        sha256: asset.sha256,
        source: asset.source,
        createdBy: asset.createdBy,
        createdAt: asset.createdAt.toISOString(),
        generation: generation && {
          id: generation.id,
          task: generation.task,
          model: generation.model,
          provider: job?.provider ?? null,
          providerModel: job?.model ?? null,
          promptSent: job?.prompt ?? null,
          prompt: generation.prompt,
          text: generation.text,
          style: generation.style,
          seed: generation.seed,
          inputs: job?.inputs ?? [],
          credits: (job?.credits ?? 0) / (job?.stored.length ?? 1),
          requestedBy: generation.createdBy,
          requestedAt: generation.createdAt.toISOString(),
        },
        export: madeFor && { assetId: madeFor.assetId, channel: madeFor.channel },
      },
      200,
    )
  },
)

routes.openapi(
  operation('asset.update', {
    method: 'patch',
    path: '/assets/{id}',
    tag,
    summary: 'Rename or tag an asset',
    description: 'Of a name that is a path, here as wherever a file is named, its last segment counts.',
    role: 'member',
    request: {
      params: IdPath,
      ...jsonBody(
        someOf({
          name: FileName,
          tags: z
            .array(Tag)
            .max(20)
            .refine((tags) => new Set(tags).size === tags.length, 'names a tag twice'),
        }),
        { name: 'mug.jpg', tags: ['spring'] },
      ),
    },
    responses: { 200: json(AssetView, 'The asset') },
  }),
  async (c) =>
    c.json(presentAsset(await updateAsset(c.get('ctx'), c.req.valid('param').id, c.req.valid('json'))), 200),
)

routes.openapi(
  operation('asset.delete', {
    method: 'delete',
    path: '/assets/{id}',
    tag,
    summary: 'Delete an asset and its file',
    role: 'member',
    request: { params: IdPath },
    responses: { 204: { description: 'Deleted' } },
  }),
  async (c) => {
    await deleteAsset(c.get('ctx'), c.req.valid('param').id)
    return c.body(null, 204)
  },
)

/** Whether JSON is asked for rather than anything: many libraries name it beside that by themselves. */
const asksForJson = (accept = '') => {
  const types = parseAccept(accept)
  const qualityOf = (name: string) => types.find(({ type }) => type.toLowerCase() === name)?.q ?? 0
  return qualityOf('application/json') > qualityOf('*/*')
}

routes.openapi(
  operation('asset.download', {
    method: 'get',
    path: '/assets/{id}/download',
    tag,
    summary: 'Redirect to the file by a URL that works for 5 minutes, or a URL as JSON',
    description:
      'With a `width`, to a copy of a picture, or of a frame of a film in H.264 of less than 40 MB where the deployment makes those, that is at most so many pixels wide: upright, in sRGB, without EXIF, made once. What is transparent or moves stays so where the `format` can. `HEAD` leads to a URL for `HEAD`. Whose `Accept` prefers `application/json` to `*/*` gets a URL to GET, as of `POST /assets/downloads`: browsers need that on pages of another origin than the API, since they follow the redirect as nobody (`Origin: null`).',
    request: {
      params: IdPath,
      query: z.object({
        disposition: Disposition,
        width: CopyWidth.optional(),
        format: z.enum(copyFormats).default('webp').describe('Of a sized copy'),
      }),
    },
    responses: {
      200: json(Link, 'Where the file is, if JSON was asked for'),
      302: { description: 'To the file', headers: located },
    },
    refuses: ['upload_incomplete', 'not_convertible'],
  }),
  async (c) => {
    const { id } = c.req.valid('param')
    const { disposition, width, format } = c.req.valid('query')
    const ctx = c.get('ctx')
    const file = width ? await getCopy(ctx, id, { width, format }) : await getReadyAsset(ctx, id)
    c.header('vary', 'accept', { append: true })
    c.header('cache-control', 'no-store')
    const method = c.req.method === 'HEAD' ? 'HEAD' : 'GET'
    if (method === 'GET' && asksForJson(c.req.header('accept'))) {
      return c.json(await presignShown(ctx.env, file, disposition), 200)
    }
    return c.redirect(await presignDownload(ctx.env, file, { type: disposition, method }), 302)
  },
)

routes.openapi(
  operation('asset.links', {
    method: 'post',
    path: '/assets/downloads',
    tag,
    summary: 'URLs of many files at once',
    description:
      'In the order of the ids, each with a URL or with what is wrong with it. Within ten minutes the URLs are the same.',
    request: jsonBody(
      z.strictObject({
        ids: z.array(z.uuid().toLowerCase()).min(1).max(100),
        disposition: Disposition,
      }),
      { ids: ['0198c1de-6e1f-7c5a-9d35-0a4b6f2f7a11'], disposition: 'inline' },
    ),
    responses: {
      200: json(
        z.object({
          data: z.array(
            Link.partial().extend({
              id: z.uuid(),
              problem: z.object({ code: ErrorCodeView, detail: z.string() }).optional(),
            }),
          ),
        }),
        'One for each id',
      ),
    },
  }),
  async (c) => {
    const { ids, disposition } = c.req.valid('json')
    const found = await downloadAssets(c.get('ctx'), ids, disposition)
    const data = found.map(({ problem, ...one }) =>
      problem ? { ...one, problem: { code: problem.code, detail: problem.message } } : one,
    )
    return c.json({ data }, 200)
  },
)
