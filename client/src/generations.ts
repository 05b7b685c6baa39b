/** Jobs: asked for once whatever happens to the answer, followed to their end, and canceled with their caller. */
import { ApiError, ConnectionError, GenerationError, isRefusal, MerchantError } from './errors.ts'
import { hasEnded, streamEvents } from './events.ts'
import { type Http, newKey, pause } from './http.ts'
import type { Generation, GenerationEvent, GenerationInput } from './types.ts'

/** What a stream is given, by attempts and milliseconds, before the job itself is asked instead. */
const STREAM = { attempts: 2, first: 5000 }
/** Milliseconds between two looks at a job, from the first to any. */
const LOOK = { first: 500, most: 5000 }
/** Milliseconds for which the API may be away while a job is followed. */
const PATIENCE = 300_000

/** How far a job is. */
export type Progress = Pick<GenerationEvent, 'generationId' | 'status' | 'progress' | 'phase' | 'eta'>

export interface FollowOptions {
  onProgress?: ((progress: Progress) => void) | undefined
  signal?: AbortSignal | undefined
}

export interface RunOptions extends FollowOptions {
  /** Yours, to find the same job again after a crash; else a random one. */
  idempotencyKey?: string
  /** Whether the signal also stops the job, which gives its credits back; otherwise it goes on without you. */
  cancelOnAbort?: boolean
}

const progressOf = ({ id, status, progress, phase, eta }: Generation): Progress => ({
  generationId: id,
  status,
  progress,
  ...(phase && { phase }),
  ...(eta && { eta }),
})

/** A mistake of a callback's, which is not to be taken for the connection's. */
class Thrown {
  readonly error: unknown
  constructor(error: unknown) {
    this.error = error
  }
}

export const createGenerations = (http: Http) => {
  const get = (id: string, signal?: AbortSignal) =>
    http.json<Generation>({ method: 'GET', path: '/generations/{id}', params: { id }, signal })

  const cancel = (id: string, signal?: AbortSignal) =>
    http.json<Generation>({ method: 'POST', path: '/generations/{id}/cancel', params: { id }, signal })

  /**
   * Waits for the end of a job, by its events, or by asking where no stream comes through.
   * @throws {GenerationError} when it did not succeed; {ApiError}; {ConnectionError} when the API stays away for five
   * minutes; or the signal's reason
   */
  const follow = async (id: string, { onProgress, signal }: FollowOptions = {}): Promise<Generation> => {
    const tell = (progress: Progress) => {
      try {
        onProgress?.(progress)
      } catch (error) {
        throw new Thrown(error)
      }
    }
    try {
      for await (const event of streamEvents(http, { generationId: id, signal }, STREAM)) tell(event)
    } catch (error) {
      if (error instanceof Thrown) throw error.error
      if (signal?.aborted || isRefusal(error) || !(error instanceof MerchantError)) throw error
    }
    let heard = performance.now()
    for (let wait = LOOK.first; ; wait = Math.min(wait * 1.5, LOOK.most)) {
      try {
        const job = await get(id, signal)
        heard = performance.now()
        if (job.status === 'succeeded') return job
        if (hasEnded(job)) throw new GenerationError(job)
        onProgress?.(progressOf(job))
      } catch (error) {
        const passes = error instanceof ConnectionError || error instanceof ApiError
        if (!passes || isRefusal(error) || performance.now() - heard > PATIENCE) throw error
      }
      await pause(wait * (0.5 + Math.random() / 2), signal)
    }
  }

  /**
   * Has something generated, and waits for it: the job with its `outputs`.
   * @throws what `follow` does; {ApiError} when it is not accepted
   */
  const run = async (request: GenerationInput, options: RunOptions = {}): Promise<Generation> => {
    const { onProgress, signal, idempotencyKey = newKey(), cancelOnAbort = false } = options
    signal?.throwIfAborted()
    const job = await http.json<Generation>({
      method: 'POST',
      path: '/generations',
      body: request,
      idempotencyKey,
      // Who is to cancel it has to know its id.
      signal: cancelOnAbort ? undefined : signal,
    })
    try {
      signal?.throwIfAborted()
      onProgress?.(progressOf(job))
      return await follow(job.id, { onProgress, signal })
    } catch (error) {
      // Or it has just ended.
      if (cancelOnAbort && signal?.aborted) await cancel(job.id).catch(() => undefined)
      throw error
    }
  }

  return { run, follow, get, cancel }
}
