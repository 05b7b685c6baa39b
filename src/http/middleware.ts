/** The app's middleware, in the order that app.ts lists it. */
import { cors } from 'hono/cors'
import { createMiddleware } from 'hono/factory'
import { type Ctx, log } from '../context.ts'
import { MisconfiguredError, parseEnv } from '../env.ts'
import { AppError, describeError } from '../errors.ts'
import { limitHeaders } from '../limits/limits.ts'
import { watchSilence } from '../streams.ts'
import { mediaKinds } from '../words.ts'
import type { AppEnv } from './router.ts'

/** Every method that some route takes. */
export const METHODS = ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST']

/** Bytes of a JSON body; a provider tells of a job with all that its log has. */
const MAX_JSON = 256 * 1024
const MAX_NEWS = 4 * 1024 * 1024

const mayHaveBody = ({ method }: { method: string }) => !['GET', 'HEAD', 'OPTIONS'].includes(method)

const isUpload = ({ method, path }: { method: string; path: string }) =>
  method === 'POST' && path === '/api/v1/assets/upload'

/** Milliseconds after which a read is worth a line of the log. */
const SLOW = 1000

/** Bytes of a refused body, and milliseconds, that are waited for. */
const MOST_DRAINED = 4 * 1024 * 1024
const DRAIN_PATIENCE = 1000

/** Takes what nobody has read: who is still sending when the answer comes may see a reset in its place. */
const drain = async ({ body, headers }: Request): Promise<void> => {
  if (!body || body.locked || Number(headers.get('content-length')) > MOST_DRAINED) return
  // What breaks off is nobody's any more. A signal would be heard with the next chunk only, and there may be none.
  const all = body.pipeTo(new WritableStream()).catch(() => undefined)
  await Promise.race([all, scheduler.wait(DRAIN_PATIENCE)])
}

/**
 * Outermost: sets the request's id, and after everything else the response's headers and the log line about it; of a read
 * that was quick and went well the platform's own log is enough.
 */
export const identify = createMiddleware<AppEnv>(async (c, next) => {
  const incoming = c.req.header('x-request-id') ?? ''
  const requestId = /^[\w.:-]{1,128}$/.test(incoming) ? incoming : crypto.randomUUID()
  c.set('requestId', requestId)
  const started = Date.now()
  await next()
  const elapsed = Date.now() - started
  // Set by operations only.
  const ctx: Ctx | undefined = c.get('ctx')
  const { requests = 0, milliseconds = 0 } = ctx?.database ?? {}
  // Not `c.header`, which copies a finished response for each.
  const { headers } = c.res
  headers.set('x-request-id', requestId)
  headers.set(
    'server-timing',
    `db;desc="${requests}";dur=${milliseconds}, limiter;dur=${ctx?.limiterMilliseconds ?? 0}`,
  )
  for (const [name, value] of Object.entries(limitHeaders(ctx?.limits ?? []))) headers.set(name, value)
  if (!mayHaveBody(c.req) && c.res.status < 400 && elapsed < SLOW) return
  log({
    level: c.res.status >= 500 ? 'error' : 'info',
    requestId,
    action: ctx?.action,
    method: c.req.method,
    path: c.req.path,
    status: c.res.status,
    milliseconds: elapsed,
    databaseRequests: requests,
    ...(c.error && { error: describeError(c.error) }),
  })
  if (c.res.status >= 400) await drain(c.req.raw)
})

/** @throws {AppError} misconfigured */
export const configure = createMiddleware<AppEnv>(async (c, next) => {
  try {
    c.set('env', parseEnv(c.env))
  } catch (error) {
    if (!(error instanceof MisconfiguredError)) throw error
    throw new AppError('misconfigured', { cause: error })
  }
  await next()
})

const answerOrigins = cors({
  origin: (origin, c) => (c.get('env').ALLOWED_ORIGINS.includes(origin) ? origin : null),
  credentials: true,
  allowMethods: METHODS,
  allowHeaders: [
    'Authorization',
    'Content-Type',
    'Idempotency-Key',
    'Last-Event-ID',
    'X-Request-Id',
    'X-Workspace-Id',
  ],
  exposeHeaders: [
    'Idempotent-Replayed',
    'Location',
    'RateLimit',
    'RateLimit-Policy',
    'Retry-After',
    'Server-Timing',
    'X-Request-Id',
  ],
  maxAge: 7200,
})

