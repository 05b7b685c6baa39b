/** Live events (server-sent events, WHATWG) that survive lost connections: an iterator that goes on after the last id. */
import { ApiError, ConnectionError, isRefusal, MerchantError } from './errors.ts'
import { backoff, type Http, linked, pause } from './http.ts'
import type { GenerationEvent } from './types.ts'

/** Milliseconds until the first bytes of a stream, which the API sends at once; a proxy may keep them. */
const FIRST = 10_000
/** Milliseconds of silence; the API says something every 15 seconds. */
const SILENCE = 45_000
/** Milliseconds before a stream is opened again, unless the API says how many. */
const RETRY = 2000
/** Fruitless attempts in a row before it is given up, and milliseconds until the first bytes of each. */
const PATIENCE = { attempts: 6, first: FIRST }

interface Message {
  id: string
  event: string
  data: string
}

/** Reads the lines of an event stream. @param heard called with each chunk @param told called with the time that `retry:` names */
async function* readMessages(
  body: ReadableStream<Uint8Array>,
  heard: () => void,
  told: (milliseconds: number) => void,
): AsyncGenerator<Message> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  let [id, event, data] = ['', '', [] as string[]]
  try {
    for (;;) {
      const { value, done } = await reader.read()
      // What no blank line ends is not whole.
      if (done) return
      heard()
      rest += decoder.decode(value, { stream: true })
      // A CR at the end may be half of a CRLF.
      const lines = rest.split(/\r\n|\n|\r(?!$)/)
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0) yield { id, event, data: data.join('\n') }
          ;[event, data] = ['', []]
          continue
        }
        const [, field, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
        if (field === 'data') data.push(value)
        else if (field === 'event') event = value
        else if (field === 'id' && !value.includes('\0')) id = value
        else if (field === 'retry' && /^\d+$/.test(value)) told(Number(value))
      }
    }
  } finally {
    // Nobody waits for the rest.
    reader.cancel().catch(() => undefined)
  }
}

export interface EventOptions {
  /** Of one job, until its last event; else of the workspace, until you stop. */
  generationId?: string | undefined
  /** Go on after this event. */
  lastEventId?: string | undefined
  signal?: AbortSignal | undefined
}

/**
 * Ends after the last event of a job. Leaving the loop, or the signal, closes the connection.
 * @throws {ApiError} when the API refuses; {ConnectionError} when it stays away; or the signal's reason
 */
export async function* streamEvents(
  http: Http,
  { generationId, lastEventId, signal }: EventOptions,
  { attempts, first } = PATIENCE,
): AsyncGenerator<GenerationEvent, void, undefined> {
  let last = lastEventId
  let retry = RETRY
  for (let fruitless = 0; ; ) {
    signal?.throwIfAborted()
    const link = linked(signal)
    let failure: MerchantError = new ConnectionError('the stream ended')
    try {
      link.within(first)
      const response = await http.raw({
        method: 'GET',
        path: generationId ? '/generations/{id}/events' : '/events',
        params: generationId ? { id: generationId } : undefined,
        headers: { accept: 'text/event-stream', 'last-event-id': last },
        signal: link.signal,
        retries: 0,
      })
      if (response.status === 204) return
      const type = response.headers.get('content-type') ?? ''
      if (!response.body || !type.startsWith('text/event-stream')) {
        throw new ApiError('events', response.status, {
          detail: `answered ${type || 'nothing'} instead of events`,
        })
      }
      const heard = () => {
        fruitless = -1
        link.within(SILENCE)
      }
      const told = (milliseconds: number) => {
        retry = milliseconds
      }
      for await (const { id, event, data } of readMessages(response.body, heard, told)) {
        last = id || last
        // `as`: what the API says, as far as this version knows it.
        const read = { ...JSON.parse(data), id, type: event } as GenerationEvent
        yield read
        if (generationId && hasEnded(read)) return
      }
    } catch (error) {
      signal?.throwIfAborted()
      if (isRefusal(error)) throw error
      failure =
        error instanceof MerchantError ? error : new ConnectionError('the stream broke off', { cause: error })
    } finally {
      link.abort()
      link.done()
    }
    if (++fruitless >= attempts) throw failure
    await pause(fruitless === 0 ? retry * (0.5 + Math.random() / 2) : backoff(fruitless), signal)
  }
}

const ENDED = new Set(['succeeded', 'failed', 'canceled'])

/** Whether a job has ended; one that has a time of its end has, whatever a newer API calls that. */
export const hasEnded = (job: { status: string; completedAt?: string | null }): boolean =>
  ENDED.has(job.status) || typeof job.completedAt === 'string'
