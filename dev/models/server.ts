// A local stand-in for Replicate: the same HTTP API, a model that really renders, and a switch for faults.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ZodError } from 'zod'
import { createFaults } from './faults.ts'
import { type InvalidField, parseCreation } from './input.ts'
import { createPredictions, type Prediction } from './predictions.ts'
import { createWebhooks } from './webhooks.ts'

const maxBodyBytes = 12 * 1024 * 1024
const maxWaitSeconds = 60
const contentTypes = { png: 'image/png', webp: 'image/webp', jpg: 'image/jpeg' }

export interface ModelServer {
  /** The base URL for a Replicate client. */
  url: string
  origin: string
  /** Cancels what runs and closes every connection. */
  stop(): Promise<void>
}

interface Call {
  request: IncomingMessage
  response: ServerResponse
  params: Record<string, string>
}

class Problem extends Error {
  readonly status: number
  readonly body: { title: string; detail: string; status: number; invalid_fields?: InvalidField[] }

  constructor(status: number, title: string, detail: string, invalid?: InvalidField[]) {
    super(detail)
    this.status = status
    this.body = { title, detail, status, ...(invalid && { invalid_fields: invalid }) }
  }
}

function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const type = status >= 400 ? 'application/problem+json' : 'application/json'
  response.writeHead(status, { 'content-type': type, ...headers }).end(JSON.stringify(body))
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.byteLength
    if (size > maxBodyBytes) throw new Problem(413, 'Content too large', `At most ${maxBodyBytes} bytes.`)
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw new Problem(400, 'Bad request', 'The request body is not valid JSON.')
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Seconds to hold the response for, from `Prefer: wait` or `Prefer: wait=n`; 0 without it. */
function readWait(request: IncomingMessage): number {
  const match = /(?:^|,)\s*wait(?:=(\d+))?\s*(?:,|$)/.exec(String(request.headers.prefer ?? ''))
  return match ? Math.max(1, Math.min(maxWaitSeconds, Number(match[1] ?? maxWaitSeconds))) : 0
}

