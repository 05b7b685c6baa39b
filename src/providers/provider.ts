/** The two shapes of providers: those that keep jobs and are asked about them, and those that answer with the result. */
import type { z } from 'zod'
import type { Env } from '../env.ts'
import { readChunks } from '../streams.ts'
import type { Operation } from '../words.ts'
import { type Failure, failureOf, redact, retryAfterOf } from './failures.ts'

export interface Submission {
  /** As the provider calls it. */
  model: string
  /** Under the provider's names; without the photos. */
  fields: Record<string, unknown>
  /** Presigned, for as long as the job may wait. */
  photos: { url: string; mimeType: string }[]
  /** The photos' URLs under the provider's names. */
  photoFields: Record<string, unknown>
  /** JSON pointer to the results in what it answers. */
  output: string
  /** Where the provider may say that it has news. */
  webhookUrl: string
  /** Seconds that the provider may take. */
  timeout: number
}

/** How a job at the provider stands. */
export type Standing =
  | {
      status: 'running'
      phase: 'provider_line' | 'booting' | 'running' /** Percent, where it tells. */
      progress?: number
    }
  /** URLs that the provider keeps for a while. */
  | { status: 'succeeded'; urls: string[] }
  | { status: 'failed'; failure: Failure }

export interface JobProvider {
  keepsJobs: true
  /** Whether the operator has set it up. */
  isConfigured(env: Env): boolean
  /** Whether it tells the end of jobs by webhook here. */
  tells(env: Env): boolean
  /** @throws {ProviderError} after which the job may or may not have been accepted */
  submit(env: Env, submission: Submission): Promise<{ operation: Operation; standing: Standing }>
  /** @throws {ProviderError} */
  get(env: Env, operation: Operation, output: string): Promise<Standing>
  /** Of a job that has ended it changes nothing. @throws {ProviderError} */
  cancel(env: Env, operation: Operation): Promise<void>
}

/** Takes the results one after the other, as they arrive. */
type Keep = (bytes: AsyncIterable<Uint8Array>) => Promise<void>

export interface AtOnceProvider {
  keepsJobs: false
  isConfigured(env: Env): boolean
  /**
   * One call. Results go to `keep` while the answer is read, so that no picture is held whole.
   * @returns why there are fewer than asked for, if the provider says so
   * @throws {ProviderError}, or what `keep` throws
   */
  render(env: Env, submission: Submission, keep: Keep, signal: AbortSignal): Promise<Failure | undefined>
}

export type Provider = JobProvider | AtOnceProvider

/** The provider did not take or answer the request. */
export class ProviderError extends Error {
  readonly failure: Failure
  /** Seconds, as the provider asked for. */
  readonly retryAfter: number | undefined
  /** Nothing was accepted: it may be asked again at once. */
  readonly isRefusal: boolean

  constructor(
    failure: Failure,
    options: { isRefusal: boolean; retryAfter?: number | undefined; cause?: unknown },
  ) {
    super(`${failure.reason}: ${failure.detail}`, { cause: options.cause })
    this.failure = failure
    this.isRefusal = options.isRefusal
    this.retryAfter = options.retryAfter
  }
}

/** Milliseconds for a request that is not the work itself. */
const REQUEST_TIMEOUT = 15_000

/** Answers of what stands before a provider, which may have accepted the request. */
const UNCERTAIN = [408, 502, 504, 524]

/** Bytes of a body that say something. */
const MAX_SAID = 2000
/** Bytes of an answer that has no picture in it. */
const MAX_ANSWER = 8 * 1024 * 1024

/** The beginning of a body; the rest is not sent. */
const readText = async ({ body }: Response, most: number): Promise<string> => {
  const pieces: Buffer[] = []
  let size = 0
  if (body) {
    for await (const chunk of readChunks(body)) {
      pieces.push(Buffer.from(chunk))
      size += chunk.length
      if (size >= most) break
    }
  }
  return Buffer.concat(pieces).toString()
}

/** One request; redirects are not followed, since they would take the key along. @throws {ProviderError} for every answer but 2xx, and for none */
export const ask = async (
  provider: string,
  url: string,
  init: RequestInit,
  signal: AbortSignal = AbortSignal.timeout(REQUEST_TIMEOUT),
): Promise<Response> => {
  let response: Response
  try {
    response = await fetch(url, { ...init, signal, redirect: 'manual' })
  } catch (cause) {
    const detail = `${provider} gave no answer`
    throw new ProviderError({ reason: 'unreachable', detail }, { isRefusal: false, cause })
  }
  if (response.ok) return response
  const text = await readText(response, MAX_SAID).catch(() => '')
  const { status, headers } = response
  throw new ProviderError(failureOf(`${provider} answered ${status}: ${text}`, status), {
    isRefusal: !UNCERTAIN.includes(status),
    retryAfter: retryAfterOf(headers, text),
  })
}

/** The same, of what answers with JSON of this shape. @throws {ProviderError} */
export const askJson = async <T>(schema: z.ZodType<T>, ...parameters: Parameters<typeof ask>): Promise<T> => {
  const response = await ask(...parameters)
  let text = ''
  try {
    text = await readText(response, MAX_ANSWER)
    return schema.parse(JSON.parse(text))
  } catch (cause) {
    const detail = redact(`${parameters[0]} answered ${response.status} with something else: ${text}`)
    throw new ProviderError({ reason: 'unreachable', detail }, { isRefusal: false, cause })
  }
}

/** The URLs that can be fetched at a JSON pointer, in which `*` stands for each of a list; an empty one is the value itself. */
export const urlsAt = (value: unknown, pointer: string): string[] => {
  let found: unknown[] = [value]
  for (const part of pointer.split('/').slice(1)) {
    found = found.flatMap((one) => {
      if (part === '*') return Array.isArray(one) ? one : []
      return typeof one === 'object' && one !== null && part in one ? [one[part as keyof typeof one]] : []
    })
  }
  return found
    .flat()
    .filter(
      (one): one is string =>
        typeof one === 'string' && URL.canParse(one) && /^(https?|data):$/.test(new URL(one).protocol),
    )
}
