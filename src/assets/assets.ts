/** A workspace's files: upload, find, rename, download, delete. */
import { and, desc, eq, ilike, lt, type SQL, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx, JobCtx } from '../context.ts'
import { fitsStorage, lockWorkspace } from '../credits/ledger.ts'
import { ensure, transact } from '../db/client.ts'
import { assets, outbox } from '../db/schema.ts'
import { exists, first, inWorkspace } from '../db/sql.ts'
import { toAppError } from '../errors.ts'
import { takeToken } from '../limits/limits.ts'
import { dispatch, owe, settle } from '../outbox/outbox.ts'
import { openMultipart } from './multipart.ts'
import { deleteObject, presignDownload, putObject, type StoredObject } from './storage.ts'

export type Asset = typeof assets.$inferSelect

/** Bytes of one file that may come through the Worker. */
export const MAX_UPLOAD = 100 * 1024 * 1024

/** The last part of whatever a client calls a name, as text of at most 255 characters. */
const cleanName = (filename: string): string => {
  const name = filename
    .toWellFormed()
    .split(/[/\\]/)
    .at(-1)
    ?.replace(/\p{Cc}/gu, '')
    .trim()
  return Array.from(name || 'untitled')
    .slice(0, 255)
    .join('')
}

/**
 * Streams one file to storage. Before the bytes: leave to do so, and a note that the object is to be deleted
 * unless its row appears within the hour. After them: the row, which settles that note.
 */
export const uploadAsset = async (
  ctx: Ctx,
  upload: { body: ReadableStream<Uint8Array>; contentType: string; contentLength: number },
): Promise<Asset> => {
  const id = uuidv7()
  const { gate } = await transact(ctx, (db) => ({
    fits: ensure(db, fitsStorage(upload.contentLength), 'storage_quota_exceeded'),
    note: owe(db, 'object.delete', [id], sql`interval '1 hour'`),
  }))
  await takeToken(ctx, 'upload', gate.workspaceId, gate.plan)
  const multipart = openMultipart(upload.body, upload.contentType, MAX_UPLOAD)
  let name = ''
  let stored: StoredObject
  try {
    const file = await multipart.file()
    name = cleanName(file.filename)
    stored = await putObject(
      ctx.env,
      { workspaceId: gate.workspaceId, assetId: id, name },
      file.chunks,
      MAX_UPLOAD,
    )
  } finally {
    await multipart.discard()
  }
  try {
    const {
      created: [asset],
    } = await transact({ ...ctx, workspaceId: gate.workspaceId }, (db) => ({
      lock: lockWorkspace(db),
      // Once the sweeper has taken the note, the object may be gone.
      inTime: ensure(
        db,
        sql`exists (select from outbox where kind = 'object.delete' and subject_id = ${id} and sends = 0 for update)`,
        'upload_expired',
      ),
      settled: settle(db, 'object.delete', id),
      created: db
        .insert(assets)
        .values({ id, name, ...stored, source: 'upload', status: 'ready' })
        .returning(),
      fits: ensure(db, fitsStorage(0), 'storage_quota_exceeded'),
    }))
    return asset as Asset
  } catch (thrown) {
    // Refused means rolled back. After an unknown outcome only the note may decide.
    const error = toAppError(thrown)
    if (error.code !== 'unavailable' && error.code !== 'internal_error') {
      await deleteObject(ctx.env, gate.workspaceId, id).catch(() => undefined)
    }
    throw error
  }
}

export interface AssetFilter {
  limit: number
  cursor?: string | undefined
  kind?: Asset['kind'] | undefined
  source?: Asset['source'] | undefined
  status?: Asset['status'] | undefined
  q?: string | undefined
}

/** `limit + 1` rows, newest first. */
export const listAssets = async (ctx: Ctx, filter: AssetFilter): Promise<Asset[]> => {
  const conditions: (SQL | undefined)[] = [
    inWorkspace(assets),
    filter.cursor ? lt(assets.id, filter.cursor) : undefined,
    filter.kind ? eq(assets.kind, filter.kind) : undefined,
    filter.source ? eq(assets.source, filter.source) : undefined,
    filter.status ? eq(assets.status, filter.status) : undefined,
    filter.q ? ilike(assets.name, `%${filter.q.replace(/[\\%_]/g, '\\$&')}%`) : undefined,
  ]
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(assets)
      .where(and(...conditions))
      .orderBy(desc(assets.id))
      .limit(filter.limit + 1),
  }))
  return rows
}

const oneAsset = (id: string) => and(inWorkspace(assets), eq(assets.id, id))

export const getAsset = async (ctx: Ctx, id: string): Promise<Asset> => {
  const { rows } = await transact(ctx, (db) => ({ rows: db.select().from(assets).where(oneAsset(id)) }))
  return first(rows)
}

export const renameAsset = async (ctx: Ctx, id: string, name: string): Promise<Asset> => {
  const { renamed } = await transact(ctx, (db) => ({
    renamed: db.update(assets).set({ name }).where(oneAsset(id)).returning(),
  }))
  return first(renamed)
}

/** The row goes now, its object soon after. */
export const deleteAsset = async (ctx: Ctx, id: string): Promise<void> => {
  const { gate } = await transact(ctx, (db) => ({
    found: ensure(db, exists(assets, oneAsset(id), 'for update'), 'not_found'),
    deleted: db.delete(assets).where(oneAsset(id)),
    note: owe(db, 'object.delete', [id], sql`interval '1 minute'`),
  }))
  await dispatch(ctx, [{ kind: 'object.delete', workspaceId: gate.workspaceId, subjectId: id }])
}

/** The queue's part of a deletion: the object, then the note. */
export const eraseObject = async (ctx: JobCtx, id: string): Promise<void> => {
  const {
    kept: [asset],
  } = await transact(ctx, (db) => ({
    // Taken first, so that an upload which is still under way either has its row by now or can't get one.
    taken: db
      .update(outbox)
      .set({ sends: sql`${outbox.sends} + 1` })
      .where(and(eq(outbox.kind, 'object.delete'), eq(outbox.subjectId, id))),
    kept: db.select({ id: assets.id }).from(assets).where(oneAsset(id)),
    // A row means that the note is void.
    void: db
      .delete(outbox)
      .where(and(eq(outbox.kind, 'object.delete'), eq(outbox.subjectId, id), exists(assets, oneAsset(id)))),
  }))
  if (asset) return
  await deleteObject(ctx.env, ctx.workspaceId, id)
  await transact(ctx, (db) => ({ settled: settle(db, 'object.delete', id) }))
}

/** @returns a URL that works for five minutes */
export const downloadAsset = async (ctx: Ctx, id: string, type: 'inline' | 'attachment'): Promise<string> =>
  presignDownload(ctx.env, await getAsset(ctx, id), type)
