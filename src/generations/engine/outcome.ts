/** What a step of a job comes to; `advance` alone writes it down. */
import {
  type FailureCode,
  failureCodes,
  type GenerationError,
  type GenerationPhase,
  type StoredOutput,
} from '../../words.ts'

export type Outcome =
  | { is: 'running'; phase: GenerationPhase /** Percent. */; progress: number }
  | { is: 'stored'; outputs: StoredOutput[] }
  /** Results are there, but not in storage yet: another step after so many seconds, whatever the deadline. */
  | { is: 'storing'; after: number }
  | { is: 'failed'; error: GenerationError }
  /** Nothing to show for it; another step after so many seconds, if the deadline leaves time for it. */
  | { is: 'again'; after: number }
  /** For the queue of calls that last. */
  | { is: 'handed over' }

export const failed = (code: FailureCode): Outcome & { is: 'failed' } => ({
  is: 'failed',
  error: { code, ...failureCodes[code] },
})
