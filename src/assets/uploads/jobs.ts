/** What queues and the bucket have done about uploads: large files read, arrivals noted, what is over taken away. */
import { and, eq, not, sql } from 'drizzle-orm'
import type { JobCtx } from '../../context.ts'
import { change, type Database, ensure, transact } from '../../db/client.ts'
import { assets, uploads } from '../../db/schema.ts'
import { exists, first, inWorkspace } from '../../db/sql.ts'
import { AppError, toAppError } from '../../errors.ts'
import { settle } from '../../outbox/outbox.ts'
import { oneAsset } from '../assets.ts'
import { isSendable, removeObject } from '../jobs.ts'
import { abortParts } from '../parts.ts'
import { pathOf } from '../storage.ts'
import { completeUpload, finish, GRACE, isOver, isPending, oneUpload, orDiscard } from './uploads.ts'

/** SQL: nobody reads it. */
const isFree = sql`coalesce(${uploads.leaseExpiresAt} < now(), true)`

/** What is not pending need not be read. */
const settleCheck = (db: Database, id: string) =>
  settle(db, 'upload.check', id, not(exists(assets, isPending(id))))

/** Longer than a range of it is read; renewed before each. */
const lease = { leaseExpiresAt: sql`now() + interval '90 seconds'` }

/**
 * The job that reads a file of parts: one at a time.
 * @returns the seconds until whoever reads it must have renewed the lease
 * @throws {AppError} not_found, unavailable
 */
export const checkUpload = async (ctx: JobCtx, id: string): Promise<number | undefined> => {
  const { claimed, held, rows } = await transact(ctx, (db) => ({
    claimed: db
      .update(uploads)
      .set(lease)
      .where(and(oneUpload(id), isFree))
      .returning(),
    held: db
      .select({ seconds: sql<number>`ceil(extract(epoch from ${uploads.leaseExpiresAt} - now()))::float8` })
      .from(uploads)
      .where(oneUpload(id)),
    rows: db.select().from(assets).where(oneAsset(id)),
    settled: settleCheck(db, id),
  }))
  const [asset, [upload]] = [first(rows), claimed]
  if (asset.status === 'ready') return undefined
  if (!upload) return held[0]?.seconds
  const renew = () =>
    transact(ctx, (db) => ({
      isWanted: ensure(db, exists(assets, isPending(id)), 'not_found'),
      renewed: db.update(uploads).set(lease).where(oneUpload(id)),
    }))
  try {
    await orDiscard(ctx, asset, finish(ctx, { asset, upload }, renew))
    return undefined
  } catch (error) {
    if (error instanceof AppError && error.code === 'upload_mismatch') {
      ctx.log({ level: 'info', message: 'upload discarded', assetId: id, error: error.message })
      return undefined
    }
    // For whoever tries it again.
    await transact(ctx, (db) => ({
      released: db.update(uploads).set({ leaseExpiresAt: null }).where(oneUpload(id)),
    }))
    throw error
  }
}

/** The bucket says that something has arrived. @throws {AppError} unavailable */
export const noteArrival = async (ctx: JobCtx, id: string): Promise<void> => {
  try {
    await completeUpload(ctx, id)
  } catch (error) {
    const { code } = toAppError(error)
    if (!['upload_incomplete', 'upload_mismatch', 'upload_expired'].includes(code)) throw error
  }
}

/**
 * The job at the end of an upload's time, and when its asset is deleted before: gives up what is still pending, and deletes
 * what no asset needs, also in a deleted workspace. It comes again when no URL can bring anything any more.
 * @throws {AppError} unavailable
 */
export const endUpload = async (ctx: JobCtx, id: string): Promise<void> => {
  // Decided in the workspace's turn: a file may be found good meanwhile. What is being read, or soon will be, is not given up.
  const isGivenUp = and(
    oneUpload(id),
    isOver,
    sql`coalesce(${uploads.completedAt} + ${GRACE} <= now(), true)`,
    isFree,
  )
  const { rows } = await change(ctx, (db) => ({
    givenUp: db.delete(assets).where(and(isPending(id), exists(uploads, isGivenUp))),
    unchecked: settleCheck(db, id),
    rows: db
      .select({
        uploadId: uploads.uploadId,
        status: assets.status,
        isUsed: sql<boolean>`${exists(assets, and(inWorkspace(assets), eq(assets.objectId, id)))}`,
        isSendable: sql<boolean>`${isSendable(id)}`,
        isOver: sql<boolean>`${isOver}`,
      })
      .from(uploads)
      .leftJoin(assets, oneAsset(id))
      .where(oneUpload(id)),
  }))
  const [upload] = rows
  if (upload && !upload.isUsed) {
    if (upload.uploadId !== null) await abortParts(ctx.env, pathOf(ctx.workspaceId, id), upload.uploadId)
    await removeObject(ctx, id, upload.isSendable)
  }
  const isDone = !upload || (upload.isOver && upload.status !== 'pending')
  await transact(ctx, (db) => ({
    forgotten: db.delete(uploads).where(and(oneUpload(id), sql`${isDone}`)),
    settled: isDone
      ? settle(db, 'upload.end', id)
      : db.execute(sql`
          update outbox set available_at = greatest(now() + ${GRACE}, (select ends_at + ${GRACE} from uploads where ${oneUpload(id)}))
           where kind = 'upload.end' and subject_id = ${id}`),
  }))
}
