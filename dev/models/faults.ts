// The fault switch: makes the next matching calls fail on purpose, so that tests can see how a client copes.
import { z } from 'zod'

const fault = z.object({
  kind: z.enum([
    'rate_limit',
    'server_error',
    'hang',
    'malformed_json',
    'failed_prediction',
    'slow',
    'broken_output',
    'missing_output',
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
})

type Fault = z.infer<typeof fault>

export interface Faults {
  /** Throws a ZodError when `body` isn't a fault. */
  add(body: unknown): void
  clear(): void
  /** Uses up one call of the oldest fault that fits. */
  take(kinds: Fault['kind'][], prompt: string): Fault | undefined
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
    take(kinds, prompt) {
      const found = faults.find(({ kind, match }) => kinds.includes(kind) && prompt.includes(match))
      if (!found) return undefined
      found.times--
      faults = faults.filter(({ times }) => times > 0)
      return found
    },
  }
}
