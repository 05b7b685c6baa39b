/** The predictions: their queue, their life from `starting` to a result, and the files they made. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createLimiter } from '../limiter.ts'
import { createStudio } from '../studio/studio.ts'
import { ContentError, isUnsafe } from './content.ts'
import type { Fault, Faults, Provider, Target } from './faults.ts'
import { countSteps, type Order, renderOrder } from './order.ts'
import { createOutputs, outputLife } from './outputs.ts'
import {
  type Creation,
  type EventName,
  makePrediction,
  type Prediction,
  progressLine,
  withoutData,
} from './prediction.ts'
import type { Sending } from './webhooks.ts'

const maxPictures = 8
const maxVideos = 1
const maxRemembered = 5_000
const maxListed = 2_000
const throttleMs = 500
/** More than any receiver takes. */
const staleSeconds = 600

interface Job extends Creation {
  prediction: Prediction
  order: Order
  target: Target
  /** Faults on purpose. */
  bootMs: number
  delayMs: number
  lifeMs: number
  error: string | undefined
  refused: { as: 'error' | 'empty' | 'fewer'; text: string; stage: Fault['stage'] } | undefined
  isEmpty: boolean
  isPartial: boolean
  /** How its end is told. */
  sending: Sending
  /** What it failed with. */
  problem?: unknown
  /** When its data is removed, in milliseconds since 1970. */
  removedAt: number
  aborter: AbortController
  done: PromiseWithResolvers<void>
  told: PromiseWithResolvers<void>
  sentAt: Partial<Record<EventName, number>>
}

interface Recent {
  provider: Provider
  prompt: string
  prediction: Prediction
}

export interface Predictions {
  create(order: Order, creation: Creation): Prediction
  /** One of this provider. */
  get(id: string, provider: Provider): Prediction | undefined
  /** Replicate's, newest first. */
  list(): Prediction[]
  /** How many of its provider's came before it and haven't begun. */
  position(id: string): number
  /** What a failed one failed with: an Error, a PhotoError or a ContentError. */
  problem(id: string): unknown
  /** Stops a prediction that hasn't ended; later than that it changes nothing. */
  cancel(id: string): Prediction | undefined
  /** Resolves when it has ended or the time is up. */
  wait(id: string, ms: number, signal: AbortSignal): Promise<void>
  /** Resolves when it has ended and its webhook, if it has one, was delivered or given up. */
  waitUntilTold(id: string): Promise<void>
  output(id: string, index: number): { target: Target; format: Order['format']; data: Uint8Array } | undefined
  /** Hands its files out for the last time: both they and the prediction are forgotten. */
  take(id: string): Uint8Array[]
  /** The predictions made since the last reset, at most the newest 2,000, newest first. */
  recent(): Recent[]
  forgetRecent(): void
  stop(): Promise<void>
}

