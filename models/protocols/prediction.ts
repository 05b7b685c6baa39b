/** What a prediction is, as its client sees it. */
import { randomBytes } from 'node:crypto'
import type { ModelSchema } from '../schemas.ts'
import type { Provider } from './faults.ts'
import type { Sending } from './webhooks.ts'

export const eventNames = ['start', 'output', 'logs', 'completed'] as const

export type EventName = (typeof eventNames)[number]

/** As Replicate's API shows it; the other protocols make theirs of it. */
export interface Prediction {
  id: string
  model: string
  version: string
  input: Record<string, unknown>
  output: string | string[] | null
  logs: string
  error: string | null
  status: 'starting' | 'processing' | 'succeeded' | 'failed' | 'canceled' | 'aborted'
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

export interface Creation {
  provider: Provider
  model: string
  version?: string
  input?: Record<string, unknown>
  webhook?: string | undefined
  events?: EventName[] | undefined
  /** What stands in `output`; a list without it. */
  output?: ModelSchema['output']
  /** What comes instead of refused content; nothing is refused without it, unless a fault says so. */
  refusal?: ModelSchema['refusal'] | undefined
  /** Keeps its progress to itself, as models behind another's API do. */
  quiet?: boolean
  /** Milliseconds after which it is stopped. */
  cancelAfter?: number | undefined
  /** Tells the client. Never rejects. */
  tell?(event: EventName, prediction: Prediction, sending: Sending): Promise<void>
}

/** 26 letters and digits, as Replicate's are. */
function makeId(): string {
  return Array.from(randomBytes(26), (byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte & 31]).join('')
}

/** A line of the log that says how far it is, as tqdm writes it. */
export const progressLine = (step: number, steps: number): string => {
  const share = step / steps
  return `${String(Math.round(share * 100)).padStart(3)}%|${'█'.repeat(Math.round(share * 10)).padEnd(10)}| ${step}/${steps}\n`
}

/** What is left of it when its data is removed. */
export const withoutData = (prediction: Prediction): Prediction => ({
  ...prediction,
  input: {},
  output: null,
  logs: '',
  data_removed: true,
})

/** One that has just been asked for; `origin` is where it can be asked about. */
export function makePrediction(origin: string, creation: Creation): Prediction {
  const { model, version = '', input = {}, webhook, events } = creation
  const id = makeId()
  const url = `${origin}/v1/predictions/${id}`
  return {
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
}
