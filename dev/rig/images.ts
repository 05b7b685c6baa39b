/** Stands in for Cloudflare Images: answers what the `images` binding posts, with sharp. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import sharp from 'sharp'

/** As Cloudflare numbers them. */
const CODES = { noImage: 9412, tooLarge: 9413, unsupported: 9520 }
const MAX_PIXELS = 100_000_000
const MAX_BYTES = 20_000_000
const formats = { 'image/jpeg': 'jpeg', 'image/png': 'png' } as const

class Refused extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

const isFormat = (type: unknown): type is keyof typeof formats => Object.hasOwn(formats, String(type))

/** @throws {Refused} */
const transform = async (form: FormData): Promise<{ type: string; bytes: Buffer }> => {
  const [image, type] = [form.get('image'), form.get('output_format')]
  if (!(image instanceof File) || !isFormat(type)) throw new Refused(CODES.unsupported, 'no image or format')
  if (image.size > MAX_BYTES) throw new Refused(CODES.tooLarge, `${image.size} bytes`)
  const input = sharp(await image.bytes(), { autoOrient: true, limitInputPixels: false })
  const { width, height } = await input.metadata().catch((error: Error) => {
    throw new Refused(CODES.noImage, error.message)
  })
  if (width * height > MAX_PIXELS) throw new Refused(CODES.tooLarge, `${width} x ${height} pixels`)
  for (const step of JSON.parse(String(form.get('transforms')))) {
    if (step.fit !== 'scale-down') throw new Refused(CODES.unsupported, `fit: ${step.fit}`)
    input.resize(step.width, step.height, { fit: 'inside', withoutEnlargement: true })
  }
  const bytes = await input
    .toFormat(formats[type], { quality: Number(form.get('output_quality') ?? 85) })
    .toBuffer()
    .catch((error: Error) => {
      throw new Refused(CODES.noImage, error.message)
    })
  return { type, bytes }
}

export const startImages = async () => {
  const server = createServer(async (request, response) => {
    try {
      const headers = { 'content-type': String(request.headers['content-type']) }
      // `as`: Node has two types for one kind of stream.
      const body = Readable.toWeb(request) as ReadableStream<Uint8Array>
      const { type, bytes } = await transform(await new Response(body, { headers }).formData())
      response.writeHead(200, { 'content-type': type }).end(bytes)
    } catch (error) {
      const code = error instanceof Refused ? error.code : 9523
      response.writeHead(400, { 'cf-images-binding': `err=${code}` }).end(`ERROR ${code}: ${error}`)
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
