/** One request: who asks, how long an answer may take, and when it is sent again. */

import type { Auth } from './auth.ts'
import { ApiError, ConnectionError, type Problem } from './errors.ts'

/** Milliseconds until an answer has been read. */
const TIMEOUT = 30_000
/** How often a request is sent again. */
const RETRIES = 4
/** Milliseconds of the first wait at most, and of any. */
const BACKOFF = { first: 500, most: 8000 }
/** Seconds that a `Retry-After` may ask for; who asks for more is not waited for. */
const MOST_PATIENT = 60

export interface HttpOptions {
  /** Where the API is, such as `https://api.example.com`. */
  baseUrl: string
  /** Which workspace; may be left out by those who belong to exactly one, and with an API key. */
  workspaceId?: string | undefined
  /** Sent with every request. */
  headers?: Record<string, string> | undefined
  /** `include` where the session is a cookie of the API's own site. */
  credentials?: RequestCredentials | undefined
  fetch?: typeof fetch | undefined
  /** How often a request that may be sent again is; default 4. */
  retries?: number | undefined
  /** Milliseconds that an answer may take; default 30,000. */
  timeout?: number | undefined
}

export interface Call {
  method: string
  /** After `/api/v1`, or whole if it is outside. */
  path: string
  params?: Record<string, string> | undefined
  query?: object | undefined
  body?: unknown
  headers?: Record<string, string | undefined> | undefined
  idempotencyKey?: string | undefined
  signal?: AbortSignal | undefined
  /** Without credentials. */
  anonymous?: boolean
  retries?: number
}

/** Aborts like `outer`, and by itself; `done` leaves nothing behind. */
export const linked = (outer: AbortSignal | undefined) => {
  const controller = new AbortController()
  const abort = (reason?: unknown) => controller.abort(reason)
  const onAbort = () => abort(outer?.reason)
  if (outer?.aborted) onAbort()
  else outer?.addEventListener('abort', onAbort, { once: true })
  let timer: ReturnType<typeof setTimeout> | undefined
  return {
    signal: controller.signal,
    abort,
    /** Aborts unless it is called again, or done, within so many milliseconds. */
    within(ms: number) {
      clearTimeout(timer)
      timer = setTimeout(() => abort(new ConnectionError(`nothing came for ${ms / 1000} s`)), ms)
    },
    done() {
      clearTimeout(timer)
      outer?.removeEventListener('abort', onAbort)
    },
  }
}

/** @throws the signal's reason */
export const pause = (ms: number, signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      if (signal?.aborted) reject(signal.reason)
      else resolve()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener('abort', end)
  })

/** A promise that others wait for, too: whoever aborts leaves it. */
const leavable = <T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> => {
  if (!signal) return promise
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason)
    if (signal.aborted) leave()
    signal.addEventListener('abort', leave)
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
  })
}

/** Milliseconds before the next attempt, with jitter. */
export const backoff = (attempt: number): number =>
  Math.min(BACKOFF.first * 2 ** attempt, BACKOFF.most) * (0.5 + Math.random() / 2)

/** Seconds, from seconds or a date, which is held against the answer's own: clocks differ. */
const readRetryAfter = (headers: Headers): number | undefined => {
  const value = headers.get('retry-after')
  if (value === null) return undefined
  if (/^\d+$/.test(value)) return Number(value)
  const at = Date.parse(value)
  if (Number.isNaN(at)) return undefined
  return Math.max(0, (at - (Date.parse(headers.get('date') ?? '') || Date.now())) / 1000)
}

const isJson = (headers: Headers) =>
  /^application\/(problem\+)?json\b/i.test(headers.get('content-type') ?? '')

/** POSTs that do the same twice as once. */
const HARMLESS = /\/(complete|cancel|quote|downloads|refresh|logout)$/
/** POSTs that take an idempotency key. */
const KEYED = /^\/(generations(\/[^/]+\/retry)?|assets\/uploads|assets\/[^/]+\/exports)$/

export const newKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join(
    '',
  )

const isSentAsItIs = (body: unknown): body is BodyInit =>
  body instanceof Blob ||
  body instanceof FormData ||
  body instanceof ReadableStream ||
  body instanceof ArrayBuffer ||
  ArrayBuffer.isView(body)

/** The path with its parameters in place. */
const fill = (path: string, params: Record<string, string> = {}) =>
  path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = params[name]
    if (!value) throw new TypeError(`${path} needs ${name}`)
    return encodeURIComponent(value)
  })

export type Http = ReturnType<typeof createHttp>

