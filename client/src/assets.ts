/** Files: sent in the way that suits their size, resumed where they broke off, and fetched. */
import { ApiError, ConnectionError, isRefusal, MerchantError } from './errors.ts'
import { sha256 } from './hash.ts'
import { backoff, type Call, type Http, linked, pause } from './http.ts'
import { mediaTypeOf } from './media.ts'
import type { Asset, Result, Schemas } from './types.ts'

/** Bytes up to which a file is one request to the API; larger ones go to storage, where they can be resumed. */
const SMALL = 8 * 1024 * 1024
/** The same where only a request to storage tells how much has been sent. */
const SMALL_WATCHED = 1024 * 1024
/** Bytes that the API itself takes. */
const MOST_THROUGH_API = 95_000_000
/** Parts on their way at once. */
const PARALLEL = 4
/** Milliseconds in which a part is sent, beside one for each of its KB: below 50 KB/s it counts as stuck. */
const PART_TIME = 60_000
/** Bytes a millisecond. */
const SLOWEST = 50
/** Milliseconds between two looks at a file that is being read, from the first to any. */
const LOOK = { first: 500, most: 5000 }

type Upload = Schemas['Upload']
type Part = Upload['upload']['parts'][number]

export interface UploadProgress {
  /** By which `resume` goes on; undefined while, and if, the file is sent in one request to the API. */
  assetId: string | undefined
  /** Bytes. */
  sent: number
  total: number
}

export interface UploadOptions {
  /** Default: the file's own. */
  name?: string | undefined
  /** Default: as its first bytes, or its name, say. */
  mimeType?: string | undefined
  /** The asset of an upload of this very file that broke off, also in another process; within a day. */
  resume?: string | undefined
  /** Whether its SHA-256 is told beforehand where that can be computed, so that what arrives is held against it; default true. */
  hash?: boolean
  onProgress?: ((progress: UploadProgress) => void) | undefined
  /** Stops sending at once; what has arrived stays, for `resume`, for a day, or until you delete the asset. */
  signal?: AbortSignal | undefined
}

export interface DownloadOptions {
  /** Pixels at most: a sized copy of a picture. */
  width?: 64 | 160 | 320 | 640 | 1024 | 2048
  /** Of a sized copy; default `webp`. */
  format?: 'webp' | 'jpeg' | 'png'
  signal?: AbortSignal | undefined
}

/** Only browsers have it, and only it tells how much of a body has been sent. */
const hasXhr = () => typeof XMLHttpRequest === 'function'

/** @returns the status and what was said @throws {ConnectionError} or the signal's reason */
const putByXhr = (
  url: string,
  headers: Record<string, string>,
  body: Blob,
  signal: AbortSignal,
  onSent: (bytes: number) => void,
) =>
  new Promise<{ status: number; text: string }>((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const xhr = new XMLHttpRequest()
    const abort = () => xhr.abort()
    xhr.open('PUT', url)
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value)
    xhr.upload.onprogress = ({ loaded }) => onSent(Math.min(loaded, body.size))
    xhr.onload = () => resolve({ status: xhr.status, text: xhr.responseText })
    xhr.onerror = () => reject(new ConnectionError('storage: no answer'))
    xhr.onabort = () => reject(signal.reason)
    xhr.onloadend = () => signal.removeEventListener('abort', abort)
    signal.addEventListener('abort', abort)
    xhr.send(body)
  })

