/** Cloudflare Workers AI over REST: one picture in base64, in Cloudflare's usual envelope. */

import { checkInput, fillIn, type Issue } from '../check.ts'
import { findSchema, type ModelSchema } from '../schemas.ts'
import { answerAtOnce, isContentProblem, messageOf } from './at-once.ts'
import type { ServerContext } from './context.ts'
import { applyFault, type Words } from './faults.ts'
import { readForm } from './form.ts'
import {
  type Call,
  headersOf,
  isRecord,
  type Protocol,
  Refusal,
  readJson,
  readToken,
  sendJson,
} from './http.ts'
import { PhotoError } from './photos.ts'
import { promptOf, toOrder } from './reading.ts'

const maxFormBytes = 100 * 1024 * 1024

const codes: Record<number, number> = {
  400: 5006,
  401: 10000,
  403: 10000,
  404: 7000,
  408: 3007,
  413: 3006,
  429: 3040,
  500: 3043,
}

const noModel = (model: string): Refusal =>
  new Refusal(400, `AiError: No such model ${model} or task`, { code: 5007 })

const words: Words = {
  unauthorized: () => new Refusal(401, 'Authentication error'),
  payment_required: () =>
    new Refusal(
      429,
      'AiError: you have used up your daily free allocation of 10,000 neurons, please upgrade to Cloudflare’s Workers Paid plan if you would like to continue usage.',
      { code: 4006 },
    ),
  forbidden: () =>
    new Refusal(403, 'AiError: this account is not allowed to access this model', { code: 5018 }),
  not_found: (_, { model }) => noModel(model),
  rate_limited: ({ retryAfter }) =>
    new Refusal(429, 'AiError: Capacity temporarily exceeded, please try again.', { retryAfter, code: 3040 }),
}

const describe = ({ path, rule, expected, given }: Issue): string => {
  const at = `/${path.join('/')}`
  switch (rule) {
    case 'required':
      return `required properties at '${at}' are '${expected}'`
    case 'unknown':
      return `Additional properties are not allowed at '${at}': '${expected}'`
    case 'type':
      return `Type mismatch of '${at}', '${expected}' not in '${given}'`
    default:
      return `'${at}' does not match ${rule} ${expected}`
  }
}

const refuseInput = (reasons: string[]): Refusal =>
  new Refusal(400, `AiError: Bad input: Error: ${reasons.join(', ')}`)

function explain(problem: unknown): Refusal {
  if (isContentProblem(problem))
    return new Refusal(400, 'AiError: Input prompt contains NSFW content.', { code: 3030 })
  const message = messageOf(problem)
  if (/timed? ?out/i.test(message)) return new Refusal(408, message)
  if (problem instanceof PhotoError) return new Refusal(400, message, { code: 5004 })
  return new Refusal(500, `AiError: ${message}`)
}

/** The fields that the model knows as what they are meant to be; the others, of which it never hears, as they came. */
async function readFields(form: FormData, { input, photos }: ModelSchema): Promise<Record<string, unknown>> {
  const fields: Record<string, unknown> = {}
  for (const [name, value] of form) {
    const type = input.properties?.[name]?.type
    if (photos?.fields.includes(name)) fields[name] = value instanceof File ? await value.bytes() : undefined
    else fields[name] = type && type !== 'string' ? Number(value) : value
  }
  return fields
}

export function createCloudflare(context: ServerContext): Protocol {
  /** What the request says, photos as bytes. Throws a refusal. */
  const readInput = async (call: Call, schema: ModelSchema | undefined): Promise<Record<string, unknown>> => {
    if (schema?.encoding !== 'multipart') {
      const body = await readJson(call.request)
      return isRecord(body) ? body : {}
    }
    if (!/^multipart\/form-data/i.test(call.request.headers['content-type'] ?? ''))
      throw refuseInput([`required properties at '/' are 'multipart'`])
    return readFields(await readForm(call, maxFormBytes), schema)
  }

  const run = async (call: Call): Promise<void> => {
    const model = `@cf/${call.params.author}/${call.params.model}`
    const schema = findSchema(context.schemas, 'workers-ai', model)
    const input = await readInput(call, schema)
    const target = { provider: 'cloudflare', model, prompt: promptOf(input) } as const
    context.submissions.note('cloudflare', model, input)
    const fault = applyFault(context.faults, target, words)
    if (fault === 'hang') return
    if (!schema) throw noModel(model)
    const photoFields = schema.photos?.fields ?? []
    // Bytes of a form are no part of the schema's own types.
    const plain = Object.fromEntries(
      Object.entries(input).filter(([, value]) => !(value instanceof Uint8Array)),
    )
    const issues = checkInput(schema.input, plain)
    if (issues.length > 0) throw refuseInput(issues.map(describe))
    const filled = fillIn(schema.input, input)
    for (const field of photoFields) {
      const value = filled[field]
      if (typeof value === 'string') filled[field] = new Uint8Array(Buffer.from(value, 'base64'))
    }
    await answerAtOnce(call, context, {
      provider: 'cloudflare',
      model,
      order: toOrder(schema, { ...filled, output_format: 'jpeg' }, context.scale),
      refusal: schema.refusal,
      isGarbled: fault === 'malformed_json',
      explain,
      present: ([file]) => ({
        result: file ? { image: Buffer.from(file).toString('base64') } : {},
        success: true,
        errors: [],
        messages: [],
      }),
    })
  }

  const sendSchema = ({ request, response }: Call): void => {
    const model = new URL(request.url ?? '/', 'http://localhost').searchParams.get('model') ?? ''
    const schema = findSchema(context.schemas, 'workers-ai', model)
    if (!schema) throw noModel(model)
    const output = { type: 'object', properties: { image: { type: 'string' } } }
    sendJson(response, 200, {
      result: { input: schema.input, output },
      success: true,
      errors: [],
      messages: [],
    })
  }

  return {
    prefix: '/client/v4/',
    authenticate(request) {
      const token = readToken(request, /^bearer$/i)
      if (token !== context.token) throw new Refusal(token ? 403 : 401, 'Authentication error')
    },
    refuse(response, refusal) {
      const { status, message, details } = refusal
      const errors = [{ code: details.code ?? codes[status] ?? 3043, message }]
      sendJson(response, status, { result: null, success: false, errors, messages: [] }, headersOf(refusal))
    },
    routes: {
      'POST /client/v4/accounts/:account/ai/run/@cf/:author/:model': run,
      'GET /client/v4/accounts/:account/ai/models/schema': sendSchema,
    },
  }
}
