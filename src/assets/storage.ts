/** Object storage by signed requests of S3's HTTP API, as R2 and MinIO have it; no other file knows S3. */
import { AwsClient } from 'aws4fetch'
import type { Env } from '../env.ts'
import { AppError, invalidField } from '../errors.ts'
import type { PreparedInput } from '../words.ts'
import { createInspector, type FileDescription } from './inspect.ts'

/** Bytes: S3's least size of a part, and what an upload's buffer grows to. */
const PART_SIZE = 5 * 1024 * 1024
/** What a storage request may take: attempts, and milliseconds for one and for all of them. */
interface Patience {
  attempts: number
  each: number
  all: number
}
const PATIENCE: Patience = { attempts: 3, each: 15_000, all: 30_000 }
/** For a file that is passed on as it is read. */
const READ_PATIENCE: Patience = { attempts: 3, each: 60_000, all: 60_000 }
/** For whoever only wants to know whether storage is there. */
const CHECK_PATIENCE: Patience = { attempts: 1, each: 3000, all: 3000 }
/** Seconds that a presigned URL is valid: for people, and for a provider, which may read a photo when the job's turn comes. */
const PRESIGNED_LIFETIME = 300
const INPUT_LIFETIME = 24 * 3600

export interface StoredObject extends FileDescription {
  /** Bytes. */
  size: number
  /** Hex. */
  sha256: string
}

type InputType = PreparedInput['mimeType']
const inputTypes: readonly InputType[] = ['image/jpeg', 'image/png']

/**
 * The one place where an object's key is made: an asset's, that of the copy that providers are sent, which shows its type,
 * or that of a sized copy, by its name.
 */
