/**
 * Stands in for Cloudflare Images: answers what the `images` binding posts, and URLs of a zone that transforms, with sharp
 * and within the limits of https://developers.cloudflare.com/images/get-started/limits/, as read on 27 November 2026. Of AVIF it is what an
 * enterprise account has. Frames of films as https://developers.cloudflare.com/stream/transform-videos/ has them, by ffmpeg.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import ffmpeg from '@ffmpeg-installer/ffmpeg'
import sharp from 'sharp'

/** As Cloudflare numbers them. */
const CODES = {
  options: 9401,
  source: 9402,
  noImage: 9412,
  tooLarge: 9413,
  unsupported: 9520,
  internal: 9523,
}
const MAX_PIXELS = 100_000_000
const MAX_BYTES = 20_000_000
const MAX_BYTES_BY_URL = 100_000_000
const MAX_FILM = 40_000_000
/** Pixels of all frames; a larger animation is answered as it is. */
const MAX_MOVING = 50_000_000
/** Pixels a side of what is answered, but for WebP. */
const MAX_SIDE = 12_000
const formats = { 'image/jpeg': 'jpeg', 'image/png': 'png', 'image/webp': 'webp' } as const
const inputs = ['jpeg', 'png', 'webp', 'gif', 'heif']

class Refused extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const isFormat = (type: unknown): type is keyof typeof formats => Object.hasOwn(formats, String(type))

const isHeic = (bytes: Uint8Array) =>
  /^ftyp(heic|heix|mif1)/.test(Buffer.from(bytes.subarray(4, 12)).toString())

const decodeHeic = async (bytes: Uint8Array) => {
  const [picture] = await once(
    new Worker(new URL('./heic.ts', import.meta.url), { workerData: bytes }),
    'message',
  )
  // `as`: what the thread posts.
  return picture as { width: number; height: number; data: Uint8ClampedArray }
}

/** sharp's own libheif knows AVIF only. */
const open = async (bytes: Uint8Array, moving: boolean) => {
  if (!isHeic(bytes)) return sharp(bytes, { autoOrient: true, limitInputPixels: false, animated: moving })
  const { width, height, data } = await decodeHeic(bytes)
  return sharp(Buffer.from(data), { raw: { width, height, channels: 4 } })
}

/** @throws {Refused} */
const transform = async (form: FormData): Promise<{ type: string; bytes: Uint8Array }> => {
  const [image, type] = [form.get('image'), form.get('output_format')]
  if (!(image instanceof File) || !isFormat(type)) throw new Refused(CODES.unsupported, 'no image or format')
  if (image.size > MAX_BYTES) throw new Refused(CODES.tooLarge, `${image.size} bytes`)
  const source = await image.bytes()
  const refuse = (error: Error) => {
    throw new Refused(CODES.noImage, error.message)
  }
  const input = await open(source, form.get('anim') !== 'false' && type === 'image/webp').catch(refuse)
  const { width, height, format, pages = 1, exif } = await input.metadata().catch(refuse)
  if (!inputs.includes(format) && !isHeic(source)) throw new Refused(CODES.unsupported, format)
  // Of an animation sharp has all frames, one below the other.
  if (pages > 1 && width * height > MAX_MOVING) return { type: image.type || 'image/gif', bytes: source }
  if (width * height > MAX_PIXELS) throw new Refused(CODES.tooLarge, `${width} x ${height} pixels`)
  for (const step of JSON.parse(String(form.get('transforms')))) {
    if (step.fit !== 'scale-down') throw new Refused(CODES.unsupported, `fit: ${step.fit}`)
    input.resize(step.width, step.height, { fit: 'inside', withoutEnlargement: true })
    if (step.background) input.flatten({ background: step.background })
  }
  // Cloudflare keeps a JPEG's copyright, and nothing else of EXIF.
  if (type === 'image/jpeg' && exif?.includes('Copyright')) input.withExif({ IFD0: { Copyright: 'kept' } })
  const quality = form.get('output_quality')
  const encoded = input.toFormat(formats[type], {
    ...(quality === null ? type !== 'image/png' && { quality: 85 } : { quality: Number(quality) }),
    // With a quality, a PNG may have a palette.
    ...(quality !== null && type === 'image/png' && { palette: true }),
  })
  const { data, info } = await encoded.toBuffer({ resolveWithObject: true }).catch(refuse)
  if (type !== 'image/webp' && Math.max(info.width, info.height) > MAX_SIDE) {
    throw new Refused(CODES.tooLarge, `${info.width} x ${info.height} pixels to answer`)
  }
  return { type, bytes: data }
}

