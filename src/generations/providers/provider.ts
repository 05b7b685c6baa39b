/** The one shape that providers share. */

export interface Submission {
  /** What the provider calls the model. */
  model: `${string}/${string}`
  prompt: string | null
  style: string | null
  /** Presigned. */
  imageUrls: string[]
  aspectRatio: string
  count: number
  seed: number | null
}

export type Job = { id: string } & (
  | { status: 'running' /** Percent. */; progress: number }
  | { status: 'succeeded' /** URLs, kept by the provider for a while only. */; outputs: string[] }
  | { status: 'failed'; message: string }
)

/** The provider did not take or answer the request. */
export class ProviderError extends Error {
  /** False when asking again would be refused again. */
  readonly retryable: boolean
  /** Seconds, as the provider asked for. */
  readonly retryAfter: number | undefined

  constructor(
    message: string,
    options: { retryable: boolean; retryAfter?: number | undefined; cause?: unknown },
  ) {
    super(message, { cause: options.cause })
    this.retryable = options.retryable
    this.retryAfter = options.retryAfter
  }
}
