/** fal's queue API: a request is taken whatever it says, and its result says what was wrong with it. */

import { randomBytes, randomUUID } from 'node:crypto'
import { checkInput, fillIn, type Issue } from '../check.ts'
import { findSchema } from '../schemas.ts'
import { isContentProblem, messageOf } from './at-once.ts'
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
import { PhotoError } from './photos.ts'
import type { Prediction } from './prediction.ts'
import { promptOf, toOrder } from './reading.ts'
import type { Sending, Webhooks } from './webhooks.ts'

const jwksPath = '/fal/.well-known/jwks.json'
const openapiPath = '/fal/api/openapi/queue/openapi.json'
const maxRemembered = 5_000

/** What a request came to: the model's own answer, or the errors that stand for it. */
interface Result {
  status: number
  errorType?: string
  body: unknown
}

interface FalRequest {
  id: string
  /** Where it is found; nothing that its id tells. */
  path: string
  model: string
  input: Record<string, unknown>
  /** Without one its input was wrong and nothing was begun. */
  predictionId?: string
  invalid: Issue[]
  wasCanceled: boolean
}

const unauthorized = (): Refusal => new Refusal(401, 'Authentication is required to access this application.')

const notFound = (what: string): Refusal => new Refusal(404, `${what} not found`)

const words: Words = {
  unauthorized,
  payment_required: () =>
    new Refusal(
      403,
      'User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing.',
    ),
  forbidden: (_, { model }) => new Refusal(403, `Access denied to application ${model}`),
  not_found: (_, { model }) => notFound(`Application '${model}'`),
  rate_limited: ({ retryAfter }) =>
    new Refusal(429, 'Too many requests. Please try again later.', { retryAfter }),
}

const describeIssue = ({ path, rule, expected, given }: Issue, input: unknown): object => {
  const entry = (loc: string[], msg: string, type: string) => ({ loc: ['body', ...loc], msg, type, input })
  switch (rule) {
    case 'required':
      return entry([...path, expected], 'Field required', 'missing')
    case 'type':
      return entry(path, `Input should be a valid ${expected}, not ${given}`, `${expected}_type`)
    case 'enum':
      return entry(path, `Input should be one of ${expected}`, 'literal_error')
    case 'format':
      return entry(path, 'Input should be a valid URL', 'url_parsing')
    case 'minimum':
      return entry(path, `Input should be at least ${expected}`, 'greater_than_equal')
    case 'maximum':
      return entry(path, `Input should be at most ${expected}`, 'less_than_equal')
    case 'unknown':
      return entry([...path, expected], 'Extra inputs are not permitted', 'extra_forbidden')
  }
}

const photoTypes: Record<PhotoError['reason'], string> = {
  unreachable: 'file_download_error',
  unreadable: 'image_load_error',
  type: 'unsupported_image_format',
  bytes: 'file_too_large',
  small: 'image_too_small',
  large: 'image_too_large',
  ratio: 'image_aspect_ratio_error',
  alpha: 'unsupported_image_format',
  count: 'too_many_items',
}

const contentTypes: Record<string, string> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  webp: 'image/webp',
  mp4: 'video/mp4',
}

const toFile = (url: string) => {
  const name = url.split('/').at(-1) ?? ''
  return { url, content_type: contentTypes[name.split('.').at(-1) ?? ''], file_name: name, file_size: null }
}