/** What reduces a picture, by the URL of another one. @throws {Refused} */
const transformByUrl = async (path: string): Promise<{ type: string; bytes: Uint8Array }> => {
  const [, list = '', source = ''] = /^\/cdn-cgi\/image\/([^/]+)\/(.+)$/.exec(path) ?? []
  const options = Object.fromEntries(list.split(',').map((option) => option.split('=')))
  const response = await fetch(source)
  const bytes = await response.bytes()
  if (!response.ok || bytes.length > MAX_BYTES_BY_URL)
    throw new Refused(CODES.source, `${bytes.length} bytes`)
  const input = await open(bytes, false)
  const { width, height } = await input.metadata()
  if (width * height > MAX_PIXELS) throw new Refused(CODES.tooLarge, `${width} x ${height} pixels`)
  if (options.format !== 'webp' || options.quality !== '100') throw new Refused(CODES.unsupported, list)
  const data = await input
    .resize(Number(options.width), Number(options.height), { fit: 'inside', withoutEnlargement: true })
    .webp({ lossless: true })
    .toBuffer()
  return { type: 'image/webp', bytes: data }
}

/** A frame of a film, by its URL. @throws {Refused} */
const frameByUrl = async (path: string): Promise<{ type: string; bytes: Uint8Array }> => {
  const [, list = '', source = ''] = /^\/cdn-cgi\/media\/([^/]+)\/(.+)$/.exec(path) ?? []
  const options = Object.fromEntries(list.split(',').map((option) => option.split('=')))
  const { mode, time, width, height, fit, format } = options
  const isKnown = mode === 'frame' && format === 'png' && fit === 'scale-down' && /^\d+s$/.test(time)
  const sides = [Number(width), Number(height)]
  if (!isKnown || !sides.every((side) => side >= 10 && side <= 2000)) throw new Refused(CODES.options, list)
  const response = await fetch(source)
  const film = await response.bytes()
  if (!response.ok || film.length >= MAX_FILM) throw new Refused(CODES.source, `${film.length} bytes`)
  const folder = await mkdtemp(join(tmpdir(), 'content-api-frame-'))
  try {
    const [input, output] = [join(folder, 'film'), join(folder, 'frame.png')]
    await writeFile(input, film)
    const scale = `scale=w='min(iw,${width})':h='min(ih,${height})':force_original_aspect_ratio=decrease`
    const options = [
      '-v',
      'error',
      '-ss',
      String(time.slice(0, -1)),
      '-i',
      input,
      '-frames:v',
      '1',
      '-vf',
      scale,
      output,
    ]
    await promisify(execFile)(ffmpeg.path, options).catch((error: Error) => {
      throw new Refused(CODES.noImage, error.message)
    })
    const bytes = await readFile(output).catch(() => {
      throw new Refused(CODES.internal, 'no frame')
    })
    return { type: 'image/png', bytes }
  } finally {
    await rm(folder, { recursive: true })
  }
}

const byUrl = (path: string) => (path.startsWith('/cdn-cgi/media/') ? frameByUrl(path) : transformByUrl(path))

export const startImages = async () => {
  const server = createServer(async (request, response) => {
    try {
      const headers = { 'content-type': String(request.headers['content-type']) }
      // `as`: Node has two types for one kind of stream.
      const body = Readable.toWeb(request) as ReadableStream<Uint8Array>
      const { type, bytes } =
        request.method === 'GET'
          ? await byUrl(String(request.url))
          : await transform(await new Response(body, { headers }).formData())
      response.writeHead(200, { 'content-type': type }).end(bytes)
    } catch (error) {
      const code = error instanceof Refused ? error.code : CODES.internal
      const headers = { 'cf-images-binding': `err=${code}`, 'cf-resized': `err=${code}` }
      response.writeHead(400, headers).end(`ERROR ${code}: ${error}`)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    // `as`: it listens.
    port: (server.address() as AddressInfo).port,
    stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}
