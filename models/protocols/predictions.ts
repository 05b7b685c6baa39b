/** The predictions: their queue, their life from `starting` to a result, and the files they made. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLimiter } from '../limiter.ts'
import { createStudio } from '../studio/studio.ts'
import type { Fault, Faults, Provider } from './faults.ts'
import type { EventName } from './input.ts'
import { countSteps, type Order, renderOrder } from './order.ts'
import { createOutputs } from './outputs.ts'

const maxPictures = 8
const maxVideos = 1
const maxRemembered = 5_000
const maxListed = 2_000
const throttleMs = 500

/** As Replicate's API shows it. */
export interface Prediction {
  id: string
  model: string
  version: string
  input: Record<string, unknown>
  output: string[] | null
  logs: string
  error: string | null
  status: 'starting' | 'processing' | 'succeeded' | 'failed' | 'canceled'
  source: 'api'
  data_removed: boolean
  created_at: string
  started_at: string | null
  completed_at: string | null
  /** Seconds. */
  metrics: { predict_time?: number; total_time?: number }
  webhook?: string
  webhook_events_filter?: EventName[]
  urls: { get: string; cancel: string }
}

interface Job {
  provider: Provider
  prediction: Prediction
  order: Order
  /** Faults on purpose: extra milliseconds before it completes, an error to end with, a missing output. */
  delayMs: number
  error: string | undefined
  isPartial: boolean
  /** How often its end is told. */
  copies: number
  aborter: AbortController
  done: PromiseWithResolvers<void>
  told: PromiseWithResolvers<void>
  sentAt: Partial<Record<EventName, number>>
}

export interface Predictions {
  create(
    order: Order,
    request: {
      provider: Provider
      model: string
      version?: string
      input?: Record<string, unknown>
      webhook?: string | undefined
      events?: EventName[] | undefined
    },
  ): Prediction
  /** Only Replicate's predictions have an id that a client knows. */
  get(id: string): Prediction | undefined
  /** Replicate's, newest first. */
  list(): Prediction[]
  /** Stops a prediction that hasn't ended; later than that it changes nothing. */
  cancel(id: string): Prediction | undefined
  /** Resolves when it has ended or the time is up. */
  wait(id: string, ms: number, signal: AbortSignal): Promise<void>
  /** Resolves when it has ended and its webhook, if it has one, was delivered or given up. */
  waitUntilTold(id: string): Promise<void>
  output(id: string, index: number): { prompt: string; format: Order['format']; data: Uint8Array } | undefined
  /** Hands its files out for the last time: both they and the prediction are forgotten. */
  take(id: string): Uint8Array[]
  /** The predictions made since the last reset, at most the newest 2,000, newest first. */
  recent(): { provider: Provider; prediction: Prediction }[]
  forgetRecent(): void
  stop(): Promise<void>
}

/** 26 letters and digits, as Replicate's are. */
function makeId(): string {
  return Array.from(randomBytes(26), (byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte & 31]).join('')
}

const progressLine = (step: number, steps: number): string => {
  const share = step / steps
  return `${String(Math.round(share * 100)).padStart(3)}%|${'█'.repeat(Math.round(share * 10)).padEnd(10)}| ${step}/${steps}\n`
}

