/** A workspace's files: upload, find, rename, download, delete. */
import { and, eq, gt, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx, JobCtx } from '../context.ts'
import { change, ensure, read, transact } from '../db/client.ts'
import { assets, generationOutputs, generations, outbox, providerJobs } from '../db/schema.ts'
import { exists, first, inWorkspace, type Page, rowOf, rowsOf } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { AppError, toAppError } from '../errors.ts'
import { takeTokens } from '../limits/limits.ts'
import { dispatch, owe, settle } from '../outbox/outbox.ts'
import { assetKinds, assetSources, assetStatuses } from '../words.ts'
import { fitsStorage } from '../workspaces/quotas.ts'
import { isForm, MULTIPART_OVERHEAD, openMultipart, openRaw } from './multipart.ts'
import { putObject, type StoredObject } from './put.ts'
import { deleteCopies, deleteInput, deleteObject, presignDownload, presignShown } from './storage.ts'

export type Asset = typeof assets.$inferSelect

/** Bytes of one file that may come through the Worker; Cloudflare's edge takes bodies of up to 100 MB. */
const MAX_UPLOAD = 95_000_000

/** The last segment of what may be a path, as text of at most 255 characters. */
export const cleanName = (filename: string): string => {
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

/** The note in the outbox that an object is to be deleted. */
const isErasureOf = (id: string) => and(eq(outbox.kind, 'object.delete'), eq(outbox.subjectId, id))

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
  location: { workspaceId: string; assetId: string },
  upload: Upload,
): Promise<StoredObject & { name: string }> => {
  const { body, contentType } = upload
  const opened = isForm(contentType)
    ? openMultipart(body, contentType, MAX_UPLOAD)
    : openRaw(body, MAX_UPLOAD)
  try {
    const { filename, chunks } = await opened.file()
    const name = cleanName(upload.name ?? filename)
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
  const id = uuidv7()
  const { gate } = await transact(ctx, (db) => ({
    fits: ensure(db, fitsStorage(upload.contentLength), 'storage_quota_exceeded'),
    note: owe(db, 'object.delete', [id], sql`interval '1 hour'`),
  }))
  try {
    await takeTokens(ctx, [{ policy: 'upload', subject: gate.workspaceId, plan: gate.plan }])
  } catch (refusal) {
    // Nothing will be stored.
    await transact({ ...ctx, workspaceId: gate.workspaceId }, (db) => ({
      settled: settle(db, 'object.delete', id),
    }))
    throw refusal
  }
  const storing = storeFile(ctx.env, { workspaceId: gate.workspaceId, assetId: id }, upload)
  // A client that hangs up would end the request before its buffers are given back.
  ctx.waitUntil?.(storing.catch(() => undefined))
  const file = await storing
  try {
    // Once the sweeper has sent the note, the object may be gone.
    const isUnsent = and(isErasureOf(id), eq(outbox.sends, 0))
    const { created } = await change({ ...ctx, workspaceId: gate.workspaceId }, (db) => ({
      inTime: ensure(db, exists(outbox, isUnsent, 'for update'), 'upload_expired'),
      settled: settle(db, 'object.delete', id),
      created: db
        .insert(assets)
        .values({ id, objectId: id, ...file, source: 'upload', status: 'ready' })
        .returning(),
      fits: ensure(db, fitsStorage(0), 'storage_quota_exceeded'),
    }))
    return first(created)
  } catch (thrown) {
    // A refusal is a rollback. After an unknown outcome the row may exist, so the object's fate is left to the note.
    const error = toAppError(thrown)
    if (error.code !== 'unavailable' && error.code !== 'internal_error') {
      await deleteObject(ctx.env, gate.workspaceId, id).catch(() => undefined)
    }
    throw error
  }
}

export interface AssetFilter extends Page {
  kind?: Asset['kind'] | undefined
  source?: Asset['source'] | undefined
  status?: Asset['status'] | undefined
  tag?: string | undefined
  /** ISO 8601; from it on. */
  since?: string | undefined
  /** ISO 8601; before it. */
  until?: string | undefined
  q?: string | undefined
}

/** Newest assets whose names a search looks at; below them it finds by trigrams, or ends where there are none. */
const LOOKED_AT = 500

/** What is open of a filter, unless all is. */
const openTo = ({ kind, source, status, tag }: AssetFilter) =>
  kind || source || status || tag
    ? {
        kinds: kind ? [kind] : assetKinds,
        sources: source ? [source] : assetSources,
        statuses: status ? [status] : assetStatuses,
      }
    : undefined

/** `limit + 1` rows, newest first, and where a search stopped if there may be more. */
export const listAssets = async (ctx: Ctx, filter: AssetFilter) => {
  const { q, limit, cursor, since, until, tag } = filter
  const page = { limit: limit + 1, before: cursor, since, until, tag, ...openTo(filter) }
  if (!q) return { rows: rowsOf(assets, await read(ctx, 'assets', page)), stoppedAt: undefined }
  const pattern = `%${q.replace(/[\\%_]/g, '\\$&')}%`
  const [found] = await read<Found>(ctx, 'matching assets', { ...page, pattern, looked: LOOKED_AT })
  return { rows: rowsOf(assets, found?.listed ?? []), stoppedAt: found?.stopped_at ?? undefined }
}

interface Found {
  listed: Record<string, unknown>[]
  stopped_at: string | null
}

export const oneAsset = (id: string) => and(inWorkspace(assets), eq(assets.id, id))

/** @throws {AppError} not_found */
export const getAsset = async (ctx: Ctx, id: string): Promise<Asset> =>
  rowOf(assets, first(await read(ctx, 'asset', { id })))

/** The asset, what made it, and at which provider, if anything did. @throws {AppError} not_found */
export const getLineage = async (ctx: Ctx, id: string) => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select({
        asset: assets,
        generation: generations,
        job: providerJobs,
      })
      .from(assets)
      .leftJoin(
        generationOutputs,
        and(eq(generationOutputs.workspaceId, assets.workspaceId), eq(generationOutputs.assetId, assets.id)),
      )
      .leftJoin(
        generations,
        and(
          eq(generations.workspaceId, assets.workspaceId),
          eq(generations.id, generationOutputs.generationId),
        ),
      )
      .leftJoin(
        providerJobs,
        and(
          eq(providerJobs.workspaceId, assets.workspaceId),
          eq(providerJobs.generationId, generations.id),
          sql`${assets.id} = any(${providerJobs.assetIds})`,
        ),
      )
      .where(oneAsset(id)),
  }))
  return first(rows)
}

