/** Object storage by signed requests of S3's HTTP API, as R2 and MinIO have it; no other file knows S3. */
import { AwsClient } from 'aws4fetch'
import type { Env } from '../env.ts'
import { AppError } from '../errors.ts'
import type { PreparedInput } from '../words.ts'

/** What a storage request may take: attempts, and milliseconds for one and for all of them. */
export interface Patience {
  attempts: number
  each: number
  all: number
}
export const PATIENCE: Patience = { attempts: 3, each: 15_000, all: 30_000 }
/** For a file that is passed on as it is read. */
const READ_PATIENCE: Patience = { attempts: 3, each: 60_000, all: 60_000 }
/** For whoever only wants to know whether storage is there. */
const CHECK_PATIENCE: Patience = { attempts: 1, each: 3000, all: 3000 }
/** Seconds that a presigned URL is valid: for people, and for a provider, which may read a photo when the job's turn comes. */
const PRESIGNED_LIFETIME = 300
const INPUT_LIFETIME = 24 * 3600

export type InputType = PreparedInput['mimeType']
const inputTypes: readonly InputType[] = ['image/jpeg', 'image/png']

/** The one place where an object's key is made: an asset's, or that of the copy that providers are sent, which shows its type. */
const keyOf = (workspaceId: string, assetId: string, input?: InputType) =>
  input
    ? `workspaces/${workspaceId}/inputs/${assetId}.${input === 'image/png' ? 'png' : 'jpg'}`
    : `workspaces/${workspaceId}/assets/${assetId}`

/** Below the bucket's URL. */
export const pathOf = (...of: Parameters<typeof keyOf>) => `/${keyOf(...of)}`

const clientOf = ({ S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_REGION }: Env) =>
  new AwsClient({
    accessKeyId: S3_ACCESS_KEY_ID,
    secretAccessKey: S3_SECRET_ACCESS_KEY,
    region: S3_REGION,
    service: 's3',
  })

/**
 * Signs and sends; after a fault it is sent again, which no request here minds. The body stays out of the signature and of
 * aws4fetch's own `fetch`, which would copy it.
 * @throws {AppError} unavailable
 */
export const request = async (
  env: Env,
  path: string,
  { method, headers, body }: { method: string; headers?: Record<string, string>; body?: Uint8Array | string },
  { attempts, each, all }: Patience = PATIENCE,
): Promise<Response> => {
  const signed = await clientOf(env).sign(`${env.S3_ENDPOINT}${path}`, {
    method,
    ...(headers && { headers }),
  })
  const end = AbortSignal.timeout(all)
  for (let attempt = 1; ; attempt++) {
    // An upload that is started twice leaves one that the bucket's lifecycle rule removes.
    let mayRetry = attempt < attempts
    let fault: unknown
    try {
      const response = await fetch(signed.url, {
        method,
        headers: signed.headers,
        ...(body !== undefined && { body }),
        signal: AbortSignal.any([end, AbortSignal.timeout(each)]),
      })
      if (response.ok) return response
      const answer = (await response.text()).slice(0, 300)
      // What is gone is deleted; a bucket that is not there says nothing of the object.
      if (method === 'DELETE' && /<Code>NoSuch(Key|Upload)</.test(answer)) return response
      fault = new Error(`storage answered ${response.status}: ${answer}`)
      mayRetry &&= response.status >= 500 || response.status === 429
    } catch (error) {
      fault = error
    }
    if (!mayRetry || end.aborted)
      throw new AppError('unavailable', { headers: { 'retry-after': '1' }, cause: fault })
    await scheduler.wait(Math.min(5000, 50 * 2 ** attempt))
  }
}

/** Content-Disposition (RFC 6266) in ASCII, whatever the name. */
const disposition = (type: 'inline' | 'attachment', name: string) =>
  `${type}; filename*=UTF-8''${encodeURIComponent(name).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`)}`

/** Text is UTF-8, as has been checked; browsers would take it for Latin-1. */
const contentTypeOf = (mimeType: string) =>
  mimeType === 'text/plain' ? 'text/plain; charset=utf-8' : mimeType

/** What is stored with an object, for whoever reads it by a URL that says nothing else. */
export const headersOf = (name: string, mimeType: string) => ({
  'content-type': contentTypeOf(mimeType),
  'content-disposition': disposition('attachment', name),
})

/** Of the first bytes only, if `length` is given. @throws {AppError} unavailable */
export const openObject = (
  env: Env,
  workspaceId: string,
  assetId: string,
  length?: number,
): Promise<Response> =>
  request(
    env,
    `/${keyOf(workspaceId, assetId)}`,
    { method: 'GET', ...(length !== undefined && { headers: { range: `bytes=0-${length - 1}` } }) },
    READ_PATIENCE,
  )

/** An asset's object, and the copy that providers are sent. Deleting what does not exist succeeds. @throws {AppError} unavailable */
export const deleteObject = async (env: Env, workspaceId: string, assetId: string): Promise<void> => {
  await request(env, `/${keyOf(workspaceId, assetId)}`, { method: 'DELETE' })
  await deleteInput(env, workspaceId, assetId)
}

/** The copy alone, of whichever type it is. @throws {AppError} unavailable */
export const deleteInput = async (env: Env, workspaceId: string, assetId: string): Promise<void> => {
  for (const type of inputTypes) {
    await request(env, `/${keyOf(workspaceId, assetId, type)}`, { method: 'DELETE' })
  }
}

/** A URL that anyone may GET for five minutes. */
export const presignDownload = async (
  env: Env,
  asset: { workspaceId: string; id: string; name: string; mimeType: string },
  type: 'inline' | 'attachment' = 'inline',
): Promise<string> => {
  const url = new URL(`${env.S3_ENDPOINT}/${keyOf(asset.workspaceId, asset.id)}`)
  url.searchParams.set('X-Amz-Expires', String(PRESIGNED_LIFETIME))
  url.searchParams.set('response-content-disposition', disposition(type, asset.name))
  url.searchParams.set('response-content-type', contentTypeOf(asset.mimeType))
  return (await clientOf(env).sign(url, { aws: { signQuery: true } })).url
}

/** A URL by which a provider may GET a photo for as long as its job may wait. */
export const presignInput = async (
  env: Env,
  { workspaceId, id, prepared }: { workspaceId: string; id: string; prepared: PreparedInput },
): Promise<string> => {
  const url = new URL(`${env.S3_ENDPOINT}/${keyOf(workspaceId, id, prepared.mimeType)}`)
  url.searchParams.set('X-Amz-Expires', String(INPUT_LIFETIME))
  return (await clientOf(env).sign(url, { aws: { signQuery: true } })).url
}

/** Lists one object of the bucket. @throws {AppError} unavailable */
export const checkStorage = async (env: Env): Promise<void> => {
  await request(env, '?list-type=2&max-keys=1', { method: 'GET' }, CHECK_PATIENCE)
}
