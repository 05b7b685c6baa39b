/** Cloudflare Images, as everything here asks it: its limits, one picture made of another, and whose fault it is if none comes. */
import type { Ctx } from '../context.ts'
import { AppError, describeError, unavailable } from '../errors.ts'
import { readChunks } from '../streams.ts'
import type { Asset } from './assets.ts'
import { presignDownload } from './presign.ts'
import { openObject } from './storage.ts'

/** What it takes: pixels in all, and bytes, through the binding and by the URL of a zone. */
export const MAX_PIXELS = 100_000_000
export const MAX_ORIGINAL = 20_000_000
const MAX_BY_URL = 100_000_000
/** Pixels of the longer side to which what is too heavy for the binding is reduced without loss: so it has at most 20 MB. */
const REDUCED = 2200
/** Bytes that a film of which it gives a frame has less than, by the URL of a zone, and pixels a side of that. */
export const MAX_FILM = 40_000_000
const MAX_FRAME = 2000
/** Pixels of the longer side that it answers with. */
export const MAX_ANSWER = 12_000
/** Milliseconds for one picture; Cloudflare Images has no limit of its own to rely on. */
const PATIENCE = 60_000

/** A picture of one pixel (PNG). */
const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==',
  'base64',
)

/** Nothing can be made of it: whatever is tried, the photo is at fault. */
export class UnusablePhoto extends Error {}

type Format = 'image/jpeg' | 'image/png' | 'image/webp'

interface Wanted {
  /** Pixels at most; nothing is enlarged. */
  width: number
  height: number
  format: Format
  /** Of 100; not for PNG, which it would let have a palette. */
  quality?: number
  /** Whether what moves still moves; false when not given. */
  anim?: boolean
}

/** Upright, in sRGB, at most so large. @throws {Error} of Cloudflare Images, whoever is at fault */
export const convert = async (
  { env }: Pick<Ctx, 'env'>,
  picture: ReadableStream<Uint8Array>,
  { width, height, format, quality, anim = false }: Wanted,
): Promise<ReadableStream<Uint8Array>> => {
  const result = await env.IMAGES.input(picture)
    // Of what is transparent a JPEG shows the ground.
    .transform({
      width,
      height,
      fit: 'scale-down',
      ...(format === 'image/jpeg' && { background: '#ffffff' }),
    })
    .output({ format, anim, ...(quality !== undefined && format !== 'image/png' && { quality }) })
  // By its own documentation Cloudflare Images may choose another format.
  if (result.contentType() !== format) throw new Error(`asked for ${format}, got ${result.contentType()}`)
  return result.image()
}

/** What may move. */
const MOVING = ['image/gif', 'image/webp', 'image/avif']

/** Makes something of what moves if that can be made: an animation may be too large, and then its first picture is taken. */
export const movingOrStill = async <T>(
  { mimeType }: Asset,
  make: (anim: boolean) => Promise<T>,
): Promise<T> => {
  if (!MOVING.includes(mimeType)) return make(false)
  return make(true).catch((thrown: unknown) => {
    if (isJudged(thrown)) throw thrown
    return make(false)
  })
}

/** The original's bytes. @throws {AppError} unavailable */
const openOriginal = async ({ env }: Pick<Ctx, 'env'>, asset: Asset) => {
  const { body } = await openObject(env, asset)
  if (!body) throw unavailable()
  return body
}

/** What Cloudflare says of a film that is none (Media Transformations). */
const NO_FILM = 'err=9412'