const keyOf = (workspaceId: string, assetId: string, input?: InputType, copy?: string) => {
  if (copy !== undefined) return `workspaces/${workspaceId}/copies/${assetId}/${copy}`
  return input
    ? `workspaces/${workspaceId}/inputs/${assetId}.${input === 'image/png' ? 'png' : 'jpg'}`
    : `workspaces/${workspaceId}/assets/${assetId}`
}

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
const request = async (
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

/** Collects chunks into parts of exactly PART_SIZE (but the last), in one buffer that grows as needed. */
const partsOf = async function* (chunks: AsyncIterable<Uint8Array>) {
  let buffer = new Uint8Array(64 * 1024)
  let filled = 0
  for await (const chunk of chunks) {
    for (let offset = 0; offset < chunk.length; ) {
      const taken = Math.min(chunk.length - offset, PART_SIZE - filled)
      if (filled + taken > buffer.length) {
        const grown = new Uint8Array(Math.min(PART_SIZE, Math.max(buffer.length * 2, filled + taken)))
        grown.set(buffer.subarray(0, filled))
        buffer = grown
      }
      buffer.set(chunk.subarray(offset, offset + taken), filled)
      offset += taken
      filled += taken
      if (filled === PART_SIZE) {
        yield buffer
        filled = 0
      }
    }
  }
  if (filled > 0) yield buffer.subarray(0, filled)
}

/**
 * Streams a file of unknown length to storage, and inspects and hashes it on the way. What fits one part is one PUT;
 * more is a multipart upload, which leaves no object unless it is completed.
 * @throws {AppError} payload_too_large, unsupported_media_type, validation_failed (empty), unavailable
 */
export const putObject = async (
  env: Env,
  location: { workspaceId: string; assetId: string; name: string; input?: InputType; copy?: string },
  chunks: AsyncIterable<Uint8Array>,
  maxSize: number,
  patience: Patience = PATIENCE,
): Promise<StoredObject> => {
  const path = `/${keyOf(location.workspaceId, location.assetId, location.input, location.copy)}`
  const inspector = createInspector()
  const digest = new crypto.DigestStream('SHA-256')
  const hash = digest.getWriter()
  let description: FileDescription | undefined
  let upload: MultipartUpload | undefined
  let size = 0
  try {
    for await (const part of partsOf(chunks)) {
      size += part.length
      if (size > maxSize) throw new AppError('payload_too_large')
      if (description) inspector.rest(part)
      else description = await inspector.head(part)
      await hash.write(part)
      const headers = {
        'content-type': contentTypeOf(description.mimeType),
        'content-disposition': disposition('attachment', location.name),
      }
      if (part.length < PART_SIZE && !upload) {
        inspector.end()
        await request(env, path, { method: 'PUT', headers, body: part }, patience)
      } else {
        upload ??= await startMultipart(env, path, headers, patience)
        await upload.add(part)
      }
    }
    if (!description) throw invalidField('/file', 'must not be empty')
    await hash.close()
    inspector.end()
    await upload?.complete()
    return { ...description, size, sha256: Buffer.from(await digest.digest).toString('hex') }
  } catch (error) {
    await upload?.abort()
    throw error
  }
}

type MultipartUpload = Awaited<ReturnType<typeof startMultipart>>

const startMultipart = async (
  env: Env,
  path: string,
  headers: Record<string, string>,
  patience: Patience,
) => {
  const started = await (await request(env, `${path}?uploads=`, { method: 'POST', headers }, patience)).text()
  const id = /<UploadId>([^<]+)<\/UploadId>/.exec(started)?.[1]
  if (!id) throw new AppError('unavailable', { cause: new Error('storage started no multipart upload') })
  const uploadId = encodeURIComponent(id)
  const etags: string[] = []
  let size = 0
  return {
    async add(part: Uint8Array) {
      const query = `?partNumber=${etags.length + 1}&uploadId=${uploadId}`
      const response = await request(env, path + query, { method: 'PUT', body: part }, patience)
      etags.push(response.headers.get('etag') ?? '')
      size += part.length
    },
    async complete() {
      const parts = etags.map(
        (etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`,
      )
      const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`
      const target = `${path}?uploadId=${uploadId}`
      const response = await request(env, target, { method: 'POST', body }, patience).catch(
        async (fault: unknown) => {
          // Its answer may have been lost: then the upload is over, and the object is there.
          const found = await request(env, path, { method: 'HEAD' }).catch(() => undefined)
          if (found?.headers.get('content-length') !== String(size)) throw fault
        },
      )
      if (!response) return
      // S3 can answer 200 and report the failure in the body, or nothing at all.
      const answer = await response.text()
      if (!answer.includes('<CompleteMultipartUploadResult')) {
        throw new AppError('unavailable', {
          headers: { 'retry-after': '1' },
          cause: new Error(`the upload was not completed: ${answer.slice(0, 200)}`),
        })
      }
    },
    /** Best effort: the bucket's lifecycle rule removes what is left of an upload. */
    abort: () => request(env, `${path}?uploadId=${uploadId}`, { method: 'DELETE' }).catch(() => undefined),
  }
}

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

/** So many bytes from `start` on, or what there is of them. @throws {AppError} unavailable */
export const readRange = async (
  env: Env,
  { workspaceId, id }: { workspaceId: string; id: string },
  start: number,
  length: number,
): Promise<Buffer> => {
  const headers = { range: `bytes=${start}-${start + length - 1}` }
  const response = await request(env, `/${keyOf(workspaceId, id)}`, { method: 'GET', headers }, READ_PATIENCE)
  return Buffer.from(await response.arrayBuffer())
}

/** An asset's object, and the copy that providers are sent. Deleting what does not exist succeeds. @throws {AppError} unavailable */
export const deleteObject = async (env: Env, workspaceId: string, assetId: string): Promise<void> => {
  await request(env, `/${keyOf(workspaceId, assetId)}`, { method: 'DELETE' })
  await deleteInput(env, workspaceId, assetId)
  await deleteCopies(env, workspaceId, assetId)
}

/** The sized copies of an asset, as storage lists them. @throws {AppError} unavailable */
export const deleteCopies = async (env: Env, workspaceId: string, assetId: string): Promise<void> => {
  const prefix = encodeURIComponent(keyOf(workspaceId, assetId, undefined, ''))
  const list = await (await request(env, `?list-type=2&prefix=${prefix}`, { method: 'GET' })).text()
  for (const [, key = ''] of list.matchAll(/<Key>([^<]+)<\/Key>/g)) {
    await request(env, `/${key}`, { method: 'DELETE' })
  }
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
  asset: { workspaceId: string; id: string; name: string; mimeType: string; copy?: string },
  type: 'inline' | 'attachment' = 'inline',
): Promise<string> => {
  const url = new URL(`${env.S3_ENDPOINT}/${keyOf(asset.workspaceId, asset.id, undefined, asset.copy)}`)
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