export function createPredictions(options: {
  origin: string
  faults: Faults
  /** Never rejects. */
  notify(url: string, body: string, copies: number): Promise<void>
}): Predictions {
  const { origin, faults, notify } = options
  const jobs = new Map<string, Job>()
  const outputs = createOutputs()
  const pictures = createLimiter(maxPictures)
  const videos = createLimiter(maxVideos)
  const studio = createStudio()
  const active = new Set<Promise<void>>()
  let recent: { provider: Provider; prediction: Prediction }[] = []

  const emit = async (job: Job, event: EventName): Promise<void> => {
    const { prediction, sentAt, copies } = job
    const wanted = prediction.webhook_events_filter ?? ['output', 'completed']
    if (!prediction.webhook || !wanted.includes(event)) return
    const now = Date.now()
    if ((event === 'logs' || event === 'output') && now - (sentAt[event] ?? 0) < throttleMs) return
    sentAt[event] = now
    await notify(prediction.webhook, JSON.stringify(prediction), event === 'completed' ? copies : 1)
  }

  const finish = (job: Job, status: 'succeeded' | 'failed' | 'canceled', error?: string): void => {
    const { prediction } = job
    if (prediction.completed_at) return
    const now = Date.now()
    prediction.status = status
    prediction.error = error ?? null
    prediction.completed_at = new Date(now).toISOString()
    prediction.metrics.total_time = (now - Date.parse(prediction.created_at)) / 1000
    if (prediction.started_at)
      prediction.metrics.predict_time = (now - Date.parse(prediction.started_at)) / 1000
    job.aborter.abort()
    job.done.resolve()
    void emit(job, 'completed').then(job.told.resolve)
  }

  const log = (job: Job, line: string): void => {
    job.prediction.logs += line
    void emit(job, 'logs')
  }

  const produce = async (job: Job): Promise<Uint8Array[]> => {
    const { prediction, order, aborter } = job
    const { signal } = aborter
    signal.throwIfAborted()
    prediction.status = 'processing'
    prediction.started_at = new Date().toISOString()
    void emit(job, 'start')
    const total = countSteps(order)
    let reached = 0
    log(job, `Using seed: ${order.seed}\n${progressLine(reached, total)}`)
    if (faults.take(['excess_progress'], job.provider, order.prompt)) {
      log(job, progressLine(3 * total, total))
      reached = total
    }
    if (job.error !== undefined) return []
    return renderOrder(order, {
      studio,
      signal,
      onProgress(steps) {
        if (steps <= reached || signal.aborted) return
        reached = steps
        log(job, progressLine(reached, total))
      },
    })
  }

  const run = async (job: Job): Promise<void> => {
    const { prediction, order, aborter } = job
    const takeTurn = order.format === 'mp4' ? videos : pictures
    try {
      const files = await takeTurn(() => produce(job))
      await sleep(job.delayMs, undefined, { signal: aborter.signal, ref: false })
      if (job.error !== undefined) throw new Error(job.error)
      if (job.isPartial) files.pop()
      outputs.keep(prediction.id, files)
      prediction.output = files.map((_, i) => `${origin}/outputs/${prediction.id}/${i}.${order.format}`)
      void emit(job, 'output')
      finish(job, 'succeeded')
    } catch (error) {
      finish(job, 'failed', error instanceof Error ? error.message : String(error))
    }
  }

  return {
    create(order, { provider, model, version = '', input = {}, webhook, events }) {
      const id = makeId()
      const url = `${origin}/v1/predictions/${id}`
      const prediction: Prediction = {
        id,
        model,
        version,
        input,
        output: null,
        logs: '',
        error: null,
        status: 'starting',
        source: 'api',
        data_removed: false,
        created_at: new Date().toISOString(),
        started_at: null,
        completed_at: null,
        metrics: {},
        ...(webhook && { webhook }),
        ...(events && { webhook_events_filter: events }),
        urls: { get: url, cancel: `${url}/cancel` },
      }
      const take = (kind: Fault['kind']) => faults.take([kind], provider, order.prompt)
      const job: Job = {
        provider,
        prediction,
        order,
        delayMs: take('slow')?.delayMs ?? 0,
        error: take('failed_prediction')?.error,
        isPartial: take('partial_output') !== undefined,
        copies: take('no_webhook') ? 0 : take('webhook_twice') ? 2 : 1,
        aborter: new AbortController(),
        done: Promise.withResolvers(),
        told: Promise.withResolvers(),
        sentAt: {},
      }
      jobs.set(id, job)
      recent = [{ provider, prediction }, ...recent].slice(0, maxListed)
      for (const [oldest, { prediction: old }] of jobs) {
        if (jobs.size <= maxRemembered || !old.completed_at) break
        jobs.delete(oldest)
        outputs.drop(oldest)
      }
      const running = run(job).finally(() => active.delete(running))
      active.add(running)
      return prediction
    },
    get(id) {
      const job = jobs.get(id)
      return job?.provider === 'replicate' ? job.prediction : undefined
    },
    list: () =>
      Array.from(jobs.values())
        .filter(({ provider }) => provider === 'replicate')
        .map(({ prediction }) => prediction)
        .reverse(),
    cancel(id) {
      const job = jobs.get(id)
      if (job) finish(job, 'canceled')
      return job?.prediction
    },
    async wait(id, ms, signal) {
      const enough = new AbortController()
      const time = sleep(ms, undefined, {
        signal: AbortSignal.any([signal, enough.signal]),
        ref: false,
      }).catch(() => {})
      await Promise.race([jobs.get(id)?.done.promise, time])
      enough.abort()
    },
    async waitUntilTold(id) {
      await jobs.get(id)?.told.promise
    },
    output(id, index) {
      const job = jobs.get(id)
      const data = outputs.get(id, index)
      if (!job || !data) return undefined
      return { prompt: job.order.prompt, format: job.order.format, data }
    },
    take(id) {
      const files = outputs.all(id)
      outputs.drop(id)
      jobs.delete(id)
      return files
    },
    recent: () => recent,
    forgetRecent() {
      recent = []
    },
    async stop() {
      for (const job of jobs.values()) finish(job, 'canceled')
      await Promise.allSettled(active)
      await studio.stop()
    },
  }
}
