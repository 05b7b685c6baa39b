/**
 * The program of the object storage: Miniflare's R2 with its S3 API, which lacks two operations of R2's that are needed here,
 * ListParts and ListMultipartUploads. What has arrived is known here from what went through. Arguments: a port, and the folder of the data.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { Miniflare } from 'miniflare'

const [port, folder] = process.argv.slice(2)
const experimentalS3Credentials = {
  accessKeyId: process.env.S3_ACCESS_KEY_ID ?? '',
  secretAccessKey: process.env.S3_SECRET_ACCESS_KEY ?? '',
}
const contents = 'export default { fetch: () => new Response() }'

const miniflare = new Miniflare({
  host: '127.0.0.1',
  port: 0,
  cf: false,
  telemetry: { enabled: false },
  resourcePersistencePath: folder,
  workers: [
    {
      config: {
        name: 'storage',
        compatibilityDate: '2026-11-01',
        manifest: {
          mainModule: 'main.mjs',
          modulesRoot: '/',
          modules: { 'main.mjs': { type: 'esm', contents } },
        },
        // The S3 API serves the buckets that have credentials; nothing else uses the bindings.
        env: {
          BUCKET: { type: 'r2', name: 'merchant-assets', dev: { experimentalS3Credentials } },
          FALLBACK: { type: 'r2', name: 'merchant-assets-fallback', dev: { experimentalS3Credentials } },
        },
      },
    },
  ],
})

type Parts = Map<number, { etag: string; size: number }>
/** What has arrived of each multipart upload that is not over. */
const uploads = new Map<string, { path: string; startedAt: Date; parts: Parts }>()

const xml = (content: string) => `<?xml version="1.0" encoding="UTF-8"?>${content}`

const listUploads = (bucket: string, prefix: string) => {
  const entries = [...uploads].flatMap(([id, { path, startedAt }]) => {
    const key = decodeURIComponent(path.slice(bucket.length + 1))
    if (!path.startsWith(`${bucket}/`) || !key.startsWith(prefix)) return []
    return `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>${startedAt.toISOString()}</Initiated></Upload>`
  })
  return xml(
    `<ListMultipartUploadsResult>${entries.join('')}<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>`,
  )
}

const listOf = (parts: Parts) => {
  const entries = [...parts].sort(([a], [b]) => a - b)
  const listed = entries.map(
    ([number, { etag, size }]) =>
      `<Part><PartNumber>${number}</PartNumber><ETag>${etag.replaceAll('"', '&quot;')}</ETag><Size>${size}</Size></Part>`,
  )
  return xml(`<ListPartsResult>${listed.join('')}<IsTruncated>false</IsTruncated></ListPartsResult>`)
}

/** Keeps what the real answer says of the parts of an upload. */
const note = (asked: IncomingMessage, { statusCode = 0, headers }: IncomingMessage): void => {
  const { pathname: path, searchParams: query } = new URL(asked.url ?? '', 'http://storage')
  const id = query.get('uploadId')
  if (id === null || statusCode >= 300) return
  if (asked.method === 'POST' || asked.method === 'DELETE') uploads.delete(id)
  if (asked.method !== 'PUT') return
  const upload = uploads.get(id) ?? { path, startedAt: new Date(), parts: new Map() }
  uploads.set(id, upload)
  const size = Number(asked.headers['content-length'] ?? 0)
  upload.parts.set(Number(query.get('partNumber')), { etag: String(headers.etag), size })
}

const answer = async (asked: IncomingMessage, real: IncomingMessage, response: ServerResponse) => {
  note(asked, real)
  const { pathname: path, searchParams: query } = new URL(asked.url ?? '', 'http://storage')
  const id = query.get('uploadId')
  // It has verified the signature by then.
  if (real.statusCode === 501 && asked.method === 'GET' && id !== null) {
    real.resume()
    const upload = uploads.get(id)
    response.writeHead(upload ? 200 : 404, { 'content-type': 'application/xml' })
    response.end(upload ? listOf(upload.parts) : '<Error><Code>NoSuchUpload</Code></Error>')
    return
  }
  if (real.statusCode === 501 && asked.method === 'GET' && query.has('uploads')) {
    real.resume()
    response.writeHead(200, { 'content-type': 'application/xml' })
    response.end(listUploads(path, query.get('prefix') ?? ''))
    return
  }
  if (asked.method === 'POST' && query.has('uploads')) {
    const body = Buffer.concat(await real.toArray())
    const started = /<UploadId>([^<]+)/.exec(body.toString())?.[1]
    if (started) uploads.set(started, { path, startedAt: new Date(), parts: new Map() })
    response.writeHead(real.statusCode ?? 502, real.rawHeaders).end(body)
    return
  }
  response.writeHead(real.statusCode ?? 502, real.rawHeaders)
  real.pipe(response).on('error', () => real.destroy())
}

const { port: inner } = await miniflare.ready
const server = createServer((asked, response) => {
  const { method, url: path, rawHeaders: headers } = asked
  const forwarded = request({ host: '127.0.0.1', port: inner, method, path, headers, setHost: false })
  forwarded.on('response', (real) => void answer(asked, real, response).catch(() => response.destroy()))
  // As a connection that breaks does.
  forwarded.on('error', () => response.destroy())
  response.on('close', () => response.writableFinished || forwarded.destroy())
  asked.on('error', () => forwarded.destroy())
  asked.pipe(forwarded)
})
server.keepAliveTimeout = 600_000
server.listen(Number(port), '127.0.0.1')
process.once('SIGINT', () => void miniflare.dispose().then(() => process.exit(0)))