export function createFal(context: ServerContext, origin: string, webhooks: Webhooks): Protocol {
  const { predictions, faults } = context
  /** By their paths. */
  const requests = new Map<string, FalRequest>()

  const find = ({ params }: Call): FalRequest => {
    const request = requests.get(params.path ?? '')
    if (!request) throw notFound('Request')
    return request
  }

  const predictionOf = ({ predictionId = '' }: FalRequest): Prediction | undefined =>
    predictions.get(predictionId, 'fal')

  /** What a request ended with; undefined while it hasn't. */
  const resultOf = (request: FalRequest): Result | undefined => {
    const { invalid, input, predictionId = '', model, wasCanceled } = request
    if (wasCanceled)
      return { status: 499, errorType: 'request_cancelled', body: { detail: 'Request was cancelled.' } }
    if (invalid.length > 0)
      return {
        status: 422,
        errorType: 'invalid_input',
        body: { detail: invalid.map((each) => describeIssue(each, input)) },
      }
    const prediction = predictionOf(request)
    if (!prediction) return { status: 404, errorType: 'not_found', body: { detail: 'Request not found' } }
    if (!prediction.completed_at) return undefined
    if (prediction.status === 'succeeded') {
      const files = [prediction.output ?? []].flat().map(toFile)
      const isFilm = findSchema(context.schemas, 'fal', model)?.capabilities.includes('animate')
      const seed = typeof input.seed === 'number' ? input.seed : undefined
      return {
        status: 200,
        body: isFilm ? { video: files[0] ?? null, seed } : { images: files, description: '' },
      }
    }
    const problem = predictions.problem(predictionId)
    const fail = (status: number, type: string, loc: string[]): Result => ({
      status,
      errorType: type,
      body: {
        detail: [{ loc, msg: messageOf(problem), type, url: `https://docs.fal.ai/errors#${type}`, input }],
      },
    })
    const [field = ''] = findSchema(context.schemas, 'fal', model)?.photos?.fields ?? []
    if (isContentProblem(problem)) return fail(422, 'content_policy_violation', ['body', 'prompt'])
    if (problem instanceof PhotoError) return fail(422, photoTypes[problem.reason], ['body', field])
    return fail(500, 'internal_server_error', ['body'])
  }

  const tell = async (request: FalRequest, url: string, sending: Sending): Promise<void> => {
    const result = resultOf(request)
    if (!result) return
    const body = {
      request_id: request.id,
      gateway_request_id: request.id,
      status: result.status === 200 ? 'OK' : 'ERROR',
      ...(result.status !== 200 && { error: `Unexpected status code: ${result.status}` }),
      ...(result.errorType && { error_type: result.errorType }),
      payload: result.body,
    }
    await webhooks.sendAsFal(url, request.id, JSON.stringify(body), sending)
  }

  const urlsOf = ({ path }: FalRequest) => {
    const url = `${origin}/fal/queue/${path}`
    return { response_url: url, status_url: `${url}/status`, cancel_url: `${url}/cancel` }
  }

  const submit = async ({ request: message, response, params }: Call): Promise<void> => {
    const body = await readJson(message)
    const input = isRecord(body) ? body : {}
    const model = `${params.owner}/${params.name}/${params.task}`
    const target = { provider: 'fal', model, prompt: promptOf(input) } as const
    context.submissions.note('fal', model, input)
    const fault = applyFault(faults, target, words)
    if (fault === 'hang') return
    const schema = findSchema(context.schemas, 'fal', model)
    if (!schema) throw notFound(`Application '${model}'`)
    const webhook = new URL(message.url ?? '/', origin).searchParams.get('fal_webhook')
    const request: FalRequest = {
      id: randomUUID(),
      path: randomBytes(12).toString('base64url'),
      model,
      input,
      invalid: checkInput(schema.input, input),
      wasCanceled: false,
    }
    requests.set(request.path, request)
    for (const oldest of requests.keys()) {
      if (requests.size <= maxRemembered) break
      requests.delete(oldest)
    }
    if (request.invalid.length > 0) {
      if (webhook) void tell(request, webhook, { copies: 1, age: 0 })
    } else {
      const { id } = predictions.create(toOrder(schema, fillIn(schema.input, input), context.scale), {
        provider: 'fal',
        model,
        output: schema.output,
        refusal: schema.refusal,
        async tell(event, _, sending) {
          if (event === 'completed' && webhook) await tell(request, webhook, sending)
        },
      })
      request.predictionId = id
      if (faults.take(['webhook_early'], target)) await predictions.waitUntilTold(id)
    }
    const answer = { status: 'IN_QUEUE', request_id: request.id, ...urlsOf(request), queue_position: 0 }
    if (fault) return sendGarbled(response, 200, answer)
    sendJson(response, 200, answer)
  }

  const sendStatus = (call: Call): void => {
    const request = find(call)
    const base = { request_id: request.id, ...urlsOf(request) }
    const result = resultOf(request)
    if (result) {
      const { predict_time } = predictionOf(request)?.metrics ?? {}
      const failure = result.errorType && { error: 'The request failed.', error_type: result.errorType }
      sendJson(call.response, 200, {
        status: 'COMPLETED',
        ...base,
        logs: [],
        metrics: { inference_time: predict_time ?? null },
        ...failure,
      })
      return
    }
    const position = predictions.position(request.predictionId ?? '')
    const waiting = predictionOf(request)?.status === 'starting'
    sendJson(
      call.response,
      202,
      waiting
        ? { status: 'IN_QUEUE', ...base, queue_position: position }
        : { status: 'IN_PROGRESS', ...base, logs: [] },
    )
  }

  const sendResult = (call: Call): void => {
    const result = resultOf(find(call))
    if (!result) throw new Refusal(400, 'Request is still in progress')
    const { status, errorType, body } = result
    sendJson(call.response, status, body, errorType ? { 'x-fal-error-type': errorType } : {})
  }

  /** What has begun is not stopped any more. */
  const cancel = (call: Call): void => {
    const request = find(call)
    if (predictionOf(request)?.status !== 'starting') {
      sendJson(call.response, 400, { status: 'ALREADY_COMPLETED' })
      return
    }
    request.wasCanceled = true
    predictions.cancel(request.predictionId ?? '')
    sendJson(call.response, 202, { status: 'CANCELLATION_REQUESTED' })
  }

  /** The schema of a model as fal's site publishes it, for everybody. */
  const sendOpenapi = ({ request, response }: Call): void => {
    const model = new URL(request.url ?? '/', origin).searchParams.get('endpoint_id') ?? ''
    const schema = findSchema(context.schemas, 'fal', model)
    if (!schema) throw notFound(`Application '${model}'`)
    const content = { 'application/json': { schema: { $ref: '#/components/schemas/Input' } } }
    sendJson(response, 200, {
      openapi: '3.0.4',
      info: { title: `Queue OpenAPI for ${model}`, version: '1.0.0' },
      components: { schemas: { Input: schema.input } },
      paths: { [`/${model}`]: { post: { requestBody: { required: true, content } } } },
    })
  }

  return {
    prefix: '/fal/',
    authenticate(message) {
      if (message.url?.startsWith(jwksPath) || message.url?.startsWith(openapiPath)) return
      if (readToken(message, /^key$/i) !== context.token) throw unauthorized()
    },
    refuse(response, refusal) {
      const { status, message, details } = refusal
      sendJson(response, status, { detail: message, ...details.extra }, headersOf(refusal))
    },
    routes: {
      [`GET ${openapiPath}`]: sendOpenapi,
      [`GET ${jwksPath}`]: ({ response }) => sendJson(response, 200, webhooks.jwks),
      'GET /fal/queue/:path/status': sendStatus,
      'GET /fal/queue/:path': sendResult,
      'PUT /fal/queue/:path/cancel': cancel,
      'POST /fal/:owner/:name/:task': submit,
    },
  }
}
