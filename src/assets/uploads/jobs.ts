/** What queues and the bucket have done about uploads: large files read, arrivals noted, what is over taken away. */
import { and, eq, not, sql } from 'drizzle-orm'
import type { JobCtx } from '../../context.ts'
import { change, transact } from '../../db/client.ts'
import { assets, outbox, uploads } from '../../db/schema.ts'
import { exists, first, inWorkspace } from '../../db/sql.ts'
import { AppError } from '../../errors.ts'
import { settle } from '../../outbox/outbox.ts'
import { oneAsset } from '../assets.ts'
import { abortParts } from '../parts.ts'
import { deleteObject, pathOf } from '../storage.ts'
import { completeUpload, finish, GRACE, isPending, oneUpload, orDiscard } from './uploads.ts'

/** The job that reads a file of parts: one at a time. @throws {AppError} not_found, unavailable */
export const checkUpload = async (ctx: JobCtx, id: string): Promise<void> => {
  const { claimed, rows } = await transact(ctx, (db) => ({
    claimed: db
      .update(uploads)
      .set({ leaseExpiresAt: sql`now() + interval '15 minutes'` })
      .where(and(oneUpload(id), sql`coalesce(${uploads.leaseExpiresAt} < now(), true)`))
      .returning(),
    rows: db.select().from(assets).where(oneAsset(id)),
    settled: db
      .delete(outbox)
      .where(
        and(eq(outbox.kind, 'upload.check'), eq(outbox.subjectId, id), not(exists(assets, isPending(id)))),
      ),
  }))
  const [asset, [upload]] = [first(rows), claimed]
  if (!upload || asset.status === 'ready') return
  try {
    await orDiscard(ctx, asset, finish(ctx, { asset, upload }))
  } catch (error) {
    if (error instanceof AppError && error.code === 'upload_mismatch') {
      return ctx.log({ level: 'info', message: 'upload discarded', assetId: id, error: error.message })
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
    const code = error instanceof AppError ? error.code : undefined
    if (code !== 'upload_incomplete' && code !== 'upload_mismatch') throw error
  }
}

/**
 * The job at the end of an upload's time, and when its asset is deleted before: gives up what is still pending, and deletes
 * what no asset needs. It comes again when no URL can bring anything any more.
 * @throws {AppError} unavailable
 */
export const endUpload = async (ctx: JobCtx, id: string): Promise<void> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select({
        upload: uploads,
        asset: assets,
        isUsed: sql<boolean>`${exists(assets, and(inWorkspace(assets), eq(assets.objectId, id)))}`,
        isOver: sql<boolean>`now() >= ${uploads.endsAt} + ${GRACE}`,
      })
      .from(uploads)
      .leftJoin(assets, and(oneAsset(id)))
      .where(oneUpload(id)),
  }))
  const [row] = rows
  const { upload, asset, isOver = true } = row ?? {}
  const isAbandoned = isOver && asset?.status === 'pending' && upload?.completedAt === null
  if (isAbandoned) {
    await change(ctx, (db) => ({ deleted: db.delete(assets).where(isPending(id)) }))
  }
  if (upload && (isAbandoned || !row?.isUsed)) {
    const path = pathOf(ctx.workspaceId, id)
    if (upload.uploadId !== null) await abortParts(ctx.env, path, upload.uploadId)
    await deleteObject(ctx.env, ctx.workspaceId, id)
  }
  const isDone = isOver && (isAbandoned || asset?.status !== 'pending')
  await transact(ctx, (db) => ({
    forgotten: db.delete(uploads).where(and(oneUpload(id), sql`${isDone}`)),
    settled: isDone
      ? settle(db, 'upload.end', id)
      : db.execute(sql`
          update outbox set available_at = greatest(now() + ${GRACE}, (select ends_at + ${GRACE} from uploads where ${oneUpload(id)}))
           where kind = 'upload.end' and subject_id = ${id}`),
  }))
}