/** Who is no browser names no origin, and needs no answer to it. */
export const allowOrigins = createMiddleware<AppEnv>((c, next) =>
  c.req.header('origin') === undefined && c.req.method !== 'OPTIONS' ? next() : answerOrigins(c, next),
)

/** An upload is a form, or a file of a type that is judged by its content. */
const uploadTypes = ['multipart/form-data', 'application/octet-stream', ...Object.keys(mediaKinds)]

/** Bodies are JSON in UTF-8, but for the upload, and nothing is compressed. @throws {AppError} unsupported_media_type */
export const checkContentType = createMiddleware<AppEnv>(async (c, next) => {
  if (!mayHaveBody(c.req)) return next()
  const encoding = c.req.header('content-encoding')
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') {
    throw new AppError('unsupported_media_type', {
      detail: 'Send the body as it is, without Content-Encoding.',
      // RFC 9110, section 12.5.3.
      headers: { 'accept-encoding': 'identity' },
    })
  }
  const header = c.req.header('content-type')
  const type = header?.split(';')[0]?.trim().toLowerCase()
  const expected = isUpload(c.req) ? uploadTypes : ['application/json']
  const hasBody =
    Number(c.req.header('content-length') ?? 0) > 0 || c.req.header('transfer-encoding') !== undefined
  if (type === undefined ? hasBody : !expected.includes(type)) {
    throw new AppError('unsupported_media_type', { detail: `Send the body as ${expected.join(', ')}.` })
  }
  const charset = /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(header ?? '')?.[1]
  if (type === 'application/json' && charset !== undefined && !/^utf-?8$/i.test(charset)) {
    throw new AppError('unsupported_media_type', { detail: 'Send JSON in UTF-8.' })
  }
  // Parameters of JSON mean nothing (RFC 8259), and not every form of them passes the validators.
  if (type === 'application/json' && header !== type) {
    const headers = new Headers(c.req.raw.headers)
    headers.set('content-type', type)
    c.req.raw = new Request(c.req.raw, { headers })
  }
  return next()
})

/**
 * All of a body; undefined if that is more than `most` bytes, which are counted as they come. Not by Hono's `bodyLimit`,
 * which would keep the rest from `drain`; of one that broke off or fell silent `drain` waits for nothing.
 */
const takeAtMost = async (
  body: ReadableStream<Uint8Array>,
  most: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> => {
  const reader = body.getReader()
  const watch = watchSilence()
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for (;;) {
      const { value, done } = await watch.inTime(() => reader.read())
      if (done) return Buffer.concat(chunks)
      size += value.length
      chunks.push(value)
      if (size > most) break
    }
  } finally {
    watch.end()
  }
  reader.releaseLock()
  return undefined
}

/**
 * Reads a body, which is JSON: UTF-8 (RFC 8259), since what is not would be stored with replacement characters. The upload
 * limits itself, as its bytes arrive.
 * @throws {AppError} payload_too_large, malformed_json
 */
export const readBody = createMiddleware<AppEnv>(async (c, next) => {
  const { body } = c.req.raw
  if (!body || !mayHaveBody(c.req) || isUpload(c.req)) return next()
  const most = c.req.path.startsWith('/api/v1/providers/') ? MAX_NEWS : MAX_JSON
  // Who sends in chunks may say any length.
  const length = c.req.header('transfer-encoding') === undefined ? c.req.header('content-length') : undefined
  try {
    const bytes = Number(length ?? 0) > most ? undefined : await takeAtMost(body, most)
    if (!bytes) {
      throw new AppError('payload_too_large', { detail: `A JSON body has at most ${most / 1024} KiB.` })
    }
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes)
    // Where Hono looks for what it has read itself, as promises, whatever their type says.
    Object.assign(c.req.bodyCache, { text: Promise.resolve(text) })
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    const detail = 'The request body is not complete, or not UTF-8.'
    throw new AppError('malformed_json', { detail, cause })
  }
  return next()
})
