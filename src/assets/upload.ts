/** Uploads through the Worker: a form or a raw body, streamed to storage. */
import { sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../context.ts'
import { change, ensure, transact } from '../db/client.ts'
import { assets, outbox } from '../db/schema.ts'
import { exists, first, idOfNow } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { AppError, isUnknownOutcome } from '../errors.ts'
import { takeTokens } from '../limits/limits.ts'
import { owe, settle } from '../outbox/outbox.ts'
import { fitsStorage } from '../workspaces/quotas.ts'
import { type Asset, isUnsentErasureOf } from './assets.ts'
import { isForm, MULTIPART_OVERHEAD, openMultipart, openRaw } from './multipart.ts'
import { readFileName } from './names.ts'
import { putObject, type StoredObject } from './put.ts'
import { deleteObject } from './storage.ts'

/** Bytes of one file that may come through the Worker; Cloudflare's edge takes bodies of up to 100 MB. */
const MAX_UPLOAD = 95_000_000

interface Upload {
  body: ReadableStream<Uint8Array>
  /** Of a form, or of the file. */
  contentType: string
  /** Instead of the form's. */
  name?: string | undefined
  /** Bytes of the body; 0 where the client does not say. */
  contentLength: number
}

/** Streams the one file of a body to storage. */
const storeFile = async (
  env: Env,
  location: { workspaceId: string; id: string },
  upload: Upload,
): Promise<StoredObject & { name: string }> => {
  const { body, contentType } = upload
  const opened = isForm(contentType)
    ? openMultipart(body, contentType, MAX_UPLOAD)
    : openRaw(body, MAX_UPLOAD)
  try {
    const { filename, chunks } = await opened.file()
    const name = upload.name ?? readFileName(filename)
    const stored = await putObject(env, { ...location, name }, chunks, MAX_UPLOAD)
    return { name, ...stored }
  } finally {
    await opened.discard()
  }
}

/**
 * Streams one file to storage between two transactions. The first checks the caller's rights and the quota, and notes
 * that the object is to be deleted in an hour. The second adds the row and removes that note, so that whichever way
 * an upload ends, an object without a row is deleted.
 * @throws {AppError} payload_too_large, storage_quota_exceeded, rate_limited, malformed_multipart, validation_failed,
 * unsupported_media_type, upload_expired
 */
export const uploadAsset = async (ctx: Ctx, upload: Upload): Promise<Asset> => {
  if (upload.contentLength > MAX_UPLOAD + MULTIPART_OVERHEAD) throw new AppError('payload_too_large')
  // A form has more than its file.
  const least = Math.max(0, upload.contentLength - (isForm(upload.contentType) ? MULTIPART_OVERHEAD : 0))
  const objectId = uuidv7()
  const { gate } = await transact(ctx, (db) => ({
    fits: ensure(db, fitsStorage(least), 'storage_quota_exceeded'),
    note: owe(db, 'object.delete', [objectId], sql`interval '1 hour'`),
  }))
  try {
    await takeTokens(ctx, [{ policy: 'upload', subject: gate.workspaceId, plan: gate.plan }])
  } catch (refusal) {
    // Nothing will be stored.
    await transact({ ...ctx, workspaceId: gate.workspaceId }, (db) => ({
      settled: settle(db, 'object.delete', objectId),
    }))
    throw refusal
  }
  const storing = storeFile(ctx.env, { workspaceId: gate.workspaceId, id: objectId }, upload)
  // A client that hangs up would end the request before its buffers are given back.
  ctx.waitUntil?.(storing.catch(() => undefined))
  const file = await storing
  try {
    const { created } = await change({ ...ctx, workspaceId: gate.workspaceId }, (db) => ({
      inTime: ensure(db, exists(outbox, isUnsentErasureOf(objectId), 'for update'), 'upload_expired'),
      settled: settle(db, 'object.delete', objectId),
      created: db
        .insert(assets)
        .values({ id: idOfNow, objectId, ...file, source: 'upload', status: 'ready' })
        .returning(),
      fits: ensure(db, fitsStorage(0), 'storage_quota_exceeded'),
    }))
    return first(created)
  } catch (thrown) {
    // A refusal is a rollback. After an unknown outcome the row may exist, so the object's fate is left to the note.
    if (!isUnknownOutcome(thrown)) {
      await deleteObject(ctx.env, gate.workspaceId, objectId).catch(() => undefined)
    }
    throw thrown
  }
}
