/** Replicate's predictions API. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerContext } from './context.ts'
import { applyFault } from './faults.ts'
import {
  type Call,
  isRecord,
  type Protocol,
  Refusal,
  readJson,
  readToken,
  retryHeader,
  sendGarbled,
  sendJson,
} from './http.ts'
import { parseCreation } from './input.ts'
import type { Prediction } from './predictions.ts'

const maxBodyBytes = 12 * 1024 * 1024
const maxWaitSeconds = 60

const titles: Record<number, string> = {
  400: 'Bad request',
  401: 'Unauthenticated',
  404: 'Not found',
  413: 'Content too large',
  416: 'Range not satisfiable',
  422: 'Input validation failed',
  429: 'Too many requests',
  500: 'Internal server error',
}

/** Problem details, as Replicate sends them. */
export function refuseAsReplicate(response: ServerResponse, refusal: Refusal): void {
  const { status, message, details } = refusal
  const body = {
    title: titles[status],
    detail: message,
    status,
    ...(details.retryAfter !== undefined && { retry_after: details.retryAfter }),
    ...(details.invalidFields && { invalid_fields: details.invalidFields }),
  }
  sendJson(response, status, body, { 'content-type': 'application/problem+json', ...retryHeader(refusal) })
}

/** Seconds to hold the response for, from `Prefer: wait` or `Prefer: wait=n`; 0 without it. */
function readWait(request: IncomingMessage): number {
  const match = /(?:^|,)\s*wait(?:=(\d+))?\s*(?:,|$)/.exec(String(request.headers.prefer ?? ''))
  return match ? Math.max(1, Math.min(maxWaitSeconds, Number(match[1] ?? maxWaitSeconds))) : 0
}

export function createReplicate(context: ServerContext, webhookSecret: string): Protocol {
  const { faults, predictions } = context

  const find = (prediction: Prediction | undefined): Prediction => {
    if (!prediction) throw new Refusal(404, 'The requested resource could not be found.')
    return prediction
  }

  const create = async ({ request, response, params }: Call): Promise<void> => {
    const wait = readWait(request)
    const body = await readJson(request, maxBodyBytes)
    context.count('replicate')
    const input = isRecord(body) && isRecord(body.input) ? body.input : {}
    const prompt = typeof input.prompt === 'string' ? input.prompt : ''
    const fault = applyFault(faults, 'replicate', prompt)
    if (fault === 'hang') return

    const named = params.owner && params.name ? `${params.owner}/${params.name}` : undefined
    const { creation, invalid } = parseCreation(body, named)
    if (invalid) {
      const detail = invalid.map(({ field, description }) => `- ${field}: ${description}\n`).join('')
      throw new Refusal(422, detail, { invalidFields: invalid })
    }
    const [reference, hash] = (creation.version ?? '').split(':')
    const prediction = predictions.create(creation.input, {
      provider: 'replicate',
      model: named ?? (reference?.includes('/') ? reference : 'local/studio'),
      version: named ? 'hidden' : (hash ?? reference ?? ''),
      input,
      webhook: creation.webhook,
      events: creation.webhook_events_filter,
    })
    // Replicate shows a prediction that outlasts the wait as starting, which is how its client knows to poll.
    const started: Prediction = { ...prediction, status: 'starting' }
    if (fault) return sendGarbled(response, 201, prediction)
    if (faults.take(['webhook_early'], 'replicate', prompt)) {
      await predictions.waitUntilTold(prediction.id)
    } else if (wait > 0) {
      const gone = new AbortController()
      response.once('close', () => gone.abort())
      await predictions.wait(prediction.id, wait * 1000, gone.signal)
    }
    sendJson(response, 201, wait > 0 && prediction.completed_at ? prediction : started)
  }

  return {
    prefix: '/v1/',
    authenticate(request) {
      if (readToken(request, /^(bearer|token)$/i) === context.token) return
      throw new Refusal(401, 'You did not pass a valid authentication token')
    },
    refuse: refuseAsReplicate,
    routes: {
      'POST /v1/predictions': create,
      'POST /v1/models/:owner/:name/predictions': create,
      'GET /v1/predictions': ({ response }) =>
        sendJson(response, 200, { next: null, previous: null, results: predictions.list().slice(0, 100) }),
      'GET /v1/predictions/:id': ({ response, params }) =>
        sendJson(response, 200, find(predictions.get(params.id ?? ''))),
      'POST /v1/predictions/:id/cancel': ({ response, params }) =>
        sendJson(response, 200, find(predictions.cancel(params.id ?? ''))),
      'GET /v1/webhooks/default/secret': ({ response }) => sendJson(response, 200, { key: webhookSecret }),
    },
  }
}
