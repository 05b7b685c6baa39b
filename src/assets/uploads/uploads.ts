/** Uploads straight to storage: announced, sent to presigned URLs, and looked at before they become assets. */
import { and, eq, isNull, not, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { Ctx } from '../../context.ts'
import { change, ensure, transact } from '../../db/client.ts'
import { assets, idempotencyKeys, uploads } from '../../db/schema.ts'
import { exists, first, inWorkspace } from '../../db/sql.ts'
import type { Env } from '../../env.ts'
import { AppError, isUnknownOutcome, toAppError } from '../../errors.ts'
import { type Idempotency, isNewKey, noteKey, once, oneKey } from '../../idempotency.ts'
import { dispatch, owe, RESEND_DELAY, settle } from '../../outbox/outbox.ts'
import { fitsStorage } from '../../workspaces/quotas.ts'
import { type Asset, oneAsset } from '../assets.ts'
import { kindOf } from '../inspect.ts'
import { abortParts, completeParts, listParts, presignPart, startParts } from '../parts.ts'
import { presignPut } from '../presign.ts'
import { headersOf, pathOf, sizeOf } from '../storage.ts'
import { inspectHead, inspectObject } from './inspect.ts'

type Upload = typeof uploads.$inferSelect
interface Announced {
  name: string
  mimeType: string
  size: number
  sha256?: string | undefined
}
interface Pending {
  asset: Asset
  upload: Upload
}

/** Bytes of one file. */
export const MAX_DIRECT = 5_000_000_000
/** Bytes from which on a file is sent in parts, and of each part but the last. */
const PARTS_FROM = 100_000_000
const PART = 32 * 1024 * 1024
/** How long an upload may take, and how long after its end something may still arrive: a URL works for an hour. */
const LIFE = sql`interval '24 hours'`
export const GRACE = sql`interval '2 hours'`
/** SQL: nothing of it can arrive any more. */
export const isOver = sql`${uploads.endsAt} + ${GRACE} <= now()`

interface UploadPart {
  number: number
  /** Bytes. */
  size: number
  arrived: boolean
  /** Where to send it, by PUT with exactly these headers; none for what has arrived. */
  target?: { url: string; headers: Record<string, string>; expiresAt: string }
}

export const oneUpload = (id: string) => and(inWorkspace(uploads), eq(uploads.id, id))
export const isPending = (id: string) => and(oneAsset(id), eq(assets.status, 'pending'))
const pathOfAsset = ({ workspaceId, id }: Asset) => pathOf(workspaceId, id)
const isInParts = ({ size }: Asset) => size >= PARTS_FROM

const planOf = ({ asset: { size }, upload: { partSize } }: Pending) =>
  Array.from({ length: Math.ceil(size / partSize) }, (_, i) => ({
    number: i + 1,
    size: Math.min(partSize, size - i * partSize),
  }))

/**
 * An asset, and how it is uploaded if it is, or was a day ago.
 * @throws {AppError} not_found, upload_mismatch: it was deleted for that
 */
const readUpload = async (ctx: Ctx, id: string) => {
  const { found, rows } = await transact(ctx, (db) => ({
    found: db.select().from(assets).where(oneAsset(id)),
    rows: db
      .select({ upload: uploads, isOver: sql<boolean>`${isOver}` })
      .from(uploads)
      .where(oneUpload(id)),
  }))
  const [row] = rows
  if (row?.upload.mismatch) throw new AppError('upload_mismatch', { detail: row.upload.mismatch })
  return { asset: first(found), ...row }
}

/** Nobody may send to an object that is there, or anything but what was announced. */
const presignWhole = async (env: Env, asset: Asset) => {
  const headers = {
    ...headersOf(asset.name, asset.mimeType),
    'content-length': String(asset.size),
    'if-none-match': '*',
  }
  return { ...(await presignPut(env, pathOfAsset(asset), { headers })), headers }
}

const describe = (env: Env, pending: Pending, arrived: ReadonlySet<number>): Promise<UploadPart[]> =>
  Promise.all(
    planOf(pending).map(async (part) => {
      if (arrived.has(part.number)) return { ...part, arrived: true }
      const { asset, upload } = pending
      const target =
        upload.uploadId === null
          ? await presignWhole(env, asset)
          : await presignPart(env, pathOfAsset(asset), upload.uploadId, part.number, part.size)
      return { ...part, arrived: false, target }
    }),
  )

/** Starts the upload of parts in storage, once: of two that do, one takes its own back. @throws {AppError} not_found */
const start = async (ctx: Ctx, { asset, upload }: Pending): Promise<Pending> => {
  if (!isInParts(asset) || upload.uploadId !== null) return { asset, upload }
  const path = pathOfAsset(asset)
  const uploadId = await startParts(ctx.env, path, headersOf(asset.name, asset.mimeType))
  try {
    const { rows } = await change({ ...ctx, workspaceId: asset.workspaceId }, (db) => ({
      rows: db
        .update(uploads)
        .set({ uploadId })
        .where(and(oneUpload(asset.id), isNull(uploads.uploadId), exists(assets, isPending(asset.id))))
        .returning(),
    }))
    return { asset, upload: first(rows) }
  } catch (fault) {
    // After an unknown outcome it may be the upload's.
    if (!isUnknownOutcome(fault)) await abortParts(ctx.env, path, uploadId).catch(() => undefined)
    if (toAppError(fault).code !== 'not_found') throw fault
    const known = await readUpload(ctx, asset.id)
    if (known.upload?.uploadId) return { asset, upload: known.upload }
    throw fault
  }
}

/** Takes a pending asset back, and what there is of it in storage soon after; `mismatch` is kept for a day for whoever asks for it. */
const discard = async (ctx: Ctx, asset: Asset, mismatch: string): Promise<void> => {
  const { id, workspaceId } = asset
  await change({ ...ctx, workspaceId }, (db) => ({
    noted: db
      .update(uploads)
      .set({ mismatch })
      .where(and(oneUpload(id), exists(assets, isPending(id)))),
    deleted: db.delete(assets).where(isPending(id)),
    settled: settle(db, 'upload.check', id),
    note: owe(db, 'upload.end', [id], RESEND_DELAY),
  }))
  await dispatch(ctx, [{ kind: 'upload.end', workspaceId, subjectId: id }])
}

/** Takes an announcement back whose parts could not be started, unless the same request has started them meanwhile. */
const takeBack = (ctx: Ctx, id: string, idempotency: Idempotency | undefined) =>
  change(ctx, (db) => ({
    deleted: db
      .delete(assets)
      .where(and(isPending(id), exists(uploads, and(oneUpload(id), isNull(uploads.uploadId))))),
    ended: db
      .update(uploads)
      .set({ endsAt: sql`least(ends_at, now())` })
      .where(and(oneUpload(id), not(exists(assets, oneAsset(id))))),
    ...(idempotency && {
      forgotten: db
        .delete(idempotencyKeys)
        .where(and(oneKey(idempotency), not(exists(assets, oneAsset(id))))),
    }),
  }))

interface Begun {
  asset: Asset
  endsAt: Date
  parts: UploadPart[]
}

/**
 * Announces a file: its storage is reserved from now on. With an idempotency key the same is announced once, and has fresh
 * URLs each time.
 * @throws {AppError} unsupported_media_type, storage_quota_exceeded, idempotency_key_reused, unavailable; of what was announced
 * before not_found, upload_expired, upload_mismatch
 */
export const beginUpload = (ctx: Ctx, announced: Announced, idempotency?: Idempotency) =>
  once(
    ctx,
    idempotency,
    () => announce(ctx, announced, idempotency),
    ({ assetId }: { assetId: string }) => getUpload(ctx, assetId),
  )

const announce = async (
  ctx: Ctx,
  announced: Announced,
  idempotency: Idempotency | undefined,
): Promise<Begun> => {
  const { name, mimeType, size, sha256 } = announced
  const id = uuidv7()
  const kind = kindOf(mimeType)
  const { gate, asset, upload } = await change(ctx, (db) => ({
    ...(idempotency && { isNew: isNewKey(db, idempotency) }),
    asset: db
      .insert(assets)
      .values({ id, objectId: id, name, kind, mimeType, size, source: 'upload', status: 'pending' })
      .returning(),
    upload: db
      .insert(uploads)
      .values({
        id,
        partSize: size >= PARTS_FROM ? PART : size,
        sha256: sha256 ?? null,
        endsAt: sql`now() + ${LIFE}`,
      })
      .returning(),
    note: owe(db, 'upload.end', [id], sql`${LIFE} + ${GRACE}`),
    ...(idempotency && {
      noted: noteKey(db, idempotency, sql`jsonb_build_object('assetId', ${id}::text)`),
    }),
    fits: ensure(db, fitsStorage(0), 'storage_quota_exceeded'),
  }))
  const own = { ...ctx, workspaceId: gate.workspaceId }
  try {
    const pending = await start(own, { asset: first(asset), upload: first(upload) })
    const parts = await describe(ctx.env, pending, new Set())
    return { asset: pending.asset, endsAt: pending.upload.endsAt, parts }
  } catch (fault) {
    await takeBack(own, id, idempotency).catch(() => undefined)
    throw fault
  }
}

/** Numbers and ETags of the parts that are in storage as they should be. @throws {AppError} upload_expired, unavailable */
const arrivedOf = async (env: Env, pending: Pending): Promise<Map<number, string>> => {
  const { asset, upload } = pending
  const path = pathOfAsset(asset)
  const plan = planOf(pending)
  const parts = upload.uploadId === null ? undefined : await listParts(env, path, upload.uploadId)
  if (parts) {
    const whole = plan.filter(({ number, size }) => parts.get(number)?.size === size)
    return new Map(whole.map(({ number }) => [number, parts.get(number)?.etag ?? '']))
  }
  // No parts, or no longer: they are an object by now.
  if ((await sizeOf(env, path)) !== undefined) return new Map(plan.map(({ number }) => [number, '']))
  if (upload.uploadId !== null) throw new AppError('upload_expired')
  return new Map()
}

/** What has arrived, and where to send the rest. @throws {AppError} not_found, upload_expired, unavailable */
export const getUpload = async (ctx: Ctx, id: string): Promise<Begun> => {
  const { asset, upload } = await readUpload(ctx, id)
  if (!upload) throw new AppError('not_found')
  const isComplete = asset.status === 'ready' || upload.completedAt !== null
  if (!isComplete && upload.endsAt.getTime() <= Date.now()) throw new AppError('upload_expired')
  const pending = await start(ctx, { asset, upload })
  const arrived = isComplete
    ? planOf(pending).map(({ number }) => number)
    : (await arrivedOf(ctx.env, pending)).keys()
  return { asset, endsAt: upload.endsAt, parts: await describe(ctx.env, pending, new Set(arrived)) }
}

/** Makes an object of the parts. @throws {AppError} upload_incomplete */
const assemble = async (env: Env, pending: Pending): Promise<void> => {
  const { asset, upload } = pending
  if (upload.uploadId === null) throw new AppError('upload_incomplete')
  const arrived = await arrivedOf(env, pending)
  const etags = planOf(pending).flatMap(({ number }) => arrived.get(number) ?? [])
  if (etags.length < planOf(pending).length) throw new AppError('upload_incomplete')
  // Without ETags they are an object by now.
  if (etags.every((etag) => etag === '')) return
  await completeParts(env, pathOfAsset(asset), upload.uploadId, { etags, size: asset.size })
}

/** Reads all of it, and makes it an asset. @throws {AppError} upload_mismatch, not_found, unavailable */
export const finish = async (
  ctx: Ctx,
  { asset, upload }: Pending,
  renew?: () => Promise<unknown>,
): Promise<Asset> => {
  const found = await inspectObject(ctx.env, pathOfAsset(asset), asset, renew)
  if (upload.sha256 !== null && found.sha256 !== upload.sha256) {
    throw new AppError('upload_mismatch', { detail: `Its SHA-256 is ${found.sha256}: it was deleted.` })
  }
  const { sha256, width, height, durationSeconds, pages } = found
  const { rows } = await change({ ...ctx, workspaceId: asset.workspaceId }, (db) => ({
    rows: db
      .update(assets)
      .set({ status: 'ready', sha256, width, height, durationSeconds, pages })
      .where(isPending(asset.id))
      .returning(),
    settled: settle(db, 'upload.check', asset.id),
  }))
  // Or somebody else was faster.
  return rows[0] ?? (await readUpload(ctx, asset.id)).asset
}

/** Whoever did not send what was announced has nothing. */
export const orDiscard = async <T>(ctx: Ctx, asset: Asset, work: Promise<T>): Promise<T> => {
  try {
    return await work
  } catch (error) {
    if (error instanceof AppError && error.code === 'upload_mismatch') {
      await discard(ctx, asset, error.message)
    }
    throw error
  }
}

/** @throws {AppError} not_found, upload_incomplete, upload_mismatch, upload_expired, unavailable */
const complete = async (ctx: Ctx, { asset, upload }: Pending): Promise<Asset> => {
  const { id, workspaceId } = asset
  if (isInParts(asset)) await assemble(ctx.env, { asset, upload })
  const size = await sizeOf(ctx.env, pathOfAsset(asset))
  if (size === undefined) throw new AppError('upload_incomplete')
  if (!isInParts(asset)) return orDiscard(ctx, asset, finish(ctx, { asset, upload }))
  await orDiscard(ctx, asset, inspectHead(ctx.env, pathOfAsset(asset), asset))
  await change({ ...ctx, workspaceId }, (db) => ({
    isThere: ensure(db, exists(assets, isPending(id)), 'not_found'),
    marked: db.update(uploads).set({ completedAt: sql`now()` }).where(oneUpload(id)),
    note: owe(db, 'upload.check', [id], RESEND_DELAY),
  }))
  await dispatch(ctx, [{ kind: 'upload.check', workspaceId, subjectId: id }])
  return asset
}

/**
 * Looks at what has arrived. A file that came in parts takes a while to read: a job does it, and the asset is pending until
 * then. Done twice is done once.
 * @throws {AppError} not_found, upload_incomplete, upload_mismatch, upload_expired, unavailable
 */
export const completeUpload = async (ctx: Ctx, id: string): Promise<Asset> => {
  const { asset, upload, isOver } = await readUpload(ctx, id)
  if (asset.status === 'ready' || !upload || upload.completedAt !== null) return asset
  if (isOver) throw new AppError('upload_expired')
  const completing = complete(ctx, { asset, upload })
  // A client that hangs up would end the request before its place is given back.
  ctx.waitUntil?.(completing.catch(() => undefined))
  try {
    return await completing
  } catch (error) {
    // Or somebody else was faster, to either end.
    const now = await readUpload(ctx, id)
    if (now.asset.status === 'ready') return now.asset
    throw error
  }
}