export const createAssets = (http: Http) => {
  const get = (id: string, signal?: AbortSignal) =>
    http.json<Asset>({ method: 'GET', path: '/assets/{id}', params: { id }, signal })

  const resume = (id: string, signal: AbortSignal | undefined) =>
    http.json<Upload>({ method: 'GET', path: '/assets/{id}/upload', params: { id }, signal })

  /** One request. After a lost answer the newest uploads tell whether it was done. */
  const sendThroughApi = async (file: Blob, name: string, options: UploadOptions): Promise<Asset> => {
    const { onProgress, signal } = options
    const report = (sent: number) => onProgress?.({ assetId: undefined, sent, total: file.size })
    const hash = await sha256(file, signal)
    const call: Call = {
      method: 'POST',
      path: '/assets/upload',
      query: { name },
      headers: { 'content-type': 'application/octet-stream' },
      body: file,
      signal,
    }
    report(0)
    for (let tries = 0; ; tries++) {
      try {
        const asset = await http.json<Asset>(call)
        report(file.size)
        return asset
      } catch (error) {
        const isLost = error instanceof ConnectionError || (error instanceof ApiError && error.status >= 500)
        if (!isLost || !hash || tries >= http.retries) throw error
        await pause(backoff(tries), signal)
        const query = { source: 'upload', limit: 20 }
        const { data } = await http.json<{ data: Asset[] }>({ method: 'GET', path: '/assets', query, signal })
        const found = data.find((asset) => asset.sha256 === hash && asset.size === file.size)
        if (!found) continue
        report(file.size)
        return found
      }
    }
  }

  /** @throws {ApiError | ConnectionError} or the signal's reason */
  const sendPart = async (part: Part, body: Blob, signal: AbortSignal, onSent: (bytes: number) => void) => {
    if (!part.target) return
    const { url, headers } = part.target
    // Set by the platform, and no browser lets others do it.
    const { 'content-length': _, ...own } = headers
    const link = linked(signal)
    link.within(PART_TIME + part.size / SLOWEST)
    try {
      const put = async () => {
        if (hasXhr()) return putByXhr(url, own, body, link.signal, onSent)
        const response = await http.fetch(url, { method: 'PUT', headers: own, body, signal: link.signal })
        return { status: response.status, text: await response.text() }
      }
      const { status, text } = await put()
      // 412: it is there already.
      if ((status < 200 || status > 299) && status !== 412) {
        throw new ApiError('storage', status, { detail: `answered ${status}: ${text.slice(0, 200)}` })
      }
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof MerchantError) throw error
      throw new ConnectionError('storage: no answer', { cause: error })
    } finally {
      link.done()
    }
  }

  /** Sends what has not arrived, several parts at once. @returns the first failure, when nothing is on its way any more */
  const sendParts = async (
    parts: readonly Part[],
    file: Blob,
    signal: AbortSignal | undefined,
    report: (sent: number) => void,
  ): Promise<unknown> => {
    const sent = new Map<number, number>(
      parts.map(({ number, size, arrived }) => [number, arrived ? size : 0]),
    )
    const tell = (part: Part, bytes: number) => {
      sent.set(part.number, bytes)
      report([...sent.values()].reduce((sum, size) => sum + size, 0))
    }
    let offset = 0
    const waiting = parts.flatMap((part) => {
      const start = offset
      offset += part.size
      return part.arrived ? [] : [{ part, body: file.slice(start, offset) }]
    })
    const link = linked(signal)
    let failure: unknown
    const work = async () => {
      for (let next = waiting.shift(); next && !failure && !link.signal.aborted; next = waiting.shift()) {
        const { part, body } = next
        try {
          await sendPart(part, body, link.signal, (bytes) => tell(part, bytes))
          tell(part, part.size)
        } catch (error) {
          failure ??= error
          // A part that breaks off says nothing of the others; whoever stops, or is refused, stops all.
          if (!(error instanceof ConnectionError)) link.abort(error)
        }
      }
    }
    await Promise.all(Array.from({ length: PARALLEL }, work))
    link.done()
    signal?.throwIfAborted()
    return failure
  }

  /** Until it has been read, and is what was announced. */
  const whenReady = async (known: Asset, signal: AbortSignal | undefined): Promise<Asset> => {
    let asset = known
    for (let wait = LOOK.first; asset.status === 'pending'; wait = Math.min(wait * 1.5, LOOK.most)) {
      await pause(wait, signal)
      try {
        asset = await get(asset.id, signal)
      } catch (error) {
        // It was deleted: this says why.
        if (error instanceof ApiError && error.status === 404) await resume(asset.id, signal)
        throw error
      }
    }
    return asset
  }

  const sendToStorage = async (file: Blob, begun: Upload, options: UploadOptions): Promise<Asset> => {
    const { onProgress, signal } = options
    let state = begun
    const { id, size } = state.asset
    if (size !== file.size)
      throw new TypeError(`upload ${id} is of ${size} bytes, and this file of ${file.size}`)
    const arrivedOf = () => state.upload.parts.filter(({ arrived }) => arrived).length
    for (let fruitless = 0; ; ) {
      const report = (sent: number) => onProgress?.({ assetId: id, sent, total: size })
      report(state.upload.parts.reduce((sum, part) => sum + (part.arrived ? part.size : 0), 0))
      let failure = await sendParts(state.upload.parts, file, signal, report)
      if (!failure) {
        try {
          const call: Call = { method: 'POST', path: '/assets/{id}/complete', params: { id }, signal }
          return await whenReady(await http.json<Asset>(call), signal)
        } catch (error) {
          if (!(error instanceof ApiError) || error.code !== 'upload_incomplete') throw error
          failure = error
        }
      } else if (!(failure instanceof MerchantError)) throw failure
      // A URL that has expired is a 403; what else storage refuses, it refuses again.
      if (failure instanceof ApiError && isRefusal(failure) && ![403, 409].includes(failure.status))
        throw failure
      const before = arrivedOf()
      await pause(backoff(fruitless), signal)
      state = await resume(id, signal)
      fruitless = arrivedOf() > before ? 0 : fruitless + 1
      if (fruitless > http.retries) throw failure
    }
  }

  /**
   * Uploads a file: a small one in one request to the API, others straight to storage, from 100 MB on in parts.
   * @throws {ApiError}, such as `upload_mismatch`; {ConnectionError} when nothing gets through any more; or the signal's reason
   */
  const upload = async (
    given: Blob | ArrayBuffer | Uint8Array,
    options: UploadOptions = {},
  ): Promise<Asset> => {
    const { signal, onProgress } = options
    signal?.throwIfAborted()
    // `as`: no Blob is made of shared memory, which is not given here.
    const file = given instanceof Blob ? given : new Blob([given as BlobPart])
    const name = options.name ?? ('name' in file ? String(file.name) : 'untitled')
    if (options.resume) return sendToStorage(file, await resume(options.resume, signal), options)
    const mimeType = options.mimeType ?? (await mediaTypeOf(file, name))
    const isSmall = file.size <= (onProgress && hasXhr() ? SMALL_WATCHED : SMALL)
    if (isSmall || (!mimeType && file.size <= MOST_THROUGH_API)) return sendThroughApi(file, name, options)
    if (!mimeType) throw new TypeError(`${name} may be anything: give its mimeType`)
    const hash = options.hash === false ? undefined : await sha256(file, signal)
    const body = { name, mimeType, size: file.size, ...(hash && { sha256: hash }) }
    const call: Call = { method: 'POST', path: '/assets/uploads', body, signal }
    let begun: Upload
    try {
      begun = await http.json(call)
    } catch (error) {
      // An API from before there were any.
      const isUnknown = error instanceof ApiError && [404, 405].includes(error.status)
      if (isUnknown && file.size <= MOST_THROUGH_API) return sendThroughApi(file, name, options)
      throw error
    }
    return sendToStorage(file, begun, options)
  }

  /** @throws {ApiError | ConnectionError} or the signal's reason */
  const fetchStored = async (url: string, signal: AbortSignal | undefined): Promise<Response> => {
    for (let tries = 0; ; tries++) {
      let error: MerchantError
      try {
        const response = await http.fetch(url, signal ? { signal } : {})
        if (response.ok) return response
        await response.body?.cancel()
        error = new ApiError('storage', response.status, {})
      } catch (thrown) {
        signal?.throwIfAborted()
        error = new ConnectionError('storage: no answer', { cause: thrown })
      }
      if (isRefusal(error) || tries >= http.retries) throw error
      await pause(backoff(tries), signal)
    }
  }

  /**
   * The file itself, or a sized copy of a picture, as soon as it begins. Storage is asked by a URL and gets no credentials; a
   * redirect there browsers would follow as nobody.
   * @throws {ApiError | ConnectionError} or the signal's reason
   */
  const download = async (id: string, { signal, ...copy }: DownloadOptions = {}): Promise<Response> => {
    const query = { ...copy, disposition: 'inline' }
    const call: Call = { method: 'GET', path: '/assets/{id}/download', params: { id }, query, signal }
    const { url } = await http.json<Result<'get', '/assets/{id}/download'>>(call)
    return fetchStored(url, signal)
  }

  return { upload, download, get }
}