/** `port` 0 takes a free one. `webhookSecret` is `whsec_` and the key in base64. */
export async function startModels(options: {
  port?: number
  token: string
  webhookSecret: string
}): Promise<ModelServer> {
  const server = createServer({ keepAliveTimeout: 65_000 })
  server.listen(options.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const faults = createFaults()
  const webhooks = createWebhooks(options.webhookSecret)
  const predictions = createPredictions({ origin, notify: (url, body) => void webhooks.send(url, body) })
  let submissions = 0

  const authenticate = ({ headers }: IncomingMessage): void => {
    const [scheme, token] = (headers.authorization ?? '').split(' ')
    if (/^(bearer|token)$/i.test(scheme ?? '') && token === options.token) return
    throw new Problem(401, 'Unauthenticated', 'You did not pass a valid authentication token')
  }

  const find = (prediction: Prediction | undefined): Prediction => {
    if (!prediction) throw new Problem(404, 'Not found', 'The requested resource could not be found.')
    return prediction
  }

  const create = async ({ request, response, params }: Call): Promise<void> => {
    const wait = readWait(request)
    const body = await readJson(request)
    submissions++
    const input = isRecord(body) && isRecord(body.input) ? body.input : {}
    const prompt = typeof input.prompt === 'string' ? input.prompt : ''
    const refusal = faults.take(['rate_limit', 'server_error', 'hang', 'malformed_json'], prompt)
    if (refusal?.kind === 'hang') return
    if (refusal?.kind === 'rate_limit') {
      const detail = `Request was throttled. Expected available in ${refusal.retryAfter} seconds.`
      const problem = { title: 'Too many requests', detail, status: 429, retry_after: refusal.retryAfter }
      return sendJson(response, 429, problem, { 'retry-after': String(refusal.retryAfter) })
    }
    if (refusal?.kind === 'server_error')
      throw new Problem(500, 'Internal server error', 'Something went wrong.')

    const named = params.owner !== undefined && params.name !== undefined
    const { creation, invalid } = parseCreation(body, !named)
    if (invalid) {
      const detail = invalid.map(({ field, description }) => `- ${field}: ${description}\n`).join('')
      throw new Problem(422, 'Input validation failed', detail, invalid)
    }
    const [reference, hash] = (creation.version ?? '').split(':')
    const prediction = predictions.create(creation, {
      model: named ? `${params.owner}/${params.name}` : reference?.includes('/') ? reference : 'local/studio',
      version: named ? 'hidden' : (hash ?? reference ?? ''),
      input,
      delayMs: faults.take(['slow'], prompt)?.delayMs ?? 0,
      error: faults.take(['failed_prediction'], prompt)?.error,
    })
    if (refusal?.kind === 'malformed_json') {
      response
        .writeHead(201, { 'content-type': 'application/json' })
        .end(JSON.stringify(prediction).slice(0, 60))
      return
    }
    if (wait > 0) {
      const gone = new AbortController()
      response.once('close', () => gone.abort())
      await predictions.wait(prediction.id, wait * 1000, gone.signal)
    }
    // Replicate shows a prediction that outlasts the wait as starting, which is how its client knows to poll.
    sendJson(response, 201, prediction.completed_at ? prediction : { ...prediction, status: 'starting' })
  }

  const sendOutput = ({ request, response, params }: Call): void => {
    const output = predictions.output(params.id ?? '', Number(params.index))
    const isMissing = !output || output.format !== params.format
    const fault = isMissing ? undefined : faults.take(['broken_output', 'missing_output'], output.prompt)
    if (isMissing || fault?.kind === 'missing_output')
      throw new Problem(404, 'Not found', 'The file does not exist.')
    response.writeHead(200, {
      'content-type': contentTypes[output.format],
      'content-length': output.data.byteLength,
    })
    if (request.method === 'HEAD') response.end()
    else if (fault)
      response.write(output.data.subarray(0, output.data.byteLength >> 1), () => response.destroy())
    else response.end(output.data)
  }

  const sendStats = ({ response }: Call): void => {
    const summaries = predictions.recent().map(({ id, status, metrics, created_at, completed_at }) => ({
      id,
      status,
      predictTime: metrics.predict_time ?? null,
      createdAt: created_at,
      completedAt: completed_at,
    }))
    sendJson(response, 200, { submissions, predictions: summaries })
  }

  const addFault = async ({ request, response }: Call): Promise<void> => {
    try {
      faults.add(await readJson(request))
    } catch (error) {
      if (error instanceof ZodError) throw new Problem(422, 'Not a fault', error.message)
      throw error
    }
    response.writeHead(204).end()
  }

  const routes: Record<string, (call: Call) => void | Promise<void>> = {
    'POST /v1/predictions': create,
    'POST /v1/models/:owner/:name/predictions': create,
    'GET /v1/predictions': ({ response }) =>
      sendJson(response, 200, { next: null, previous: null, results: predictions.list().slice(0, 100) }),
    'GET /v1/predictions/:id': ({ response, params }) =>
      sendJson(response, 200, find(predictions.get(params.id ?? ''))),
    'POST /v1/predictions/:id/cancel': ({ response, params }) =>
      sendJson(response, 200, find(predictions.cancel(params.id ?? ''))),
    'GET /v1/webhooks/default/secret': ({ response }) =>
      sendJson(response, 200, { key: options.webhookSecret }),
    'GET /outputs/:id/:index.:format': sendOutput,
    'HEAD /outputs/:id/:index.:format': sendOutput,
    'GET /stats': sendStats,
    'DELETE /stats': ({ response }) => {
      submissions = 0
      predictions.forgetRecent()
      response.writeHead(204).end()
    },
    'POST /faults': addFault,
    'DELETE /faults': ({ response }) => {
      faults.clear()
      response.writeHead(204).end()
    },
  }
  const table = Object.entries(routes).map(([route, handle]) => {
    const pattern = new RegExp(`^${route.replaceAll('.', '\\.').replace(/:(\w+)/g, '(?<$1>[^/.]+)')}$`)
    return { pattern, handle }
  })

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const { pathname } = new URL(request.url ?? '/', origin)
      if (pathname.startsWith('/v1/')) authenticate(request)
      for (const { pattern, handle } of table) {
        const match = pattern.exec(`${request.method} ${pathname}`)
        if (match) return await handle({ request, response, params: { ...match.groups } })
      }
      throw new Problem(404, 'Not found', 'The requested resource could not be found.')
    } catch (error) {
      if (response.headersSent || response.destroyed) return
      if (error instanceof Problem) return sendJson(response, error.status, error.body)
      console.error(error)
      sendJson(response, 500, {
        title: 'Internal server error',
        detail: 'The model server failed.',
        status: 500,
      })
    }
  }
  server.on('request', (request, response) => void answer(request, response))

  return {
    url: `${origin}/v1`,
    origin,
    async stop() {
      webhooks.stop()
      server.close()
      server.closeAllConnections()
      await predictions.stop()
    },
  }
}
