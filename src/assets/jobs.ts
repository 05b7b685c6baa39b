/** What is owed of objects: erased, found lost, brought home. */
import { and, eq, gt, isNull, not, sql } from 'drizzle-orm'
import type { JobCtx } from '../context.ts'
import { change, transact } from '../db/client.ts'
import { assets, outbox, uploads } from '../db/schema.ts'
import { exists, first, inWorkspace } from '../db/sql.ts'
import { unavailable } from '../errors.ts'
import { dispatch, owe, settle } from '../outbox/outbox.ts'
import { sweeperOf } from '../outbox/use.ts'
import { isErasureOf, oneAsset, removeAssets } from './assets.ts'
import { putObject } from './put.ts'
import {
  deleteCopies,
  deleteInput,
  deleteObject,
  emptyObject,
  isStored,
  originalOf,
  readObject,
  sizeOf,
} from './storage.ts'

/** Assets of one transaction, each with its row of the audit log. */
const SLICE = 500

/**
 * The job of a walk through storage that did not find an object: unless it is back, the assets that have it go, of which each
 * gives back its size, slice by slice.
 * @throws {AppError} unavailable, also while the last walk is not trusted
 */
export const loseObject = async (ctx: JobCtx, id: string): Promise<void> => {
  const isOf = and(inWorkspace(assets), eq(assets.objectId, id), eq(assets.status, 'ready'))
  const { rows } = await transact(ctx, (db) => ({ rows: db.select().from(assets).where(isOf).limit(1) }))
  const [asset] = rows
  const isLost = asset !== undefined && !(await isStored(...originalOf(ctx.env, asset)))
  if (isLost && !(await sweeperOf(ctx.env).lastWalk())?.isTrusted) {
    throw unavailable(new Error('the last walk through storage is not trusted'))
  }
  const slice = sql`(select id from ${assets} where ${isOf} order by id limit ${SLICE})`
  const { left } = await change(ctx, (db) => ({
    ...(isLost && { removed: removeAssets(db, and(isOf, sql`${assets.id} in ${slice}`)) }),
    left: db.execute<{ more: boolean }>(sql`select ${isLost} and ${exists(assets, isOf)} as more`),
    settled: settle(db, 'object.lost', id, isLost ? not(exists(assets, isOf)) : undefined),
  }))
  if (first(left.rows).more) {
    await dispatch(ctx, [{ kind: 'object.lost', workspaceId: ctx.workspaceId, subjectId: id }])
  }
}

/** SQL: somebody may have a URL that the whole object can be sent to. Those are signed until the upload's end, for an hour. */
export const isSendable = (id: string) =>
  exists(
    uploads,
    and(
      inWorkspace(uploads),
      eq(uploads.id, id),
      isNull(uploads.uploadId),
      sql`${uploads.endsAt} + interval '1 hour' > now()`,
    ),
  )

/** Deletes an object, or as long as it could be sent again empties it: `upload.end` deletes that. @throws {AppError} unavailable */
export const removeObject = ({ env, workspaceId }: JobCtx, id: string, sendable: boolean): Promise<void> =>
  sendable ? emptyObject(env, workspaceId, id) : deleteObject(env, workspaceId, id)

/** The job of a deletion: deletes what no asset needs, wherever it is, and then the note. */
export const eraseObject = async (ctx: JobCtx, id: string): Promise<void> => {
  const { env, workspaceId } = ctx
  const isOf = and(inWorkspace(assets), eq(assets.objectId, id))
  const needed = {
    object: exists(assets, isOf),
    // What has come home never goes away again.
    away: exists(assets, and(isOf, eq(assets.store, 'fallback'))),
    copies: exists(assets, oneAsset(id)),
  }
  const { needs } = await transact(ctx, (db) => ({
    // Counted first, so that an upload under way either has its row by now or can't get one.
    sent: db
      .update(outbox)
      .set({ sends: sql`${outbox.sends} + 1` })
      .where(isErasureOf(id)),
    needs: db.execute<Record<keyof typeof needed, boolean> & { sendable: boolean }>(
      sql`select ${needed.object} as object, ${needed.away} as away, ${needed.copies} as copies, ${isSendable(id)} as sendable`,
    ),
  }))
  const { object, away, copies, sendable } = first(needs.rows)
  if (!object) await removeObject(ctx, id, sendable)
  if (!copies) {
    await deleteInput(env, workspaceId, id)
    await deleteCopies(env, workspaceId, id)
  }
  if (!away && env.FALLBACK) await deleteObject(env.FALLBACK, workspaceId, id)
  // Unless it is owed anew.
  await transact(ctx, (db) => ({
    settled: db.delete(outbox).where(and(isErasureOf(id), gt(outbox.sends, 0))),
  }))
}

/** When the last URL of where an object was is over. */
const URLS_END = sql`interval '20 minutes'`

/**
 * The job of an object that was stored elsewhere while storage was away: brings it home. Until its assets say so, nobody reads
 * what is there, so that it may break off anywhere; what is left over, also of an asset that was deleted meanwhile, is erased.
 * @throws {AppError} unavailable
 */
export const moveObject = async (ctx: JobCtx, id: string): Promise<void> => {
  const { env, workspaceId } = ctx
  const isAway = and(inWorkspace(assets), eq(assets.objectId, id), eq(assets.store, 'fallback'))
  const { rows } = await transact(ctx, (db) => ({ rows: db.select().from(assets).where(isAway).limit(1) }))
  const [asset] = rows
  if (asset) {
    const { name, size, sha256 } = asset
    const chunks = readObject(...originalOf(env, asset), size)
    await putObject(env, { workspaceId, id, name }, chunks, size, { sha256 })
    const stored = await sizeOf(...originalOf(env, { ...asset, store: 'home' }))
    if (stored !== size) throw unavailable(new Error(`storage has ${stored} of ${size} bytes`))
  }
  await change(ctx, (db) => ({
    moved: db.update(assets).set({ store: 'home' }).where(isAway),
    left: owe(db, 'object.delete', [id], URLS_END),
    settled: settle(db, 'object.move', id),
  }))
}