/** @throws {AppError} not_found */
export const updateAsset = async (
  ctx: Ctx,
  id: string,
  changes: { name?: string | undefined; tags?: string[] | undefined },
): Promise<Asset> => {
  const { rows } = await change(ctx, (db) => ({
    rows: db.update(assets).set(changes).where(oneAsset(id)).returning(),
  }))
  return first(rows)
}

/**
 * Deletes the row now, and soon after what no other needs: its object, and the copy that providers are sent; or what has
 * arrived of an upload.
 * @throws {AppError} not_found
 */
export const deleteAsset = async (ctx: Ctx, id: string): Promise<void> => {
  const { gate, owed } = await change(ctx, (db) => ({
    owed: db.execute<{ kind: 'object.delete' | 'upload.end'; subject_id: string }>(sql`
      with gone as (delete from ${assets} where ${oneAsset(id)} returning id, object_id, status)
      insert into ${outbox} (kind, subject_id, available_at)
      select case status when 'pending' then 'upload.end' else 'object.delete' end, subject, now() + interval '1 minute'
        from (select distinct status, unnest(array[id, object_id]) subject from gone) s
      on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at, sends = 0
      returning kind, subject_id`),
  }))
  first(owed.rows)
  await dispatch(
    ctx,
    owed.rows.map(({ kind, subject_id }) => ({ kind, workspaceId: gate.workspaceId, subjectId: subject_id })),
  )
}

/** The job of a deletion: deletes what no asset needs, and then the note. */
export const eraseObject = async (ctx: JobCtx, id: string): Promise<void> => {
  const isNeeded = exists(assets, and(inWorkspace(assets), eq(assets.objectId, id)))
  const isAsset = exists(assets, oneAsset(id))
  const { needs } = await transact(ctx, (db) => ({
    // Counted first, so that an upload under way either has its row by now or can't get one.
    sent: db
      .update(outbox)
      .set({ sends: sql`${outbox.sends} + 1` })
      .where(isErasureOf(id)),
    needs: db.execute<{ object: boolean; copy: boolean }>(
      sql`select ${isNeeded} as object, ${isAsset} as copy`,
    ),
    settled: db.delete(outbox).where(and(isErasureOf(id), isNeeded, isAsset)),
  }))
  const { object, copy } = first(needs.rows)
  if (!object) await deleteObject(ctx.env, ctx.workspaceId, id)
  if (!copy) {
    await deleteInput(ctx.env, ctx.workspaceId, id)
    await deleteCopies(ctx.env, ctx.workspaceId, id)
  }
  // Unless it is owed anew.
  await transact(ctx, (db) => ({
    settled: db.delete(outbox).where(and(isErasureOf(id), gt(outbox.sends, 0))),
  }))
}

const checkReady = (asset: Asset): Asset => {
  if (asset.status === 'pending') throw new AppError('upload_incomplete')
  return asset
}

/** A URL that works for five minutes. @throws {AppError} not_found, upload_incomplete */
export const downloadAsset = async (ctx: Ctx, id: string, type: 'inline' | 'attachment'): Promise<string> =>
  presignDownload(ctx.env, checkReady(await getAsset(ctx, id)), type)

/** A URL of each that may be had, in the order of the ids. */
export const downloadAssets = async (ctx: Ctx, ids: readonly string[], type: 'inline' | 'attachment') => {
  const rows = rowsOf(assets, await read(ctx, 'some assets', { ids }))
  const found = new Map(rows.map((row) => [row.id, row]))
  return Promise.all(
    ids.map(async (id) => {
      const asset = found.get(id)
      if (!asset) return { id, problem: new AppError('not_found') }
      if (asset.status === 'pending') return { id, problem: new AppError('upload_incomplete') }
      return { id, ...(await presignShown(ctx.env, asset, type)) }
    }),
  )
}
