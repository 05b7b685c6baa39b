/** Sized copies of pictures, and of films' frames: made by Cloudflare Images when one is first asked for, and kept beside the original. */
import { and, eq, isNull, sql } from 'drizzle-orm'
import type { Ctx, JobCtx } from '../context.ts'
import { change, type Database, ensure, transact } from '../db/client.ts'
import { assetCopies, assets } from '../db/schema.ts'
import { exists, first, inWorkspace } from '../db/sql.ts'
import { AppError, invalidField, unavailable } from '../errors.ts'
import { owe, settle } from '../outbox/outbox.ts'
import { readChunks } from '../streams.ts'
import type { CopyFormat, CopyWidth } from '../words.ts'
import { type Asset, oneAsset } from './assets.ts'
import { readFilm } from './film.ts'
import {
  convert,
  isConvertible,
  MAX_ANSWER,
  MAX_FILM,
  MAX_PIXELS,
  mostOf,
  movingOrStill,
  openConvertible,
  orJudge,
  UnusablePhoto,
} from './images.ts'
import { metadataOf, withoutMetadata } from './metadata.ts'
import { stemOf } from './names.ts'
import type { Delivered } from './presign.ts'
import { isSourceType, markAsGenerated } from './provenance.ts'
import { putObject } from './put.ts'
import { deleteCopies } from './storage.ts'

/** Bytes; an animation of fifty megapixels has less. */
const MAX_COPY = 50_000_000
const QUALITY = 82
/** How long who makes a copy has for it. */
const LEASE = sql`interval '1 minute'`
/** Milliseconds until the first look at a copy that somebody else makes, and in all; each waits longer than the one before. */
const LOOK = 200
const PATIENCE = 25_000

interface Wanted {
  width: CopyWidth
  format: CopyFormat
}
type Copy = typeof assetCopies.$inferSelect

const mimeTypeOf = (format: CopyFormat) => `image/${format}` as const
const nameOf = ({ width, format }: Wanted) => `${width}.${format}`
const copiesOf = (assetId: string) => and(inWorkspace(assetCopies), eq(assetCopies.assetId, assetId))
const oneCopy = (assetId: string, name: string) => and(copiesOf(assetId), eq(assetCopies.name, name))

const readBoth = async (
  ctx: Ctx,
  id: string,
  name: string,
): Promise<{ asset: Asset; copy: Copy | undefined }> => {
  const { found, copies } = await transact(ctx, (db) => ({
    found: db.select().from(assets).where(oneAsset(id)),
    copies: db.select().from(assetCopies).where(oneCopy(id, name)),
  }))
  return { asset: first(found), copy: copies[0] }
}

const notConvertible = (detail: string, cause?: unknown) => new AppError('not_convertible', { detail, cause })
const refused = ({ kind }: Asset, cause?: unknown) =>
  kind === 'image'
    ? notConvertible('No copy can be made: the picture cannot be read.', cause)
    : notConvertible('No poster can be made: it is no film in H.264 that can be read.', cause)

/** Posters are what Cloudflare makes of films by the URL of a zone. @throws {AppError} not_convertible */
const checkFilm = ({ env }: Ctx, { mimeType, size }: Asset): void => {
  if (!env.IMAGES_URL) throw notConvertible('Films have no posters here.')
  if (mimeType === 'video/mp4' && size < MAX_FILM) return
  throw notConvertible(`Posters are made of films that are MP4 in H.264, of less than ${MAX_FILM / 1e6} MB.`)
}

/** @throws {AppError} upload_incomplete, validation_failed, not_convertible */
const checkConvertible = (ctx: Ctx, asset: Asset): void => {
  if (asset.status === 'pending') throw new AppError('upload_incomplete')
  if (asset.kind === 'document')
    throw invalidField('/query/width', 'only pictures and films have sized copies')
  if (asset.kind === 'video') checkFilm(ctx, asset)
  else if (!isConvertible(ctx, asset)) {
    throw notConvertible(
      `Copies are made of pictures of at most ${mostOf(ctx.env) / 1e6} MB and ${MAX_PIXELS / 1e6} megapixels.`,
    )
  }
}

