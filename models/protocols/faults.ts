/** The fault switch: makes the next matching calls fail on purpose, so that tests can see how a client copes. */
import { z } from 'zod'
import { Refusal } from './http.ts'

const providers = ['replicate', 'fal', 'openai', 'gemini', 'cloudflare'] as const

export type Provider = (typeof providers)[number]

/** Refusals of the request that every provider words in its own way. */
const refusals = ['unauthorized', 'payment_required', 'forbidden', 'not_found', 'rate_limited'] as const

const fault = z.object({
  kind: z.enum([
    ...refusals,
    'rate_limit',
    'server_error',
    'hang',
    'malformed_json',
    'proxy_refusal',
    'cold_boot',
    'failed_prediction',
    'refused_content',
    'slow',
    'excess_progress',
    'broken_output',
    'missing_output',
    'partial_output',
    'empty_output',
    'expired_output',
    'no_webhook',
    'webhook_early',
    'webhook_twice',
    'webhook_stale',
  ]),
  /** How many calls it lasts for. */
  times: z.int().min(1).default(1),
  /** Seconds, for `rate_limit` and `rate_limited`. */
  retryAfter: z.int().min(0).default(1),
  /**
   * Milliseconds: for `slow` how much longer the prediction takes, for `cold_boot` how long it waits before it
   * begins, for `expired_output` how long what it made is kept.
   */
  delayMs: z.int().min(0).default(1000),
  /** For `failed_prediction`. */
  error: z.string().default('CUDA out of memory'),
  /** For `refused_content`: what was refused, the request or what came of it. */
  stage: z.enum(['input', 'output']).default('input'),
  /** Only predictions whose prompt contains this. */
  match: z.string().default(''),
  /** Only calls of this protocol. */
  provider: z.enum(providers).optional(),
  /** Only calls of this model. */
  model: z.string().optional(),
})

export type Fault = z.infer<typeof fault>

/** What a fault is matched against. */
export interface Target {
  provider: Provider
  model: string
  prompt: string
}

export interface Faults {
  /** Throws a ZodError when `body` isn't a fault. */
  add(body: unknown): void
  clear(): void
  /** Uses up one call of the oldest fault that fits. */
  take(kinds: Fault['kind'][], target: Target): Fault | undefined
}

export function createFaults(): Faults {
  let faults: Fault[] = []
  return {
    add(body) {
      faults.push(fault.parse(body))
    },
    clear() {
      faults = []
    },
    take(kinds, { provider, model, prompt }) {
      const found = faults.find(
        (fault) =>
          kinds.includes(fault.kind) &&
          (fault.provider ?? provider) === provider &&
          (fault.model ?? model) === model &&
          prompt.includes(fault.match),
      )
      if (!found) return undefined
      found.times--
      faults = faults.filter(({ times }) => times > 0)
      return found
    },
  }
}

/** A provider's own words for each refusal. */
export type Words = Record<(typeof refusals)[number], (fault: Fault, target: Target) => Refusal>

/**
 * What goes wrong before a prediction is made. Throws the refusal that the caller shall get; returns what the
 * caller shall get instead of a proper answer.
 */
export function applyFault(
  faults: Faults,
  target: Target,
  words: Words,
): 'hang' | 'malformed_json' | undefined {
  const fault = faults.take(
    [...refusals, 'rate_limit', 'server_error', 'hang', 'malformed_json', 'proxy_refusal'],
    target,
  )
  switch (fault?.kind) {
    case 'unauthorized':
    case 'payment_required':
    case 'forbidden':
    case 'not_found':
    case 'rate_limited':
      throw words[fault.kind](fault, target)
    case 'rate_limit': {
      const { retryAfter } = fault
      throw new Refusal(429, `Request was throttled. Expected available in ${retryAfter} seconds.`, {
        retryAfter,
        extra: { retry_after: retryAfter },
      })
    }
    case 'server_error':
      throw new Refusal(500, 'Something went wrong.')
    case 'proxy_refusal':
      throw new Refusal(403, 'A proxy in front does not let this pass.', { byProxy: true })
    case 'hang':
    case 'malformed_json':
      return fault.kind
    default:
      return undefined
  }
}