export const createHttp = (options: HttpOptions, auth: Auth | undefined) => {
  const { retries = RETRIES, timeout = TIMEOUT } = options
  const base = options.baseUrl.replace(/\/+$/, '')
  /** Late, so that a replaced global counts, and never as a method. */
  const doFetch: typeof fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init))

  const urlOf = ({ path, params, query = {} }: Call) => {
    const filled = fill(path, params)
    const isOutside = /^\/(health|\.well-known)\b/.test(filled)
    const url = new URL(`${base}${isOutside ? '' : '/api/v1'}${filled}`)
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value))
    }
    return url
  }

  const open = async (call: Call, token: string | undefined): Promise<Response> => {
    const { method, body, signal } = call
    const isBody = body !== undefined && !isSentAsItIs(body)
    const headers = new Headers(options.headers)
    const set = (name: string, value: string | undefined) => {
      if (value !== undefined) headers.set(name, value)
    }
    set('content-type', isBody ? 'application/json' : undefined)
    set('authorization', token && `Bearer ${token}`)
    set('x-workspace-id', options.workspaceId)
    set('idempotency-key', call.idempotencyKey)
    for (const [name, value] of Object.entries(call.headers ?? {})) set(name, value)
    const init: RequestInit = { method, headers }
    if (body !== undefined) init.body = isBody ? JSON.stringify(body) : (body as BodyInit)
    if (signal) init.signal = signal
    if (options.credentials) init.credentials = options.credentials
    return doFetch(urlOf(call).href, init)
  }

  /** @throws {ApiError} for what is not a success, and for what is not JSON, such as a proxy's own page */
  const check = async (call: Call, response: Response, wantsJson: boolean): Promise<unknown> => {
    const { status, headers } = response
    const what = `${call.method} ${call.path}`
    if (response.ok && (!wantsJson || status === 204)) return undefined
    const text = await response.text()
    if (isJson(headers)) {
      // A broken answer ends in a SyntaxError, which counts as lost.
      const json: unknown = JSON.parse(text)
      if (response.ok) return json
      throw new ApiError(what, status, json as Partial<Problem>, readRetryAfter(headers))
    }
    const problem = {
      detail: `answered ${status} with ${headers.get('content-type') ?? 'no type'} instead of JSON`,
    }
    throw new ApiError(what, status, problem, readRetryAfter(headers))
  }

  const mayRepeat = (call: Call, error: ApiError | ConnectionError): boolean => {
    if (call.body instanceof ReadableStream) return false
    // Whoever limits has done nothing.
    if (error instanceof ApiError && error.status === 429) return true
    if (isDefinite(error)) return false
    return call.method !== 'POST' || !!call.idempotencyKey || HARMLESS.test(call.path)
  }

  /** Whether asking again would be answered the same; a page of HTML with status 200 is somebody else's. */
  const isDefinite = (error: ApiError | ConnectionError) =>
    error instanceof ApiError && ![200, 408, 500, 502, 503, 504].includes(error.status)

  /** Until an answer is good, or asking again would not help. */
  const repeat = async <T>(
    given: Call,
    attempt: (call: Call, token: string | undefined) => Promise<T>,
  ): Promise<T> => {
    const isKeyed = given.method === 'POST' && KEYED.test(given.path)
    const call = isKeyed ? { ...given, idempotencyKey: given.idempotencyKey ?? newKey() } : given
    const { signal } = call
    // What can't be sent at all is the caller's mistake.
    urlOf(call)
    let renewed = false
    let unanswered = false
    for (let tries = 0; ; tries++) {
      signal?.throwIfAborted()
      const token = call.anonymous ? undefined : await leavable(Promise.resolve(auth?.token()), signal)
      let error: ApiError | ConnectionError
      try {
        return await attempt(call, token)
      } catch (thrown) {
        signal?.throwIfAborted()
        error =
          thrown instanceof ApiError || thrown instanceof ConnectionError
            ? thrown
            : new ConnectionError(`${call.method} ${call.path}: no answer`, { cause: thrown })
      }
      if (error instanceof ApiError && error.code === 'unauthorized' && token && !renewed) {
        renewed = await leavable(Promise.resolve(auth?.renew(token) ?? false), signal)
        if (renewed && !(call.body instanceof ReadableStream)) {
          tries--
          continue
        }
      }
      // What an earlier attempt has deleted, whose answer was lost.
      if (unanswered && call.method === 'DELETE' && error instanceof ApiError && error.status === 404) {
        return undefined as T
      }
      unanswered ||= !isDefinite(error)
      const wanted = (error instanceof ApiError ? error.retryAfter : undefined) ?? 0
      if (tries >= (call.retries ?? retries) || wanted > MOST_PATIENT || !mayRepeat(call, error)) throw error
      await pause(wanted > 0 ? wanted * 1000 + Math.random() * 250 : backoff(tries), signal)
    }
  }

  return {
    fetch: doFetch,
    retries,
    /** The JSON of an answer. @throws {ApiError | ConnectionError} or the signal's reason */
    json: <T>(call: Call): Promise<T> =>
      repeat(call, async (sent, token) => {
        const link = linked(sent.signal)
        // A body takes its time, too.
        const extra = sent.body instanceof Blob ? sent.body.size / 50 : 0
        link.within(timeout + extra)
        try {
          const headers = { accept: 'application/json', ...sent.headers }
          const response = await open({ ...sent, headers, signal: link.signal }, token)
          return (await check(sent, response, true)) as T
        } finally {
          link.done()
        }
      }),
    /** The bare answer, as soon as it begins. @throws {ApiError | ConnectionError} or the signal's reason */
    raw: (call: Call): Promise<Response> =>
      repeat(call, async (sent, token) => {
        const response = await open(sent, token)
        await check(sent, response, false)
        return response
      }),
  }
}
