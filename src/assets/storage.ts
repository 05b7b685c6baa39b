/** Object storage by signed requests of S3's HTTP API, as R2 and MinIO have it; with `parts.ts` and `presign.ts` the only files that know it. */
import { AwsClient } from 'aws4fetch'
import type { Env } from '../env.ts'
import { unavailable } from '../errors.ts'
import { readChunks } from '../streams.ts'
import type { PreparedInput, Store } from '../words.ts'

/** A bucket, and the keys to it; the settings themselves are those of the one at home. */
export type Bucket = Pick<Env, 'S3_ENDPOINT' | 'S3_REGION' | 'S3_ACCESS_KEY_ID' | 'S3_SECRET_ACCESS_KEY'>

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
/** For one of many steps, which comes again. */
export const STEP_PATIENCE: Patience = { attempts: 1, each: 5000, all: 5000 }
/** Bytes of a file that are asked for at once. */
const RANGE = 64 * 1024 * 1024

export type InputType = PreparedInput['mimeType']
const inputTypes: readonly InputType[] = ['image/jpeg', 'image/png']

/**
 * The one place where a key is made: an object's, which has the id of the asset that it was stored for; that of the copy of an
 * asset that providers are sent, which shows its type; or that of a sized copy, by its name.
 */
const keyOf = (workspaceId: string, id: string, input?: InputType, copy?: string) => {
  if (copy !== undefined) return `workspaces/${workspaceId}/copies/${id}/${copy}`
  return input
    ? `workspaces/${workspaceId}/inputs/${id}.${input === 'image/png' ? 'png' : 'jpg'}`
    : `workspaces/${workspaceId}/assets/${id}`
}

/** What every key begins with. */
export const KEYS = 'workspaces/'
const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
const anyKey = new RegExp(`^${KEYS}(${uuid})/(?:assets/(${uuid})$|copies/(${uuid})/|inputs/(${uuid})[.])`)
/** Whose object or copy a key is; undefined for a key that `keyOf` does not make. */
export const readKey = (key: string): { workspaceId: string; id: string; isCopy: boolean } | undefined => {
  const [, workspaceId, objectId, ...copies] = anyKey.exec(key) ?? []
  const id = objectId ?? copies.find((copy) => copy !== undefined)
  return workspaceId && id ? { workspaceId, id, isCopy: objectId === undefined } : undefined
}

/** Below the bucket's URL. */
export const pathOf = (...of: Parameters<typeof keyOf>) => `/${keyOf(...of)}`

/** By bucket: each keeps the keys that it has derived for the day. */
const clients = new WeakMap<Bucket, AwsClient>()

export const clientOf = (bucket: Bucket) => {
  const { S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey, S3_REGION: region } = bucket
  const client = clients.get(bucket) ?? new AwsClient({ accessKeyId, secretAccessKey, region, service: 's3' })
  clients.set(bucket, client)
  return client
}

/**
 * Signs and sends; after a fault it is sent again, which no request here minds. The body stays out of the signature and of
 * aws4fetch's own `fetch`, which would copy it.
 * @throws {AppError} unavailable
 */
export const request = async (
  bucket: Bucket,
  path: string,
  {
    method,
    headers,
    body,
    accepts = () => false,
  }: {
    method: string
    headers?: Record<string, string>
    body?: Uint8Array | string
    /** Which refusals are an answer, whose body is then read. */
    accepts?: (status: number, answer: string) => boolean
  },
  { attempts, each, all }: Patience = PATIENCE,
): Promise<Response> => {
  const signed = await clientOf(bucket).sign(`${bucket.S3_ENDPOINT}${path}`, {
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
      if (accepts(response.status, answer)) return response
      fault = new Error(`storage answered ${response.status}: ${answer}`)
      mayRetry &&= response.status >= 500 || response.status === 429
    } catch (error) {
      fault = error
    }
    if (!mayRetry || end.aborted) throw unavailable(fault)
    await scheduler.wait(Math.min(5000, 50 * 2 ** attempt))
  }
}

