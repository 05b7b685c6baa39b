/** Streams a file to storage: judged and hashed on the way, a part sent while the next one is read. */
import type { Env } from '../env.ts'
import { AppError, invalidField, toAppError, unavailable } from '../errors.ts'
import type { Store } from '../words.ts'
import { openBuffers, PART_SIZE } from './buffers.ts'
import { createInspector, type FileDescription } from './inspect.ts'
import { type Measures, measure } from './measure.ts'
import { abortParts, completeParts, putPart, startParts } from './parts.ts'
import {
  type Bucket,
  bucketOf,
  headersOf,
  type InputType,
  PATIENCE,
  type Patience,
  pathOf,
  readRange,
  request,
} from './storage.ts'

export interface StoredObject extends FileDescription, Measures {
  /** Bytes. */
  size: number
  /** Hex. */
  sha256: string
  store: Store
}

type Headers = ReturnType<typeof headersOf>

/**
 * Collects chunks into parts of exactly PART_SIZE (but the last). Each is valid until it is `sent`, and must be the only
 * one that is being sent.
 */
const partsOf = async function* (
  chunks: AsyncIterable<Uint8Array>,
  buffers: ReturnType<typeof openBuffers>,
  sent: () => Promise<unknown>,
) {
  let filled = 0
  let buffer = new Uint8Array()
  for await (const chunk of chunks) {
    for (let offset = 0; offset < chunk.length; ) {
      if (filled === PART_SIZE) {
        await buffers.next(sent())
        filled = 0
      }
      const taken = Math.min(chunk.length - offset, PART_SIZE - filled)
      buffer = await buffers.atLeast(filled + taken)
      buffer.set(chunk.subarray(offset, offset + taken), filled)
      offset += taken
      filled += taken
      if (filled === PART_SIZE) yield buffer
    }
  }
  if (filled > 0 && filled < PART_SIZE) yield buffer.subarray(0, filled)
}

/** How long it lasts stands anywhere in a film; storage that is away by now does not cost the upload. */
const measureStored = (bucket: Bucket, path: string, { mimeType }: FileDescription, size: number) =>
  measure(mimeType, size, (offset, length) =>
    readRange(bucket, path, offset, Math.min(length, size - offset)),
  ).catch(() => ({ durationSeconds: null, pages: null }))

interface PutOptions {
  patience?: Patience
  /** How long storage is tried before a file of which nothing has arrived there goes to the second one, if one is set. */
  orFallbackAfter?: Patience | undefined
  /** Hex: nothing else is to be stored. */
  sha256?: string | null
}

/**
 * Streams a file of unknown length to storage, and inspects and hashes it on the way. What fits one part is one PUT;
 * more is a multipart upload, which leaves no object unless it is completed. `id` is the object's, and of a copy its asset's.
 * @throws {AppError} payload_too_large, unsupported_media_type, validation_failed (empty), unavailable
 */
export const putObject = async (
  env: Env,
  location: { workspaceId: string; id: string; name: string; input?: InputType; copy?: string },
  chunks: AsyncIterable<Uint8Array>,
  maxSize: number,
  { patience = PATIENCE, orFallbackAfter, sha256: expected }: PutOptions = {},
): Promise<StoredObject> => {
  const path = pathOf(location.workspaceId, location.id, location.input, location.copy)
  const inspector = createInspector()
  const digest = new crypto.DigestStream('SHA-256')
  const hash = digest.getWriter()
  const buffers = openBuffers()
  let description: FileDescription | undefined
  let store: Store = 'home'
  let uploadId: string | undefined
  let size = 0
  let count = 0
  let whole: Uint8Array | undefined
  const etags: string[] = []
  let sending = Promise.resolve()

  const abort = async () => {
    if (uploadId !== undefined) await abortParts(bucketOf(env, store), path, uploadId).catch(() => undefined)
    uploadId = undefined
  }
  const sendPart = async (part: Uint8Array, number: number, headers: Headers, patient: Patience) => {
    const bucket = bucketOf(env, store)
    uploadId ??= await startParts(bucket, path, headers, patient)
    etags.push(await putPart(bucket, path, uploadId, number, part, patient))
  }
  /** The first thing that is sent of a file. */
  const sendFirst = async (send: (patient: Patience) => Promise<unknown>): Promise<void> => {
    if (!orFallbackAfter || !env.FALLBACK) return void (await send(patience))
    try {
      await send(orFallbackAfter)
    } catch (fault) {
      if (toAppError(fault).code !== 'unavailable') throw fault
      await abort()
      store = 'fallback'
      // A part that is sent holds its buffer, for `patience` in all.
      await send({ ...patience, all: Math.max(PATIENCE.all, patience.all - orFallbackAfter.all) })
    }
  }
  try {
    for await (const part of partsOf(chunks, buffers, () => sending)) {
      size += part.length
      if (size > maxSize) throw new AppError('payload_too_large')
      if (description) inspector.rest(part)
      else description = await inspector.head(part)
      await hash.write(part)
      await sending
      const headers = headersOf(location.name, description.mimeType)
      const number = ++count
      if (part.length < PART_SIZE && number === 1) whole = part
      else if (number === 1) sending = sendFirst((patient) => sendPart(part, number, headers, patient))
      else sending = sendPart(part, number, headers, patience)
      // Whoever waits for it next is told.
      sending.catch(() => undefined)
    }
    await sending
    if (!description) throw invalidField('/file', 'must not be empty')
    await hash.close()
    inspector.end()
    const sha256 = Buffer.from(await digest.digest).toString('hex')
    if (expected && sha256 !== expected) throw unavailable(new Error(`its SHA-256 is ${sha256}`))
    if (whole) {
      const put = { method: 'PUT', headers: headersOf(location.name, description.mimeType), body: whole }
      await sendFirst((patient) => request(bucketOf(env, store), path, put, patient))
    }
    const bucket = bucketOf(env, store)
    if (uploadId !== undefined) await completeParts(bucket, path, uploadId, { etags, size }, patience)
    return { ...description, ...(await measureStored(bucket, path, description, size)), size, sha256, store }
  } catch (error) {
    await sending.catch(() => undefined)
    await abort()
    throw error
  } finally {
    buffers.free()
  }
}
