/**
 * Photos as providers are sent them: upright, RGB, scaled, without metadata, JPEG or PNG. Cloudflare Images makes such a
 * copy once an asset; it lies in storage beside the original, and later jobs find it in the asset's row.
 */
import type { JobCtx } from '../context.ts'
import { change } from '../db/client.ts'
import { assets } from '../db/schema.ts'
import { AppError, describeError, toAppError } from '../errors.ts'
import { readChunks } from '../streams.ts'
import type { PreparedInput } from '../words.ts'
import { type Asset, oneAsset } from './assets.ts'
import { putObject } from './put.ts'
import { deleteInput, openObject } from './storage.ts'
import { HEAD, isTransparent } from './transparency.ts'

/** Pixels of the longer side: the least that a model of the catalogue takes as its most. */
export const MAX_SIDE = 2000
/** What Cloudflare Images takes: pixels in all, and bytes. */
export const MAX_PIXELS = 100_000_000
export const MAX_ORIGINAL = 20_000_000
/** Bytes, likewise the least; less than a part of an upload, so that a copy is stored whole or not at all. */
const MAX_BYTES = 5_000_000
/** Of the longer side, tried in turn until the copy is small enough: the last one is, even uncompressed. */
const SCALES = [1, 0.7, 0.5]
const QUALITY = 90
/** Milliseconds for one copy; Cloudflare Images has no limit of its own to rely on. */
const PATIENCE = 60_000

/** A picture of one pixel (PNG). */
const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
  'base64',
)

/** No copy can be made of it: whatever is tried, the photo is at fault. */
export class UnusablePhoto extends Error {}

export type PreparedAsset = Asset & { prepared: PreparedInput }

const inTime = <T>(work: Promise<T>): Promise<T> =>
  Promise.race([
    work,
    scheduler.wait(PATIENCE).then(() => {
      throw new AppError('unavailable', { cause: new Error('preparing a photo takes too long') })
    }),
  ])

/** Its first bytes. */
const headOf = async ({ env }: JobCtx, { workspaceId, objectId }: Asset): Promise<Buffer> =>
  Buffer.from(await (await openObject(env, workspaceId, objectId, HEAD)).arrayBuffer())

/** @throws {Error} of Cloudflare Images, whoever is at fault; {AppError} unavailable */
const makeCopy = async (ctx: JobCtx, asset: Asset): Promise<PreparedInput> => {
  const { env, workspaceId } = ctx
  // A JPEG never is.
  const isSolid = asset.mimeType === 'image/jpeg' || !isTransparent(asset.mimeType, await headOf(ctx, asset))
  const mimeType = isSolid ? 'image/jpeg' : 'image/png'
  const location = { workspaceId, assetId: asset.id, name: 'input', input: mimeType } as const
  const longer = Math.min(MAX_SIDE, Math.max(asset.width ?? MAX_SIDE, asset.height ?? MAX_SIDE))
  for (const scale of SCALES) {
    const side = Math.ceil(longer * scale)
    const { body } = await openObject(env, workspaceId, asset.objectId)
    if (!body) throw new AppError('unavailable')
    const copy = await env.IMAGES.input(body)
      .transform({ width: side, height: side, fit: 'scale-down' })
      .output({ format: mimeType, quality: QUALITY, anim: false })
    try {
      const made = await putObject(env, location, readChunks(copy.image()), MAX_BYTES)
      const { size, width, height } = made
      // By its own documentation Cloudflare Images may choose another format.
      if (made.mimeType !== mimeType) throw new Error(`asked for ${mimeType}, got ${made.mimeType}`)
      return { mimeType, size, width: width ?? 0, height: height ?? 0 }
    } catch (thrown) {
      if (!(thrown instanceof AppError) || thrown.code !== 'payload_too_large') throw thrown
    }
  }
  throw new UnusablePhoto(`no copy has less than ${MAX_BYTES} bytes`)
}

/** Whether a fault may be of anything but the photo: Cloudflare Images makes no copy at all, or storage does not give it. */
const checkOthers = async ({ env, workspaceId }: JobCtx, { objectId, size }: Asset): Promise<void> => {
  const { body: pixel } = new Response(PIXEL)
  if (pixel) await (await env.IMAGES.input(pixel).output({ format: 'image/png' })).response().arrayBuffer()
  const { body } = await openObject(env, workspaceId, objectId)
  let read = 0
  if (body) for await (const chunk of readChunks(body)) read += chunk.length
  if (read !== size) throw new Error(`storage gave ${read} of ${size} bytes`)
}

const isAway = (thrown: unknown) => thrown instanceof AppError && thrown.code === 'unavailable'

/** @throws {UnusablePhoto}; {AppError} unavailable, while Cloudflare Images or storage is away */
const makeCopyOrJudge = async (ctx: JobCtx, asset: Asset): Promise<PreparedInput> => {
  try {
    return await inTime(makeCopy(ctx, asset))
  } catch (thrown) {
    if (isAway(thrown) || thrown instanceof UnusablePhoto) throw thrown
    const { log } = ctx
    log({ level: 'warn', message: 'photo not prepared', assetId: asset.id, error: describeError(thrown) })
  }
  // Codes of errors don't tell a broken photo from a fault that passes; what works with another picture does.
  try {
    await inTime(checkOthers(ctx, asset))
  } catch (cause) {
    throw new AppError('unavailable', { cause })
  }
  try {
    return await inTime(makeCopy(ctx, asset))
  } catch (cause) {
    if (isAway(cause)) throw cause
    throw new UnusablePhoto('twice in vain', { cause })
  }
}

/**
 * The asset with the copy that providers are sent, made now unless there is one. Two that make it at once store the same
 * bytes under the same key.
 * @throws {UnusablePhoto}; {AppError} unavailable; not_found: it was deleted meanwhile
 */
export const prepareInput = async (ctx: JobCtx, asset: Asset): Promise<PreparedAsset> => {
  if (asset.prepared) return { ...asset, prepared: asset.prepared }
  const prepared = await makeCopyOrJudge(ctx, asset)
  const kept = await change(ctx, (db) => ({
    rows: db.update(assets).set({ prepared }).where(oneAsset(asset.id)).returning({ id: assets.id }),
  })).catch((thrown: unknown) => {
    if (toAppError(thrown).code === 'not_found') return { rows: [] }
    throw thrown
  })
  if (kept.rows.length > 0) return { ...asset, prepared }
  // Its deletion may have come before the copy.
  await deleteInput(ctx.env, ctx.workspaceId, asset.id)
  throw new AppError('not_found')
}