/** What stands for a name where only ASCII can: `_` for each letter that is not, and for what would end it. */
const asciiOf = (name: string) =>
  name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/[^\x20-\x7e]|["\\%]/gu, '_')
    .replace(/ +/g, ' ')

/** Content-Disposition (RFC 6266) in ASCII, with the name as it is by RFC 8187. */
export const disposition = (type: 'inline' | 'attachment', name: string) => {
  const encoded = encodeURIComponent(name.toWellFormed())
  const extended = encoded.replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`)
  return `${type}; filename="${asciiOf(name)}"; filename*=UTF-8''${extended}`
}

/** Text is UTF-8, as has been checked; browsers would take it for Latin-1. */
export const contentTypeOf = (mimeType: string) =>
  mimeType === 'text/plain' ? 'text/plain; charset=utf-8' : mimeType

/** What is stored with an object, for whoever reads it by a URL that says nothing else. */
export const headersOf = (name: string, mimeType: string) => ({
  'content-type': contentTypeOf(mimeType),
  'content-disposition': disposition('attachment', name),
})

/** Where an object is: with its bucket, what a row says of it. */
export interface Placed {
  workspaceId: string
  objectId: string
  store: Store
}

/** @throws {AppError} unavailable */
export const bucketOf = (env: Env, store: Store): Bucket => {
  const bucket = store === 'home' ? env : env.FALLBACK
  if (!bucket) throw unavailable(new Error('the second storage is not set'))
  return bucket
}

/** The bucket and path of an asset's object, for what reads it. @throws {AppError} unavailable */
export const originalOf = (env: Env, { workspaceId, objectId, store }: Placed): [Bucket, string] => [
  bucketOf(env, store),
  pathOf(workspaceId, objectId),
]

/** Of the first bytes only, if `length` is given. @throws {AppError} unavailable */
export const openObject = (env: Env, asset: Placed, length?: number) =>
  openRange(...originalOf(env, asset), 0, length)

const openRange = (bucket: Bucket, path: string, offset: number, length?: number): Promise<Response> => {
  const headers = length !== undefined && { range: `bytes=${offset}-${offset + length - 1}` }
  return request(bucket, path, { method: 'GET', ...(headers && { headers }) }, READ_PATIENCE)
}

/** Bytes from `offset` on, few enough to hold; the object must have some there. @throws {AppError} unavailable */
export const readRange = async (
  bucket: Bucket,
  path: string,
  offset: number,
  length: number,
): Promise<Buffer> => {
  const response = await openRange(bucket, path, offset, length)
  try {
    return Buffer.from(await response.arrayBuffer())
  } catch (cause) {
    throw unavailable(cause)
  }
}

/**
 * All of an object, however large: range by range, each with a patience of its own, of at most a minute.
 * @throws {AppError} unavailable
 */
export const readObject = async function* (
  bucket: Bucket,
  path: string,
  size: number,
  beforeEach?: () => Promise<unknown>,
): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < size; offset += RANGE) {
    await beforeEach?.()
    const length = Math.min(RANGE, size - offset)
    const { body } = await openRange(bucket, path, offset, length)
    let read = 0
    try {
      for await (const chunk of body ? readChunks(body) : []) {
        read += chunk.length
        yield chunk
      }
    } catch (cause) {
      throw unavailable(cause)
    }
    if (read !== length) throw unavailable(new Error(`storage gave ${read} of ${length} bytes`))
  }
}

/** Bytes of an object; undefined if there is none. @throws {AppError} unavailable */
export const sizeOf = async (
  bucket: Bucket,
  path: string,
  patience?: Patience,
): Promise<number | undefined> => {
  const options = { method: 'HEAD', accepts: (status: number) => status === 404 }
  const { ok, headers } = await request(bucket, path, options, patience)
  return ok ? Number(headers.get('content-length')) : undefined
}

/** Deleting what does not exist succeeds. @throws {AppError} unavailable */
export const deleteObject = async (bucket: Bucket, workspaceId: string, objectId: string): Promise<void> => {
  await request(bucket, pathOf(workspaceId, objectId), { method: 'DELETE' })
}

/** Leaves nothing of an object but its key, so that a URL that is signed for where nothing is gets 412. @throws {AppError} unavailable */
export const emptyObject = async (bucket: Bucket, workspaceId: string, objectId: string): Promise<void> => {
  await request(bucket, pathOf(workspaceId, objectId), { method: 'PUT', body: new Uint8Array() })
}

/** The copy that providers are sent, of whichever type it is. @throws {AppError} unavailable */
export const deleteInput = async (bucket: Bucket, workspaceId: string, assetId: string): Promise<void> => {
  for (const type of inputTypes) {
    await request(bucket, pathOf(workspaceId, assetId, type), { method: 'DELETE' })
  }
}

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
/** The text of the first element of XML that is so called. */
export const fieldOf = (xml: string, name: string): string | undefined =>
  new RegExp(`<${name}>([^<]*)</${name}>`)
    .exec(xml)?.[1]
    ?.replace(/&(?:#(\d+)|#x([0-9a-f]+)|(\w+));/gi, (all, decimal, hex, name) =>
      name
        ? (entities[name] ?? all)
        : String.fromCodePoint(decimal ? Number(decimal) : Number.parseInt(hex, 16)),
    )

/** An answer's body. @throws {AppError} unavailable, when it breaks off */
export const textOf = (response: Response): Promise<string> =>
  response.text().catch((cause: unknown) => {
    throw unavailable(cause)
  })

export interface Listed {
  key: string
  /** Milliseconds. */
  modifiedAt: number
}

/**
 * The keys with this beginning that come after `after`, in order, as many as storage tells at once. An answer that
 * contradicts itself or the question is none.
 * @throws {AppError} unavailable
 */
export const listObjects = async (
  bucket: Bucket,
  prefix: string,
  after?: string,
  patience?: Patience,
): Promise<{ objects: Listed[]; isLast: boolean }> => {
  const from = after === undefined ? '' : `&start-after=${encodeURIComponent(after)}`
  const query = `?list-type=2&prefix=${encodeURIComponent(prefix)}${from}`
  const answer = await textOf(await request(bucket, query, { method: 'GET' }, patience))
  const objects = [...answer.matchAll(/<Contents>(.*?)<\/Contents>/gs)].map(([, one = '']) => ({
    key: fieldOf(one, 'Key') ?? '',
    modifiedAt: Date.parse(fieldOf(one, 'LastModified') ?? ''),
  }))
  const [isTruncated, count] = [fieldOf(answer, 'IsTruncated'), fieldOf(answer, 'KeyCount')]
  const isOrdered = objects.every(({ key }, i) => {
    const before = objects[i - 1]?.key ?? after
    return before === undefined || Buffer.compare(Buffer.from(before), Buffer.from(key)) < 0
  })
  const isSound =
    /<ListBucketResult[\s>].*<\/ListBucketResult>/s.test(answer) &&
    (isTruncated === 'false' || (isTruncated === 'true' && objects.length > 0)) &&
    (count === undefined || Number(count) === objects.length) &&
    objects.every(({ key, modifiedAt }) => key.startsWith(prefix) && Number.isFinite(modifiedAt)) &&
    isOrdered
  if (!isSound) throw unavailable(new Error(`not a list of what was asked for: ${answer.slice(0, 200)}`))
  return { objects, isLast: isTruncated === 'false' }
}

/**
 * Whether storage has an object, if all its answers are of one mind.
 * @throws {AppError} unavailable
 */
export const isStored = async (bucket: Bucket, path: string, patience?: Patience): Promise<boolean> => {
  const { objects } = await listObjects(bucket, path.slice(1), undefined, patience)
  const isListed = objects.some(({ key }) => `/${key}` === path)
  if (((await sizeOf(bucket, path, patience)) !== undefined) !== isListed)
    throw unavailable(new Error('storage contradicts itself'))
  return isListed
}

/** The sized copies of an asset, as storage lists them. @throws {AppError} unavailable */
export const deleteCopies = async (bucket: Bucket, workspaceId: string, assetId: string): Promise<void> => {
  const { objects } = await listObjects(bucket, keyOf(workspaceId, assetId, undefined, ''))
  for (const { key } of objects) await request(bucket, `/${key}`, { method: 'DELETE' })
}

/** Of what somebody has exported of themselves: of no workspace. */
export const exportPath = (id: string) => `/people/exports/${id}.json`

/** @throws {AppError} unavailable */
export const putExport = (env: Env, id: string, json: string) =>
  request(env, exportPath(id), {
    method: 'PUT',
    headers: {
      'content-type': 'application/json',
      'content-disposition': 'attachment; filename="account.json"',
    },
    body: json,
  })

/** @throws {AppError} unavailable */
export const deleteExport = (env: Env, id: string) => request(env, exportPath(id), { method: 'DELETE' })

/** Lists one object of the bucket. @throws {AppError} unavailable */
export const checkStorage = async (bucket: Bucket): Promise<void> => {
  await request(bucket, '?list-type=2&max-keys=1', { method: 'GET' }, CHECK_PATIENCE)
}
