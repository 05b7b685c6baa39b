/** Replicate, through its official client. */
import Replicate, { type Prediction, parseProgressFromLogs } from 'replicate'
import type { Env } from '../env.ts'
import { isPassing, type Job, type Provider, ProviderError } from './provider.ts'

/** Milliseconds for one request. */
const TIMEOUT = 15_000

const statusHeader = 'x-provider-status'

/**
 * The client answers every 429, 5xx (of a GET) and network fault by asking again at once, up to five times. A
 * submission costs money and a consumer must not wait, so it never gets to see one of those.
 */
const fetchOnce: typeof fetch = async (input, init) => {
  let response: Response | undefined
  try {
    // The client speaks of the DOM's types, which are these.
    response = await fetch(input as RequestInfo, {
      ...(init as RequestInit),
      signal: AbortSignal.timeout(TIMEOUT),
    })
    if (response.ok) return response
  } catch {}
  return new Response(await response?.text().catch(() => ''), {
    status: 400,
    headers: {
      [statusHeader]: String(response?.status ?? 0),
      'retry-after': response?.headers.get('retry-after') ?? '',
    },
  })
}

const ask = async (env: Env, request: (client: Replicate) => Promise<Prediction>): Promise<Job> => {
  const client = new Replicate({
    auth: env.REPLICATE_API_TOKEN,
    baseUrl: env.REPLICATE_BASE_URL,
    useFileOutput: false,
    fetch: fetchOnce,
  })
  try {
    return toJob(await request(client))
  } catch (cause) {
    const headers =
      cause instanceof Error && 'response' in cause && cause.response instanceof Response
        ? cause.response.headers
        : undefined
    // No header: the answer was no JSON, or not Replicate's.
    const status = Number(headers?.get(statusHeader) ?? 0)
    throw new ProviderError(`Replicate answered ${status || 'nothing usable'}`, {
      retryable: isPassing(status),
      status,
      retryAfter: Number(headers?.get('retry-after')) || undefined,
      cause,
    })
  }
}

const toJob = (prediction: Prediction): Job => {
  const { id } = prediction
  switch (prediction.status) {
    case 'starting':
    case 'processing':
      return {
        id,
        status: 'running',
        // The model's own log may count beyond its end.
        progress: Math.min(100, Math.round((parseProgressFromLogs(prediction)?.percentage ?? 0) * 100)),
      }
    case 'succeeded':
      return {
        id,
        status: 'succeeded',
        outputs: [prediction.output ?? []].flat().map((url) => ({ url: String(url) })),
      }
    case 'failed':
    case 'canceled':
    case 'aborted':
      return { id, status: 'failed', message: String(prediction.error ?? 'The provider stopped the job.') }
  }
  throw new TypeError('no prediction')
}

export const replicate: Provider = {
  isConfigured: () => true,
  submit: (env, submission) =>
    ask(env, (client) =>
      client.predictions.create({
        // The catalogue's models of this provider are named `owner/name`.
        model: submission.model as `${string}/${string}`,
        input: {
          ...(submission.prompt && { prompt: submission.prompt }),
          ...(submission.style && { style: submission.style }),
          ...(submission.images.length > 0 && { image: submission.images.map(({ url }) => url) }),
          ...(submission.seed !== null && { seed: submission.seed }),
          aspect_ratio: submission.aspectRatio,
          ...(submission.kind === 'video'
            ? { duration: submission.duration }
            : { num_outputs: submission.count, output_format: 'png' }),
        },
        webhook: submission.webhookUrl,
        webhook_events_filter: ['completed'],
      }),
    ),
  get: (env, id) => ask(env, (client) => client.predictions.get(id)),
  cancel: async (env, id) => {
    await ask(env, (client) => client.predictions.cancel(id))
  },
}