/**
 * Takes the making of a copy, unless somebody has it, and notes that copies may have to be deleted.
 * @returns until when, in the database's words: of whoever has it next that is another
 */
const claim = async (ctx: Ctx, id: string, name: string): Promise<string | undefined> => {
  const lease = sql`now() + ${LEASE}`
  const { rows } = await change(ctx, (db) => ({
    found: ensure(db, exists(assets, oneAsset(id)), 'not_found'),
    rows: db
      .insert(assetCopies)
      .values({ assetId: id, name, leaseExpiresAt: lease })
      .onConflictDoUpdate({
        target: [assetCopies.workspaceId, assetCopies.assetId, assetCopies.name],
        set: { leaseExpiresAt: lease },
        setWhere: sql`${assetCopies.madeAt} is null and ${assetCopies.refusedAt} is null and ${assetCopies.leaseExpiresAt} < now()`,
      })
      .returning({ lease: sql<string>`${assetCopies.leaseExpiresAt}::text` }),
    note: owe(db, 'copies.delete', [id], sql`interval '10 minutes'`),
  }))
  return rows[0]?.lease
}

/** Copies that somebody is making now. */
const underWay = (id: string) => and(copiesOf(id), isNull(assetCopies.madeAt), isNull(assetCopies.refusedAt))

/**
 * Ends a claim: with a copy, which is good whoever made it; or, for who still has it only, as refused, or as if nothing had been.
 * @returns whether it did
 */
const end = async (
  ctx: Ctx,
  id: string,
  name: string,
  outcome: { size: number } | { is: 'refused' | 'again'; lease: string },
) => {
  const isMine = (lease: string) =>
    and(
      oneCopy(id, name),
      isNull(assetCopies.madeAt),
      sql`${assetCopies.leaseExpiresAt} = ${lease}::timestamptz`,
    )
  const write = (db: Database) => {
    if ('size' in outcome) {
      return db
        .update(assetCopies)
        .set({ size: outcome.size, madeAt: sql`now()` })
        .where(oneCopy(id, name))
        .returning()
    }
    return outcome.is === 'again'
      ? db.delete(assetCopies).where(isMine(outcome.lease)).returning()
      : db.update(assetCopies).set({ refusedAt: sql`now()` }).where(isMine(outcome.lease)).returning()
  }
  const { ended } = await change(ctx, (db) => ({
    ended: write(db),
    settled: db.execute(sql`
      delete from outbox where kind = 'copies.delete' and workspace_id = (select app.workspace_id()) and subject_id = ${id}
         and not ${exists(assetCopies, underWay(id))}`),
  }))
  return ended.length > 0
}

/** @throws {UnusablePhoto}; {AppError} unavailable */
const make = async (ctx: Ctx, asset: Asset, wanted: Wanted): Promise<number> => {
  const format = mimeTypeOf(wanted.format)
  if (asset.kind === 'video') {
    const film = await readFilm(ctx.env, asset)
    if (film?.videoCodec !== 'H.264' || film.claimed > asset.size)
      throw new UnusablePhoto('no H.264, or cut off')
  }
  // The copy keeps the marking that the original has.
  const { sourceType } = await metadataOf(ctx.env, asset)
  const location = {
    workspaceId: asset.workspaceId,
    id: asset.id,
    name: asset.name,
    copy: nameOf(wanted),
  }
  const makeOne = async (anim: boolean) => {
    const options = { width: wanted.width, height: MAX_ANSWER, format, quality: QUALITY, anim }
    const picture = await convert(ctx, await openConvertible(ctx, asset), options)
    const bytes = withoutMetadata(format, readChunks(picture))
    return putObject(
      ctx.env,
      location,
      isSourceType(sourceType) ? markAsGenerated(bytes, sourceType) : bytes,
      MAX_COPY,
    )
  }
  const { size } = await orJudge(ctx, asset, () =>
    wanted.format === 'webp' ? movingOrStill(asset, makeOne) : makeOne(false),
  )
  return size
}

