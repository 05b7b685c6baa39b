/** What a step of a job comes to; `advance` alone writes it down. */
import type { FailureCode, GenerationError, StoredOutput } from '../../words.ts'
import type { Changes } from './claims.ts'

export type Outcome =
  | { is: 'running' /** Percent. */; progress: number }
  | { is: 'stored'; outputs: StoredOutput[] }
  /** Results are there, but not in storage yet: another step after so many seconds, whatever the deadline. */
  | { is: 'storing'; after: number; changes: Changes }
  | { is: 'failed'; error: GenerationError }
  /** Nothing to show for it; another step after so many seconds, if the deadline leaves time for it. */
  | { is: 'again'; after: number; changes?: Changes }
  /** Canceled, or another consumer's by now. */
  | { is: 'lost' }

/** The errors of generations, as callers read them. */
const failures = {
  deadline_exceeded: { message: 'The job took too long.', retryable: true },
  provider_refused: { message: 'The model refused the request.', retryable: false },
  content_rejected: { message: 'The model rejected the content as unsafe.', retryable: false },
  provider_failed: { message: 'The model failed.', retryable: true },
  provider_lost: { message: 'The provider no longer knows the job.', retryable: true },
  model_unavailable: { message: 'The model is no longer offered.', retryable: false },
  input_deleted: { message: 'An input was deleted before the job started.', retryable: false },
  no_output: { message: 'The model returned no usable output.', retryable: true },
  internal_error: { message: 'The job could not be processed.', retryable: true },
} as const satisfies Record<FailureCode, Omit<GenerationError, 'code'>>

export const failed = (code: FailureCode, message?: string): Outcome & { is: 'failed' } => ({
  is: 'failed',
  error: { code, ...failures[code], ...(message && { message }) },
})
