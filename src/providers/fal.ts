/** fal's queue: the addresses of a job are its own, and are kept as it gives them. */
import { z } from 'zod'
import type { Env } from '../env.ts'
import { failureOf } from './failures.ts'
import { ask, askJson, type JobProvider, ProviderError, type Standing, urlsAt } from './provider.ts'

const Submitted = z.object({
  request_id: z.string(),
  status_url: z.url(),
  response_url: z.url(),
  cancel_url: z.url(),
})
const Status = z.object({ status: z.enum(['IN_QUEUE', 'IN_PROGRESS', 'COMPLETED']) })

const requestOf = (env: Env, url: string | undefined, init: RequestInit = {}): Parameters<typeof ask> => [
  'fal',
  String(url),
  { ...init, headers: { authorization: `Key ${env.FAL_KEY}`, ...init.headers } },
]

/** What stands before fal knows nothing of results: their errors have a `detail`. */
const isOfResult = ({ failure: { reason, detail } }: ProviderError) =>
  reason !== 'too_many_requests' && (reason !== 'unreachable' || detail.includes('"detail"'))

const standingOf = async (
  env: Env,
  { status_url, response_url }: Record<string, string>,
  output: string,
): Promise<Standing> => {
  const { status } = await askJson(Status, ...requestOf(env, status_url))
  if (status === 'IN_QUEUE') return { status: 'running', phase: 'provider_line' }
  if (status === 'IN_PROGRESS') return { status: 'running', phase: 'running' }
  try {
    const urls = urlsAt(await askJson(z.unknown(), ...requestOf(env, response_url)), output)
    if (urls.length > 0) return { status: 'succeeded', urls }
    return { status: 'failed', failure: failureOf('fal: the answer has no results') }
  } catch (error) {
    // A wrong input is accepted into the queue, and refused as the result.
    if (error instanceof ProviderError && error.isRefusal && isOfResult(error)) {
      return { status: 'failed', failure: error.failure }
    }
    throw error
  }
}

export const fal: JobProvider = {
  keepsJobs: true,
  isConfigured: (env) => env.FAL_KEY !== undefined,
  tells: () => true,
  async submit(env, { model, fields, photoFields, webhookUrl, timeout }) {
    const url = new URL(`${env.FAL_BASE_URL}/${model}`)
    url.searchParams.set('fal_webhook', webhookUrl)
    const request = requestOf(env, url.href, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-fal-request-timeout': String(timeout) },
      body: JSON.stringify({ ...fields, ...photoFields }),
    })
    const { request_id, status_url, response_url, cancel_url } = await askJson(Submitted, ...request)
    return {
      operation: { id: request_id, status_url, response_url, cancel_url },
      standing: { status: 'running', phase: 'provider_line' },
    }
  },
  get: standingOf,
  async cancel(env, { cancel_url }) {
    try {
      const { body } = await ask(...requestOf(env, cancel_url, { method: 'PUT' }))
      await body?.cancel()
    } catch (error) {
      // It has begun, or is over: what runs, runs to its end.
      if (!(error instanceof ProviderError) || !error.isRefusal) throw error
    }
  },
}