/** Waits for a copy that somebody else makes. @throws {AppError} unavailable, if that takes long */
const waitForOther = async (ctx: Ctx, id: string, name: string): Promise<Copy> => {
  const end = Date.now() + PATIENCE
  for (let pause = LOOK; Date.now() < end; pause *= 1.5) {
    await scheduler.wait(pause)
    const { copy } = await readBoth(ctx, id, name)
    if (!copy) break
    if (copy.madeAt || copy.refusedAt) return copy
  }
  throw unavailable()
}

/** @throws {AppError} not_found, not_convertible, unavailable */
const makeOrWait = async (ctx: Ctx, asset: Asset, wanted: Wanted): Promise<void> => {
  const name = nameOf(wanted)
  const lease = await claim(ctx, asset.id, name)
  if (lease === undefined) {
    const { refusedAt } = await waitForOther(ctx, asset.id, name)
    if (refusedAt) throw refused(asset)
    return
  }
  const making = makeClaimed(ctx, asset, wanted, lease)
  // Browsers hang up when their user goes on; others would wait for what nobody makes.
  ctx.waitUntil?.(making.catch(() => undefined))
  await making
}

/** Deletes the copies of an asset that is no more. @returns whether it is */
const eraseIfGone = async (ctx: Ctx, workspaceId: string, id: string): Promise<boolean> => {
  const { kept } = await transact(ctx, (db) => ({
    kept: db.select({ id: assets.id }).from(assets).where(oneAsset(id)),
  }))
  if (kept.length > 0) return false
  await deleteCopies(ctx.env, workspaceId, id)
  return true
}

/** @throws {AppError} not_found, not_convertible, unavailable */
const makeClaimed = async (ctx: Ctx, asset: Asset, wanted: Wanted, lease: string): Promise<void> => {
  const name = nameOf(wanted)
  let isKept: boolean
  try {
    isKept = await end(ctx, asset.id, name, { size: await make(ctx, asset, wanted) })
  } catch (thrown) {
    const isRefused = thrown instanceof UnusablePhoto
    await end(ctx, asset.id, name, { is: isRefused ? 'refused' : 'again', lease }).catch(() => undefined)
    throw isRefused ? refused(asset, thrown) : thrown
  }
  if (isKept) return
  // The asset was deleted before the copy was stored; or this took so long that somebody else had the claim, and gave it up.
  throw (await eraseIfGone(ctx, asset.workspaceId, asset.id)) ? new AppError('not_found') : unavailable()
}

/** The name of the original with the ending of what it is now. */
const fileNameOf = (name: string, { width, format }: Wanted) =>
  `${stemOf(name)}-${width}.${format === 'jpeg' ? 'jpg' : format}`

/** The copy, made if it is not there. @throws {AppError} not_found, upload_incomplete, validation_failed, not_convertible, unavailable */
export const getCopy = async (ctx: Ctx, id: string, wanted: Wanted): Promise<Delivered> => {
  const name = nameOf(wanted)
  const { asset, copy } = await readBoth(ctx, id, name)
  checkConvertible(ctx, asset)
  if (copy?.refusedAt) throw refused(asset)
  if (!copy?.madeAt) await makeOrWait({ ...ctx, workspaceId: asset.workspaceId }, asset, wanted)
  return {
    workspaceId: asset.workspaceId,
    assetId: id,
    copy: name,
    name: fileNameOf(asset.name, wanted),
    mimeType: mimeTypeOf(wanted.format),
  }
}

/** The job of what was noted when a copy was begun: whoever made it may have died after the asset was deleted. */
export const eraseCopies = async (ctx: JobCtx, id: string): Promise<void> => {
  await eraseIfGone(ctx, ctx.workspaceId, id)
  await transact(ctx, (db) => ({ settled: settle(db, 'copies.delete', id) }))
}
