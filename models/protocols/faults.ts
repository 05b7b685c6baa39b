/** The fault switch: makes the next matching calls fail on purpose, so that tests can see how a client copes. */
import { z } from 'zod'
import { Refusal } from './http.ts'

const providers = ['replicate', 'openai', 'cloudflare'] as const

export type Provider = (typeof providers)[number]

const fault = z.object({
  kind: z.enum([
    'rate_limit',
    'server_error',
    'hang',
    'malformed_json',
    'proxy_refusal',
    'failed_prediction',
    'slow',
    'excess_progress',
    'broken_output',
    'missing_output',
    'partial_output',
    'no_webhook',
    'webhook_early',
    'webhook_twice',
  ]),
  /** How many calls it lasts for. */
  times: z.int().min(1).default(1),
  /** Seconds, for `rate_limit`. */
  retryAfter: z.int().min(0).default(1),
  /** For `slow`: how much longer the prediction takes. */
  delayMs: z.int().min(0).default(1000),
  /** For `failed_prediction`. */
  error: z.string().default('CUDA out of memory'),
  /** Only predictions whose prompt contains this. */
  match: z.string().default(''),
  /** Only calls of this protocol. */
  provider: z.enum(providers).optional(),
})

export type Fault = z.infer<typeof fault>

export interface Faults {
  /** Throws a ZodError when `body` isn't a fault. */
  add(body: unknown): void
  clear(): void
  /** Uses up one call of the oldest fault that fits. */
  take(kinds: Fault['kind'][], provider: Provider, prompt: string): Fault | undefined
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
    take(kinds, provider, prompt) {
      const found = faults.find(
        (fault) =>
          kinds.includes(fault.kind) &&
          (fault.provider ?? provider) === provider &&
          prompt.includes(fault.match),
      )
      if (!found) return undefined
      found.times--
      faults = faults.filter(({ times }) => times > 0)
      return found
    },
  }
}

/**
 * What goes wrong before a prediction is made. Throws the refusal that the caller shall get; returns what the
 * caller shall get instead of a proper answer.
 */
export function applyFault(
  faults: Faults,
  provider: Provider,
  prompt: string,
): 'hang' | 'malformed_json' | undefined {
  const fault = faults.take(
    ['rate_limit', 'server_error', 'hang', 'malformed_json', 'proxy_refusal'],
    provider,
    prompt,
  )
  switch (fault?.kind) {
    case 'rate_limit': {
      const { retryAfter } = fault
      throw new Refusal(429, `Request was throttled. Expected available in ${retryAfter} seconds.`, {
        retryAfter,
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
