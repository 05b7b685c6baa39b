/** What goes wrong, as classes: an answer that refuses, no usable answer, a job that failed, a webhook that is not genuine. */
import type { Generation, Schemas } from './types.ts'

export type Problem = Schemas['Problem']

/** All that this package throws, but for the reason of an aborted signal and wrong arguments. */
export class MerchantError extends Error {
  override name = 'MerchantError'
}

/** The API refused, or something before it did. */
export class ApiError extends MerchantError {
  override name = 'ApiError'
  readonly status: number
  /** A problem's, from the closed list of the API or of a newer one; `unexpected_answer` if it was no problem. */
  readonly code: Problem['code'] | 'unexpected_answer' | (string & {})
  /** Which fields are wrong, and why. */
  readonly errors: NonNullable<Problem['errors']>
  /** To be told to the operator. */
  readonly requestId: string | undefined
  /** Seconds after which it may be tried again, where the answer says. */
  readonly retryAfter: number | undefined

  constructor(what: string, status: number, problem: Partial<Problem>, retryAfter?: number) {
    const errors = problem.errors ?? []
    const fields = errors.map(({ pointer, message }) => ` ${pointer} ${message}.`).join('')
    super(`${what}: ${problem.detail ?? `answered ${status}`}${fields}`)
    this.status = status
    this.code = problem.code ?? 'unexpected_answer'
    this.errors = errors
    this.requestId = problem.requestId
    this.retryAfter = retryAfter
  }
}

/** Nothing answered, not in time, or the answer broke off. Whether a request was done is not known. */
export class ConnectionError extends MerchantError {
  override name = 'ConnectionError'
}

/** A job ended without what was asked for. */
export class GenerationError extends MerchantError {
  override name = 'GenerationError'
  readonly generation: Generation
  /** Such as `content_rejected`; undefined when it was canceled. */
  readonly code: string | undefined
  /** Whether the same again may succeed. */
  readonly retryable: boolean

  constructor(generation: Generation) {
    const { id, status, error } = generation
    super(`generation ${id} ${status}${error ? `: ${error.message}` : ''}`)
    this.generation = generation
    this.code = error?.code
    this.retryable = error?.retryable ?? false
  }
}

/** A webhook that is not to be believed. */
export class WebhookError extends MerchantError {
  override name = 'WebhookError'
  readonly reason: 'headers' | 'timestamp' | 'signature' | 'body'

  constructor(reason: WebhookError['reason'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
  }
}

/** Whether the API understood and said no, so that asking again changes nothing. */
export const isRefusal = (error: unknown): error is ApiError =>
  error instanceof ApiError && error.status >= 400 && error.status < 500 && ![408, 429].includes(error.status)