/** A frame of a film, a second after its beginning, which may be black. @throws {AppError} unavailable; {Error}: it is no film */
const openFrame = async ({ env }: Pick<Ctx, 'env'>, asset: Asset) => {
  const time = (asset.durationSeconds ?? 0) > 2 ? 1 : 0
  const options = `mode=frame,time=${time}s,width=${MAX_FRAME},height=${MAX_FRAME},fit=scale-down,format=png`
  const source = await presignDownload(env, asset, { type: 'inline' })
  const response = await fetch(`${env.IMAGES_URL}/cdn-cgi/media/${options}/${source}`)
  if (response.ok && response.body) return response.body
  const cause = new Error(`Cloudflare answered ${response.status}, ${response.headers.get('cf-resized')}`)
  throw response.headers.get('cf-resized')?.includes(NO_FILM) ? cause : unavailable(cause)
}

/** The original, or of a film a frame, as the binding takes it. @throws {AppError} unavailable; {Error} of Cloudflare Images */
export const openConvertible = async (ctx: Pick<Ctx, 'env'>, asset: Asset) => {
  if (asset.kind === 'video') return openFrame(ctx, asset)
  const { IMAGES_URL } = ctx.env
  if (asset.size <= MAX_ORIGINAL || !IMAGES_URL) return openOriginal(ctx, asset)
  const options = `fit=scale-down,width=${REDUCED},height=${REDUCED},format=webp,quality=100,anim=false,metadata=none`
  const response = await fetch(
    `${IMAGES_URL}/cdn-cgi/image/${options}/${await presignDownload(ctx.env, asset, { type: 'inline' })}`,
  )
  if (!response.ok || !response.body) throw new Error(`Cloudflare Images answered ${response.status}`)
  return response.body
}

/** Bytes of a picture of which something can be made. */
export const mostOf = ({ IMAGES_URL }: Ctx['env']) => (IMAGES_URL ? MAX_BY_URL : MAX_ORIGINAL)

/** Whether it is within the limits of Cloudflare Images, as far as its row tells. */
export const isConvertible = ({ env }: Pick<Ctx, 'env'>, { kind, size, width, height }: Asset): boolean =>
  kind === 'image' && size <= mostOf(env) && (width ?? 0) * (height ?? 0) <= MAX_PIXELS

const inTime = <T>(work: Promise<T>): Promise<T> =>
  Promise.race([
    work,
    scheduler.wait(PATIENCE).then(() => {
      throw unavailable(new Error('Cloudflare Images takes too long'))
    }),
  ])

/** Whether a fault may be of anything but the photo: Cloudflare Images makes no copy at all, or storage does not give it. */
const checkOthers = async (ctx: Pick<Ctx, 'env'>, asset: Asset): Promise<void> => {
  const { body: pixel } = new Response(PIXEL)
  if (pixel)
    await new Response(await convert(ctx, pixel, { width: 1, height: 1, format: 'image/png' })).bytes()
  let read = 0
  for await (const chunk of readChunks(await openOriginal(ctx, asset))) read += chunk.length
  if (read !== asset.size) throw new Error(`storage gave ${read} of ${asset.size} bytes`)
}

/** What says by itself who is at fault. */
const isJudged = (thrown: unknown) =>
  thrown instanceof UnusablePhoto || (thrown instanceof AppError && thrown.code === 'unavailable')

/**
 * Does with a photo what needs Cloudflare Images. Its codes of errors don't tell a broken photo from a fault that passes;
 * what works with another picture does.
 * @throws {UnusablePhoto}; {AppError} unavailable, while Cloudflare Images or storage is away, and what `work` throws
 */
export const orJudge = async <T>(
  ctx: Pick<Ctx, 'env' | 'log'>,
  asset: Asset,
  work: () => Promise<T>,
): Promise<T> => {
  try {
    return await inTime(work())
  } catch (thrown) {
    if (isJudged(thrown)) throw thrown
    ctx.log({ level: 'warn', message: 'photo not read', assetId: asset.id, error: describeError(thrown) })
  }
  try {
    await inTime(checkOthers(ctx, asset))
  } catch (cause) {
    throw unavailable(cause)
  }
  try {
    return await inTime(work())
  } catch (cause) {
    if (isJudged(cause)) throw cause
    throw new UnusablePhoto('twice in vain', { cause })
  }
}
