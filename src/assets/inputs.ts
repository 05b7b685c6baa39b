/**
 * Photos as providers are sent them: upright, RGB, scaled, without metadata, JPEG or PNG. Cloudflare Images makes such a
 * copy once an asset; it lies in storage beside the original, and later jobs find it in the asset's row.
 */
import type { JobCtx } from '../context.ts'
import { change } from '../db/client.ts'
import { assets } from '../db/schema.ts'
import { AppError } from '../errors.ts'
import { readChunks } from '../streams.ts'
import type { PreparedInput } from '../words.ts'
import { type Asset, oneAsset } from './assets.ts'
import { convert, openConvertible, orJudge, UnusablePhoto } from './images.ts'
import { withoutMetadata } from './metadata.ts'
import { putObject } from './put.ts'
import { deleteInput, openObject } from './storage.ts'
import { HEAD, isTransparent } from './transparency.ts'

/** Pixels of the longer side: the least that a model of the catalogue takes as its most. */
export const MAX_SIDE = 2000
/** Bytes, likewise the least; less than a part of an upload, so that a copy is stored whole or not at all. */
const MAX_BYTES = 5_000_000
/** Of the longer side, tried in turn until the copy is small enough: the last one is, even uncompressed. */
const SCALES = [1, 0.7, 0.5]
const QUALITY = 90

export type PreparedAsset = Asset & { prepared: PreparedInput }

/** Its first bytes. */
const headOf = async ({ env }: JobCtx, asset: Asset): Promise<Buffer> =>
  Buffer.from(await (await openObject(env, asset, HEAD)).arrayBuffer())

/** @throws {Error} of Cloudflare Images, whoever is at fault; {AppError} unavailable */
const makeCopy = async (ctx: JobCtx, asset: Asset): Promise<PreparedInput> => {
  const { env, workspaceId } = ctx
  // A JPEG never is.
  const isSolid = asset.mimeType === 'image/jpeg' || !isTransparent(asset.mimeType, await headOf(ctx, asset))
  const mimeType = isSolid ? 'image/jpeg' : 'image/png'
  const location = { workspaceId, id: asset.id, name: 'input', input: mimeType } as const
  const longer = Math.min(MAX_SIDE, Math.max(asset.width ?? MAX_SIDE, asset.height ?? MAX_SIDE))
  for (const scale of SCALES) {
    const side = Math.ceil(longer * scale)
    const wanted = { width: side, height: side, format: mimeType, quality: QUALITY } as const
    const copy = await convert(ctx, await openConvertible(ctx, asset), wanted)
    try {
      const { size, width, height } = await putObject(
        env,
        location,
        withoutMetadata(mimeType, readChunks(copy)),
        MAX_BYTES,
      )
      return { mimeType, size, width: width ?? 0, height: height ?? 0 }
    } catch (thrown) {
      if (!(thrown instanceof AppError) || thrown.code !== 'payload_too_large') throw thrown
    }
  }
  throw new UnusablePhoto(`no copy has less than ${MAX_BYTES} bytes`)
}

/**
 * The asset with the copy that providers are sent, made now unless there is one. Two that make it at once store the same
 * bytes under the same key.
 * @throws {UnusablePhoto}; {AppError} unavailable; not_found: it was deleted meanwhile
 */
export const prepareInput = async (ctx: JobCtx, asset: Asset): Promise<PreparedAsset> => {
  if (asset.prepared) return { ...asset, prepared: asset.prepared }
  const prepared = await orJudge(ctx, asset, () => makeCopy(ctx, asset))
  const { rows } = await change(ctx, (db) => ({
    rows: db.update(assets).set({ prepared }).where(oneAsset(asset.id)).returning({ id: assets.id }),
  }))
  if (rows.length > 0) return { ...asset, prepared }
  // Its deletion may have come before the copy.
  await deleteInput(ctx.env, ctx.workspaceId, asset.id)
  throw new AppError('not_found')
}
