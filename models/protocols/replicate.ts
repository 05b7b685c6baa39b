/** Replicate's predictions API. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { fillIn } from '../check.ts'
import { findSchema, type ModelSchema } from '../schemas.ts'
import type { ServerContext } from './context.ts'
import { applyFault, type Words } from './faults.ts'
import {
  type Call,
  headersOf,
  isRecord,
  type Protocol,
  Refusal,
  readJson,
  readToken,
  sendGarbled,
  sendJson,
} from './http.ts'
import type { Order } from './order.ts'
import type { Creation, Prediction } from './prediction.ts'
import { promptOf, toOrder } from './reading.ts'
import { checkModelInput, readEnvelope } from './replicate-input.ts'
import { describeModel, versionOf } from './replicate-models.ts'
import type { Webhooks } from './webhooks.ts'

const maxBodyBytes = 12 * 1024 * 1024
const maxWaitSeconds = 60

const titles: Record<number, string> = {
  400: 'Bad request',
  401: 'Unauthenticated',
  402: 'Insufficient credit',
  403: 'Forbidden',
  404: 'Not found',
  413: 'Content too large',
  416: 'Range not satisfiable',
  422: 'Input validation failed',
  429: 'Too many requests',
  500: 'Internal server error',
}

const notFound = (): Refusal => new Refusal(404, 'The requested resource could not be found.')
const unauthorized = (): Refusal => new Refusal(401, 'You did not pass a valid authentication token')

const words: Words = {
  unauthorized,
  payment_required: () =>
    new Refusal(
      402,
      'You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing to purchase credit. Once you purchase credit, please wait a few minutes before trying again.',
    ),
  forbidden: () => new Refusal(403, 'You do not have permission to perform this action.'),
  not_found: notFound,
  // The wait stands in the body and in the text, and in no header.
  rate_limited: ({ retryAfter }) =>
    new Refusal(429, `Request was throttled. Your rate limit resets in ~${retryAfter}s.`, {
      extra: { retry_after: retryAfter },
    }),
}

/** Problem details, as Replicate sends them. */
export function refuseAsReplicate(response: ServerResponse, refusal: Refusal): void {
  const { status, message, details } = refusal
  const body = { title: titles[status], detail: message, status, ...details.extra }
  sendJson(response, status, body, { 'content-type': 'application/problem+json', ...headersOf(refusal) })
}

/** Seconds to hold the response for, from `Prefer: wait` or `Prefer: wait=n`; 0 without it. */
function readWait(request: IncomingMessage): number {
  const match = /(?:^|,)\s*wait(?:=(\d+))?\s*(?:,|$)/.exec(String(request.headers.prefer ?? ''))
  return match ? Math.max(1, Math.min(maxWaitSeconds, Number(match[1] ?? maxWaitSeconds))) : 0
}

/** Milliseconds from `Cancel-After`, as in `90s` or `1h30m`; undefined without it. */
function readDeadline({ headers }: IncomingMessage): number | undefined {
  const header = headers['cancel-after']
  if (header === undefined) return undefined
  const [, hours, minutes, seconds] = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?$/.exec(String(header)) ?? []
  const total = Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0)
  if (total === 0) throw new Refusal(400, 'Cancel-After must be a duration like 1m30s.')
  return total * 1000
}

export function createReplicate(context: ServerContext, webhookSecret: string, webhooks: Webhooks): Protocol {
  const { faults, predictions, schemas } = context

  const find = (prediction: Prediction | undefined): Prediction => {
    if (!prediction) throw notFound()
    return prediction
  }

  /** The model of a `version`, which is `owner/name`, `owner/name:hash` or the hash alone. */
  const findVersion = (version: string): ModelSchema | undefined => {
    const [model, hash] = version.includes('/') ? version.split(':') : ['', version]
    return schemas.find(
      (each) =>
        each.provider === 'replicate' &&
        (model === '' || each.model === model) &&
        (hash === undefined || versionOf(each) === hash),
    )
  }

  /** What is to be made, and as what it is kept. Throws a refusal. */
  const plan = (
    named: string | undefined,
    version: string | undefined,
    input: Record<string, unknown>,
  ): { order: Order; creation: Omit<Creation, 'provider'> } => {
    const schema = named ? findSchema(schemas, 'replicate', named) : findVersion(version ?? '')
    // A model that isn't official has no address of its own.
    if (named && !schema?.official) throw notFound()
    if (!schema)
      throw new Refusal(
        422,
        'The specified version does not exist (or perhaps you don’t have permission to use it?)',
        { extra: { title: 'Invalid version or not permitted' } },
      )
    checkModelInput(schema, input)
    const { model, output, refusal, official } = schema
    return {
      order: toOrder(schema, fillIn(schema.input, input), context.scale),
      creation: {
        model,
        output,
        refusal,
        // Behind official models stand other companies' APIs, which tell no progress.
        quiet: official === true,
        version: official ? 'hidden' : versionOf(schema),
      },
    }
  }

  const create = async ({ request, response, params }: Call): Promise<void> => {
    const wait = readWait(request)
    const cancelAfter = readDeadline(request)
    const body = await readJson(request, maxBodyBytes)
    const raw = isRecord(body) && isRecord(body.input) ? body.input : {}
    const named = params.owner && params.name ? `${params.owner}/${params.name}` : undefined
    const reference = named ?? (isRecord(body) ? String(body.version ?? '').split(':')[0] : undefined)
    const target = { provider: 'replicate', model: reference ?? '', prompt: promptOf(raw) } as const
    context.submissions.note('replicate', target.model, raw)
    const fault = applyFault(faults, target, words)
    if (fault === 'hang') return

    const envelope = readEnvelope(body, named !== undefined)
    const { webhook, webhook_events_filter: events = ['output', 'completed'] } = envelope
    const { order, creation } = plan(named, envelope.version, envelope.input)
    const prediction = predictions.create(order, {
      ...creation,
      provider: 'replicate',
      input: envelope.input,
      webhook,
      events: envelope.webhook_events_filter,
      cancelAfter,
      async tell(event, told, sending) {
        if (webhook && events.includes(event)) await webhooks.send(webhook, JSON.stringify(told), sending)
      },
    })
    // Replicate shows a prediction that outlasts the wait as starting, which is how its client knows to poll.
    const started: Prediction = { ...prediction, status: 'starting' }
    if (fault) return sendGarbled(response, 201, prediction)
    if (faults.take(['webhook_early'], target)) {
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
      if (readToken(request, /^(bearer|token)$/i) !== context.token) throw unauthorized()
    },
    refuse: refuseAsReplicate,
    routes: {
      'POST /v1/predictions': create,
      'POST /v1/models/:owner/:name/predictions': create,
      'GET /v1/models/:owner/:name': ({ response, params }) => {
        const schema = findSchema(schemas, 'replicate', `${params.owner}/${params.name}`)
        if (!schema) throw notFound()
        sendJson(response, 200, describeModel(schema))
      },
      'GET /v1/predictions': ({ response }) =>
        sendJson(response, 200, { next: null, previous: null, results: predictions.list().slice(0, 100) }),
      'GET /v1/predictions/:id': ({ response, params }) =>
        sendJson(response, 200, find(predictions.get(params.id ?? '', 'replicate'))),
      'POST /v1/predictions/:id/cancel': ({ response, params }) =>
        sendJson(response, 200, find(predictions.cancel(params.id ?? ''))),
      'GET /v1/webhooks/default/secret': ({ response }) => sendJson(response, 200, { key: webhookSecret }),
    },
  }
}
