/** The routes of uploads straight to storage. */
import { z } from 'zod'
import { IdempotencyKey, IdPath, json, jsonBody, replayable, Timestamp } from '../../http/contract.ts'
import { operation } from '../../http/operation.ts'
import { createRouter } from '../../http/router.ts'
import { idempotencyOf } from '../../idempotency.ts'
import { FileName } from '../names.ts'
import { AssetView, presentAsset } from '../routes.ts'
import { beginUpload, completeUpload, getUpload, MAX_DIRECT } from './uploads.ts'

const tag = 'Assets'

const UploadView = z
  .object({
    asset: AssetView,
    upload: z.object({
      endsAt: Timestamp.describe('What is not complete by then is given up'),
      parts: z
        .array(
          z.object({
            number: z.int(),
            size: z.int().describe('Bytes'),
            arrived: z.boolean(),
            target: z
              .object({
                url: z.url(),
                headers: z
                  .record(z.string(), z.string())
                  .describe('To be sent exactly so; browsers add `content-length` themselves'),
                expiresAt: Timestamp,
              })
              .optional()
              .describe('Where to send the part by PUT; none for what has arrived'),
          }),
        )
        .describe('From the first byte on: one below 100 MB, else several of 32 MiB and a rest'),
    }),
  })
  .openapi('Upload')

const present = ({ asset, endsAt, parts }: Awaited<ReturnType<typeof getUpload>>) => ({
  asset: presentAsset(asset),
  upload: { endsAt: endsAt.toISOString(), parts },
})

export const routes = createRouter()

routes.openapi(
  operation('asset.begin', {
    method: 'post',
    path: '/assets/uploads',
    tag,
    summary: 'Announce a file that is sent straight to storage',
    description:
      'For files of up to 5 GB. Send each part to its URL, in any order, then `POST /assets/{id}/complete`. Storage is reserved from now on, until the upload is complete, deleted, or a day old. With an `Idempotency-Key` the same request of the same caller twice announces one file, with fresh URLs for what has not arrived.',
    role: 'member',
    limits: ['upload'],
    request: {
      headers: IdempotencyKey,
      ...jsonBody(
        z.strictObject({
          name: FileName,
          mimeType: z.string().max(100).toLowerCase().openapi({ description: 'As the content will be' }),
          size: z.int().min(1).max(MAX_DIRECT).describe('Bytes'),
          sha256: z
            .string()
            .regex(/^[0-9a-fA-F]{64}$/, 'must be 64 hexadecimal digits')
            .toLowerCase()
            .optional()
            .openapi({ description: 'Hex; checked when the file is complete' }),
        }),
        { name: 'film.mp4', mimeType: 'video/mp4', size: 7_340_032 },
      ),
    },
    responses: {
      201: { ...json(UploadView, 'The pending asset, and where to send it'), headers: replayable },
    },
    refuses: ['storage_quota_exceeded', 'idempotency_key_reused', 'upload_expired', 'upload_mismatch'],
  }),
  async (c) => {
    const key = c.req.valid('header')['idempotency-key']
    const idempotency = idempotencyOf(key, 'upload', await c.req.json())
    const begun = await beginUpload(c.get('ctx'), c.req.valid('json'), idempotency)
    if (begun.replayed) c.header('idempotent-replayed', 'true')
    c.header('location', `/api/v1/assets/${begun.asset.id}`)
    return c.json(present(begun), 201)
  },
)

routes.openapi(
  operation('asset.resume', {
    method: 'get',
    path: '/assets/{id}/upload',
    tag,
    summary: 'What has arrived of an upload, and where to send the rest',
    role: 'member',
    request: { params: IdPath },
    responses: { 200: json(UploadView, 'The upload') },
    refuses: ['upload_expired', 'upload_mismatch'],
  }),
  async (c) => c.json(present(await getUpload(c.get('ctx'), c.req.valid('param').id)), 200),
)

routes.openapi(
  operation('asset.complete', {
    method: 'post',
    path: '/assets/{id}/complete',
    tag,
    summary: 'Have an upload looked at',
    description:
      'Size, type by content, dimensions, duration and SHA-256 are those of what has arrived. A file that is not what was announced is deleted with its asset. One that came in several parts stays `pending` until all of it has been read, some seconds for each gigabyte.',
    role: 'member',
    limits: ['upload'],
    request: { params: IdPath },
    responses: { 200: json(AssetView, 'The asset') },
    refuses: ['upload_incomplete', 'upload_mismatch', 'upload_expired'],
  }),
  async (c) => c.json(presentAsset(await completeUpload(c.get('ctx'), c.req.valid('param').id)), 200),
)
