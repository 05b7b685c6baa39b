/** The one shape that providers share. */
import type { Env } from '../env.ts'
import type { AspectRatio, GenerationKind, Style } from '../words.ts'

export interface Submission {
  kind: GenerationKind
  /** What the provider calls the model. */
  model: string
  prompt: string | null
  style: Style | null
  /** Presigned. */
  images: { url: string; mimeType: string }[]
  aspectRatio: AspectRatio
  count: number
  /** Seconds; videos only. */
  duration: number | null
  seed: number | null
  /** Where the provider may say that it has finished. */
  webhookUrl: string
}

/** A URL that the provider keeps for a while only, or the bytes themselves. */
export type JobOutput = { url: string } | { base64: string }

export type Job = { id: string } & (
  | { status: 'running' /** Percent. */; progress: number }
  | { status: 'succeeded'; outputs: JobOutput[] }
  | { status: 'failed'; message: string }
)

/** A provider that answers at once has nothing to ask about or to cancel later. */
export interface Provider {
  /** Whether the operator has set it up. */
  isConfigured(env: Env): boolean
  /** @throws {ProviderError} after which the job may or may not have been accepted */
  submit(env: Env, submission: Submission): Promise<Job>
  /** @throws {ProviderError} */
  get?(env: Env, id: string): Promise<Job>
  /** @throws {ProviderError} */
  cancel?(env: Env, id: string): Promise<void>
}

/** The provider did not take or answer the request. */
export class ProviderError extends Error {
  /** False when asking again would be refused again. */
  readonly retryable: boolean
  /** Seconds, as the provider asked for. */
  readonly retryAfter: number | undefined
  /** HTTP status; 0 when nothing usable was answered. */
  readonly status: number

  constructor(
    message: string,
    options: { retryable: boolean; status?: number; retryAfter?: number | undefined; cause?: unknown },
  ) {
    super(message, { cause: options.cause })
    this.retryable = options.retryable
    this.retryAfter = options.retryAfter
    this.status = options.status ?? 0
  }
}

/** Whether an HTTP status, or none at all (0), may be another one next time. */
export const isPassing = (status: number) => status === 0 || status === 408 || status === 429 || status >= 500

/**
 * One JSON request to a provider that answers with its result; a refusal's body is undefined unless it is JSON.
 * @throws {ProviderError}
 */
export const askOnce = async (
  name: string,
  url: string,
  init: RequestInit,
  timeout: number,
): Promise<{ ok: boolean; status: number; body: unknown }> => {
  let status = 0
  let retryAfter: number | undefined
  let cause: unknown
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(timeout) })
    status = response.status
    retryAfter = Number(response.headers.get('retry-after')) || undefined
    if (!isPassing(status)) {
      // A refusal stays one, whoever words it: a proxy answers in HTML.
      const body: unknown = await response.json().catch((error: unknown) => {
        if (response.ok) throw error
      })
      return { ok: response.ok, status, body }
    }
    await response.body?.cancel()
  } catch (error) {
    cause = error
    status = 0
  }
  throw new ProviderError(`${name} answered ${status || 'nothing usable'}`, {
    retryable: true,
    status,
    retryAfter,
    cause,
  })
}
