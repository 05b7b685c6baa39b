// The predictions: their queue, their life from `starting` to a result, and the pictures they made.
import { randomBytes, randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cutout } from './cutout.ts'
import { download } from './download.ts'
import type { Creation, EventName, ModelInput } from './input.ts'
import { createLimiter } from './limiter.ts'
import { createOutputs } from './outputs.ts'
import type { OutputFormat } from './render.ts'
import { createStudio } from './studio.ts'

const maxProcessing = 8
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
  prediction: Prediction
  input: ModelInput
  /** Extra milliseconds before it completes, and an error to end with: both are faults on purpose. */
  delayMs: number
  error: string | undefined
  aborter: AbortController
  done: PromiseWithResolvers<void>
  sentAt: Partial<Record<EventName, number>>
}

export interface Predictions {
  create(
    creation: Creation,
    request: {
      model: string
      version: string
      input: Record<string, unknown>
      delayMs: number
      error: string | undefined
    },
  ): Prediction
  get(id: string): Prediction | undefined
  /** Newest first. */
  list(): Prediction[]
  /** Stops a prediction that hasn't ended; later than that it changes nothing. */
  cancel(id: string): Prediction | undefined
  /** Resolves when it has ended or the time is up. */
  wait(id: string, ms: number, signal: AbortSignal): Promise<void>
  output(id: string, index: number): { prompt: string; format: OutputFormat; data: Uint8Array } | undefined
  /** The predictions made since the last reset, at most the newest 2,000, newest first. */
  recent(): Prediction[]
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
  notify(url: string, body: string): void
}): Predictions {
  const { origin, notify } = options
  const jobs = new Map<string, Job>()
  const outputs = createOutputs()
  const processing = createLimiter(maxProcessing)
  const studio = createStudio()
  const active = new Set<Promise<void>>()
  let recent: Prediction[] = []

  const emit = (job: Job, event: EventName): void => {
    const { prediction, sentAt } = job
    const wanted = prediction.webhook_events_filter ?? ['output', 'completed']
    if (!prediction.webhook || !wanted.includes(event)) return
    const now = Date.now()
    if ((event === 'logs' || event === 'output') && now - (sentAt[event] ?? 0) < throttleMs) return
    sentAt[event] = now
    notify(prediction.webhook, JSON.stringify(prediction))
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
    emit(job, 'completed')
  }

  const log = (job: Job, line: string): void => {
    job.prediction.logs += line
    emit(job, 'logs')
  }

  const produce = async (job: Job): Promise<Uint8Array[]> => {
    const { prediction, input, aborter } = job
    const { signal } = aborter
    const seed = input.seed ?? randomInt(2 ** 31)
    const images = input.image.slice(0, input.num_outputs)
    const steps = images.length + input.num_outputs
    let step = 0
    const advance = (): void => {
      signal.throwIfAborted()
      log(job, progressLine(++step, steps))
    }
    signal.throwIfAborted()
    prediction.status = 'processing'
    prediction.started_at = new Date().toISOString()
    emit(job, 'start')
    log(job, `Using seed: ${seed}\n${progressLine(0, steps)}`)
    if (job.error !== undefined) return []
    const products: Cutout[] = []
    for (const url of images) {
      const photo = await download(url, signal)
      const product = await studio.cutOut(photo).catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error)
        throw new Error(`The image could not be read: ${reason}`)
      })
      products.push(product)
      advance()
    }
    const files: Uint8Array[] = []
    for (let index = 0; index < input.num_outputs; index++) {
      signal.throwIfAborted()
      const file = await studio.render({
        product: products[index % Math.max(1, products.length)],
        prompt: input.prompt,
        style: input.style,
        aspectRatio: input.aspect_ratio,
        seed,
        index,
        format: input.output_format,
      })
      files.push(file)
      advance()
    }
    return files
  }

  const run = async (job: Job): Promise<void> => {
    const { prediction, input, aborter } = job
    try {
      const files = await processing(() => produce(job))
      await sleep(job.delayMs, undefined, { signal: aborter.signal, ref: false })
      if (job.error !== undefined) throw new Error(job.error)
      outputs.keep(prediction.id, files)
      prediction.output = files.map(
        (_, i) => `${origin}/outputs/${prediction.id}/${i}.${input.output_format}`,
      )
      emit(job, 'output')
      finish(job, 'succeeded')
    } catch (error) {
      finish(job, 'failed', error instanceof Error ? error.message : String(error))
    }
  }

  return {
    create(creation, { model, version, input, delayMs, error }) {
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
        ...(creation.webhook && { webhook: creation.webhook }),
        ...(creation.webhook_events_filter && { webhook_events_filter: creation.webhook_events_filter }),
        urls: { get: url, cancel: `${url}/cancel` },
      }
      const job: Job = {
        prediction,
        input: creation.input,
        delayMs,
        error,
        aborter: new AbortController(),
        done: Promise.withResolvers(),
        sentAt: {},
      }
      jobs.set(id, job)
      recent = [prediction, ...recent].slice(0, maxListed)
      for (const [oldest, { prediction: old }] of jobs) {
        if (jobs.size <= maxRemembered || !old.completed_at) break
        jobs.delete(oldest)
        outputs.drop(oldest)
      }
      const running = run(job).finally(() => active.delete(running))
      active.add(running)
      return prediction
    },
    get: (id) => jobs.get(id)?.prediction,
    list: () => Array.from(jobs.values(), ({ prediction }) => prediction).reverse(),
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
    output(id, index) {
      const job = jobs.get(id)
      const data = outputs.get(id, index)
      if (!job || !data) return undefined
      return { prompt: job.input.prompt, format: job.input.output_format, data }
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
