/** Streams a file to storage: judged and hashed on the way, a part sent while the next one is read. */
import type { Env } from '../env.ts'
import { AppError, invalidField } from '../errors.ts'
import { openBuffers, PART_SIZE } from './buffers.ts'
import { createInspector, type FileDescription } from './inspect.ts'
import { type Measures, measure } from './measure.ts'
import { abortParts, completeParts, putPart, startParts } from './parts.ts'
import { headersOf, type InputType, PATIENCE, type Patience, pathOf, readRange, request } from './storage.ts'

export interface StoredObject extends FileDescription, Measures {
  /** Bytes. */
  size: number
  /** Hex. */
  sha256: string
}

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
const measureStored = (env: Env, path: string, { mimeType }: FileDescription, size: number) =>
  measure(mimeType, size, (offset, length) =>
    readRange(env, path, offset, Math.min(length, size - offset)),
  ).catch(() => ({ durationSeconds: null, pages: null }))

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
  const path = pathOf(location.workspaceId, location.assetId, location.input, location.copy)
  const inspector = createInspector()
  const digest = new crypto.DigestStream('SHA-256')
  const hash = digest.getWriter()
  const buffers = openBuffers()
  let description: FileDescription | undefined
  let uploadId: string | undefined
  let size = 0
  const etags: string[] = []
  let sending = Promise.resolve()
  try {
    for await (const part of partsOf(chunks, buffers, () => sending)) {
      size += part.length
      if (size > maxSize) throw new AppError('payload_too_large')
      if (description) inspector.rest(part)
      else description = await inspector.head(part)
      await hash.write(part)
      await sending
      const headers = headersOf(location.name, description.mimeType)
      if (part.length < PART_SIZE && uploadId === undefined) {
        inspector.end()
        await request(env, path, { method: 'PUT', headers, body: part }, patience)
      } else {
        const id = uploadId ?? (await startParts(env, path, headers, patience))
        uploadId = id
        sending = putPart(env, path, id, etags.length + 1, part, patience).then((etag) => {
          etags.push(etag)
        })
        // Whoever waits for it next is told.
        sending.catch(() => undefined)
      }
    }
    await sending
    if (!description) throw invalidField('/file', 'must not be empty')
    await hash.close()
    inspector.end()
    if (uploadId !== undefined) await completeParts(env, path, uploadId, { etags, size }, patience)
    const sha256 = Buffer.from(await digest.digest).toString('hex')
    return { ...description, ...(await measureStored(env, path, description, size)), size, sha256 }
  } catch (error) {
    await sending.catch(() => undefined)
    if (uploadId !== undefined) await abortParts(env, path, uploadId).catch(() => undefined)
    throw error
  } finally {
    buffers.free()
  }
}
