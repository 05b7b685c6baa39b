/** Replicate: one endpoint for official and community models; plain requests, since its client would send some twice. */
import { z } from 'zod'
import type { Env } from '../env.ts'
import { failureOf } from './failures.ts'
import { ask, askJson, type JobProvider, type Standing, urlsAt } from './provider.ts'

const Prediction = z.object({
  id: z.string(),
  status: z.enum(['starting', 'processing', 'succeeded', 'failed', 'canceled', 'aborted']),
  output: z.unknown().optional(),
  error: z.unknown().optional(),
  logs: z.string().nullish(),
})

const requestOf = (env: Env, path: string, init: RequestInit = {}): Parameters<typeof ask> => [
  'Replicate',
  `${env.REPLICATE_BASE_URL}/predictions${path}`,
  { ...init, headers: { authorization: `Bearer ${env.REPLICATE_API_TOKEN}`, ...init.headers } },
]

/** The last percentage of a progress bar (tqdm) in the log; the log may count beyond the end. */
const progressOf = (logs: string | null | undefined): number | undefined => {
  const last = [...(logs ?? '').slice(-2000).matchAll(/(\d{1,3})%\|/g)].at(-1)?.[1]
  return last === undefined ? undefined : Math.min(100, Number(last))
}

const standingOf = (
  { status, output, error, logs }: z.output<typeof Prediction>,
  pointer: string,
): Standing => {
  switch (status) {
    case 'starting':
      return { status: 'running', phase: 'booting' }
    case 'processing': {
      const progress = progressOf(logs)
      return { status: 'running', phase: 'running', ...(progress !== undefined && { progress }) }
    }
    case 'succeeded': {
      const urls = urlsAt(output, pointer)
      // Some models leave out what their safety check refuses.
      if (urls.length > 0) return { status: 'succeeded', urls }
      return {
        status: 'failed',
        failure: { reason: 'content_rejected', detail: 'Replicate: no output, as after a safety filter' },
      }
    }
    case 'failed':
    case 'canceled':
    case 'aborted':
      return {
        status: 'failed',
        failure: failureOf(
          `Replicate: ${status}: ${typeof error === 'string' ? error : JSON.stringify(error ?? null)}`,
        ),
      }
  }
}

export const replicate: JobProvider = {
  keepsJobs: true,
  isConfigured: (env) => env.REPLICATE_API_TOKEN !== undefined,
  tells: (env) => env.REPLICATE_WEBHOOK_SECRET !== undefined,
  async submit(env, { model, fields, photoFields, output, webhookUrl, timeout }) {
    const request = requestOf(env, '', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'cancel-after': `${timeout}s` },
      body: JSON.stringify({
        version: model,
        input: { ...fields, ...photoFields },
        webhook: webhookUrl,
        webhook_events_filter: ['completed'],
      }),
    })
    const prediction = await askJson(Prediction, ...request)
    return { operation: { id: prediction.id }, standing: standingOf(prediction, output) }
  },
  get: async (env, { id }, output) =>
    standingOf(await askJson(Prediction, ...requestOf(env, `/${id}`)), output),
  cancel: async (env, { id }) => {
    const { body } = await ask(...requestOf(env, `/${id}/cancel`, { method: 'POST' }))
    await body?.cancel()
  },
}
