/** URLs by which others read and write storage, each for a while. */
import type { Env } from '../env.ts'
import type { PreparedInput } from '../words.ts'
import {
  type Bucket,
  clientOf,
  contentTypeOf,
  disposition,
  exportPath,
  originalOf,
  type Placed,
  pathOf,
} from './storage.ts'

/** Seconds that a presigned URL is valid: for people, and for a provider, which may read a photo when the job's turn comes. */
const PRESIGNED_LIFETIME = 300
const INPUT_LIFETIME = 24 * 3600
/** Seconds for which whoever asks again gets the same URL. */
const SAME_URL = 600
/** Seconds that a URL to send to is valid; there are fresh ones for an upload that takes longer. */
const PUT_LIFETIME = 3600

/** Signs a URL that works for `seconds` from `from` on (milliseconds), with these headers if any. */
const presign = async (
  bucket: Bucket,
  path: string,
  options: {
    method?: string
    query?: Record<string, string>
    headers?: Record<string, string>
    from?: number
    seconds: number
  },
): Promise<string> => {
  const { method = 'GET', query = {}, headers, from = Date.now(), seconds } = options
  const url = new URL(`${bucket.S3_ENDPOINT}${path}`)
  for (const [name, value] of Object.entries({ ...query, 'X-Amz-Expires': String(seconds) })) {
    url.searchParams.set(name, value)
  }
  const datetime = new Date(from).toISOString().replace(/[:-]|\.\d{3}/g, '')
  const aws = { signQuery: true, allHeaders: true, datetime }
  return (await clientOf(bucket).sign(url, { method, ...(headers && { headers }), aws })).url
}

/** A sized copy: always at home. */
interface Copied {
  workspaceId: string
  assetId: string
  copy: string
}

/** What people get by a URL: an asset's file, or a sized copy. */
export type Delivered = (Placed | Copied) & { name: string; mimeType: string }

/** @throws {AppError} unavailable */
const placeOf = (env: Env, delivered: Delivered): [Bucket, string] =>
  'copy' in delivered
    ? [env, pathOf(delivered.workspaceId, delivered.assetId, undefined, delivered.copy)]
    : originalOf(env, delivered)

/**
 * What browsers may show where storage is at home, with no headers but these: pictures and films run nothing. Text may be
 * HTML by another name, and PDF may hold scripts.
 */
const isSafe = (mimeType: string) => /^(image|video)\//.test(mimeType)

const overridesOf = (
  { name, mimeType }: Pick<Delivered, 'name' | 'mimeType'>,
  type: 'inline' | 'attachment',
) => ({
  'response-content-disposition': disposition(isSafe(mimeType) ? type : 'attachment', name),
  'response-content-type': contentTypeOf(mimeType),
})

/** How somebody asks for a file: a URL is signed for one method. */
export interface Asking {
  type: 'inline' | 'attachment'
  method?: 'GET' | 'HEAD'
}

/** A URL by which anyone may ask so for five minutes. */
export const presignDownload = async (
  env: Env,
  delivered: Delivered,
  { type, method = 'GET' }: Asking,
): Promise<string> =>
  presign(...placeOf(env, delivered), {
    method,
    query: overridesOf(delivered, type),
    seconds: PRESIGNED_LIFETIME,
  })

/** A URL that anyone may GET for at least five minutes. For ten at a time it is the same, so that browsers keep what it shows. */
export const presignShown = async (
  env: Env,
  delivered: Delivered,
  type: 'inline' | 'attachment' = 'inline',
) => {
  const from = Math.floor(Date.now() / 1000 / SAME_URL) * SAME_URL * 1000
  const seconds = SAME_URL + PRESIGNED_LIFETIME
  const url = await presign(...placeOf(env, delivered), {
    query: overridesOf(delivered, type),
    from,
    seconds,
  })
  return { url, expiresAt: new Date(from + seconds * 1000).toISOString() }
}

/** A URL that anyone may GET an export by for five minutes. */
export const presignExport = (env: Env, id: string): Promise<string> =>
  presign(env, exportPath(id), { seconds: PRESIGNED_LIFETIME })

/** A URL by which a provider may GET a photo for as long as its job may wait. */
export const presignInput = (
  env: Env,
  { workspaceId, id, prepared }: { workspaceId: string; id: string; prepared: PreparedInput },
): Promise<string> => presign(env, pathOf(workspaceId, id, prepared.mimeType), { seconds: INPUT_LIFETIME })

/** A URL that anyone may PUT to for an hour, with exactly these headers. */
export const presignPut = async (
  bucket: Bucket,
  path: string,
  { headers, query = {} }: { headers: Record<string, string>; query?: Record<string, string> },
) => {
  const from = Date.now()
  return {
    url: await presign(bucket, path, { method: 'PUT', headers, query, from, seconds: PUT_LIFETIME }),
    expiresAt: new Date(from + PUT_LIFETIME * 1000).toISOString(),
  }
}