export function createPredictions({ origin, faults }: { origin: string; faults: Faults }): Predictions {
  const jobs = new Map<string, Job>()
  const outputs = createOutputs()
  const pictures = createLimiter(maxPictures)
  const videos = createLimiter(maxVideos)
  const studio = createStudio()
  const active = new Set<Promise<void>>()
  let recent: Recent[] = []

  const emit = async (job: Job, event: EventName): Promise<void> => {
    const { prediction, sentAt, sending } = job
    const now = Date.now()
    if ((event === 'logs' || event === 'output') && now - (sentAt[event] ?? 0) < throttleMs) return
    sentAt[event] = now
    await job.tell?.(event, prediction, event === 'completed' ? sending : { copies: 1, age: 0 })
  }

  const finish = (
    job: Job,
    status: 'succeeded' | 'failed' | 'canceled' | 'aborted',
    problem?: unknown,
  ): void => {
    const { prediction } = job
    if (prediction.completed_at) return
    const now = Date.now()
    prediction.status = status
    job.problem = problem
    if (status === 'failed') prediction.error = problem instanceof Error ? problem.message : String(problem)
    prediction.completed_at = new Date(now).toISOString()
    prediction.metrics.total_time = (now - Date.parse(prediction.created_at)) / 1000
    if (prediction.started_at)
      prediction.metrics.predict_time = (now - Date.parse(prediction.started_at)) / 1000
    job.removedAt = now + job.lifeMs
    job.aborter.abort()
    job.done.resolve()
    void emit(job, 'completed').then(job.told.resolve)
  }

  const log = (job: Job, line: string): void => {
    if (job.quiet) return
    job.prediction.logs += line
    void emit(job, 'logs')
  }

  const produce = async (job: Job): Promise<Uint8Array[]> => {
    const { prediction, order, aborter, refused } = job
    const { signal } = aborter
    signal.throwIfAborted()
    prediction.status = 'processing'
    prediction.started_at = new Date().toISOString()
    void emit(job, 'start')
    const total = countSteps(order)
    let reached = 0
    log(job, `Using seed: ${order.seed}\n${progressLine(reached, total)}`)
    if (faults.take(['excess_progress'], job.target)) {
      log(job, progressLine(3 * total, total))
      reached = total
    }
    if (job.error !== undefined || job.isEmpty || refused?.as === 'empty') return []
    if (refused?.as === 'error') throw new ContentError(refused.text, refused.stage)
    const files = await renderOrder(order, {
      studio,
      signal,
      onProgress(steps) {
        if (steps <= reached || signal.aborted) return
        reached = steps
        log(job, progressLine(reached, total))
      },
    })
    if (refused?.as === 'fewer' && files.length === 1) throw new ContentError(refused.text, refused.stage)
    if (job.isPartial || refused?.as === 'fewer') files.pop()
    return files
  }

  const run = async (job: Job): Promise<void> => {
    const { prediction, order, aborter } = job
    const takeTurn = order.format === 'mp4' ? videos : pictures
    try {
      if (job.bootMs > 0) await sleep(job.bootMs, undefined, { signal: aborter.signal, ref: false })
      const files = await takeTurn(() => produce(job))
      await sleep(job.delayMs, undefined, { signal: aborter.signal, ref: false })
      if (job.error !== undefined) throw new Error(job.error)
      outputs.keep(prediction.id, files, job.lifeMs)
      const urls = files.map((_, i) => `${origin}/outputs/${prediction.id}/${i}.${order.format}`)
      prediction.output = job.output === 'string' ? (urls[0] ?? null) : urls
      void emit(job, 'output')
      finish(job, 'succeeded')
    } catch (error) {
      finish(job, 'failed', error)
    }
  }

  /** Stops what has outlasted its `cancelAfter`: what hasn't begun costs nothing and is called something else. */
  const watch = async (job: Job, ms: number): Promise<void> => {
    await sleep(ms, undefined, { signal: job.aborter.signal, ref: false }).catch(() => {})
    finish(job, job.prediction.started_at ? 'canceled' : 'aborted')
  }

  const createJob = (order: Order, creation: Creation): Job => {
    const { provider, model, refusal } = creation
    const prediction = makePrediction(origin, creation)
    const target = { provider, model, prompt: order.prompt }
    const take = (kind: Fault['kind']) => faults.take([kind], target)
    const refused = take('refused_content')
    return {
      ...creation,
      prediction,
      order,
      target,
      bootMs: take('cold_boot')?.delayMs ?? 0,
      delayMs: take('slow')?.delayMs ?? 0,
      lifeMs: take('expired_output')?.delayMs ?? outputLife,
      error: take('failed_prediction')?.error,
      refused:
        refused || (refusal && isUnsafe(order.prompt))
          ? { as: 'error', text: 'NSFW content detected', ...refusal, stage: refused?.stage ?? 'input' }
          : undefined,
      isEmpty: take('empty_output') !== undefined,
      isPartial: take('partial_output') !== undefined,
      sending: {
        copies: take('no_webhook') ? 0 : take('webhook_twice') ? 2 : 1,
        age: take('webhook_stale') ? staleSeconds : 0,
      },
      removedAt: Number.POSITIVE_INFINITY,
      aborter: new AbortController(),
      done: Promise.withResolvers(),
      told: Promise.withResolvers(),
      sentAt: {},
    }
  }

  return {
    create(order, creation) {
      const job = createJob(order, creation)
      const { prediction } = job
      jobs.set(prediction.id, job)
      recent = [{ provider: job.provider, prompt: order.prompt, prediction }, ...recent].slice(0, maxListed)
      for (const [oldest, { prediction: old }] of jobs) {
        if (jobs.size <= maxRemembered || !old.completed_at) break
        jobs.delete(oldest)
        outputs.drop(oldest)
      }
      const running = run(job).finally(() => active.delete(running))
      active.add(running)
      if (job.cancelAfter !== undefined) void watch(job, job.cancelAfter)
      return prediction
    },
    get(id, provider) {
      const job = jobs.get(id)
      if (job?.provider !== provider) return undefined
      return job.removedAt < Date.now() ? withoutData(job.prediction) : job.prediction
    },
    list: () =>
      Array.from(jobs.values())
        .filter(({ provider }) => provider === 'replicate')
        .map(({ prediction }) => prediction)
        .reverse(),
    position(id) {
      const provider = jobs.get(id)?.provider
      const waiting = Array.from(jobs.values()).filter(
        (job) => job.provider === provider && job.prediction.status === 'starting',
      )
      return waiting.findIndex(({ prediction }) => prediction.id === id)
    },
    problem: (id) => jobs.get(id)?.problem,
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
      return { target: job.target, format: job.order.format, data }
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
