/** OpenAI's images API, as the gpt-image models have it: base64 in the answer, no addresses. */

import { checkInput, fillIn, type Issue } from '../check.ts'
import { findSchema, type InputSchema, type ModelSchema } from '../schemas.ts'
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

/** Sixteen photos of 50 MB may be sent; nobody here does. */
const maxUploadBytes = 256 * 1024 * 1024

/** Shut down: asking for it is a 404. */
const retired = ['gpt-image-1']

/** Output tokens of a square picture; the others cost half as much again. */
const tokens: Record<string, number> = { auto: 1056, low: 272, medium: 1056, high: 4160 }
const tokensOfPhoto = 323

const unauthorized = (): Refusal =>
  new Refusal(401, 'Incorrect API key provided.', { code: 'invalid_api_key' })

const noModel = (model: string): Refusal =>
  new Refusal(404, `The model '${model}' does not exist or you do not have access to it.`, {
    code: 'model_not_found',
  })

const words: Words = {
  unauthorized,
  payment_required: () =>
    new Refusal(
      429,
      'You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.',
      { code: 'insufficient_quota', extra: { type: 'insufficient_quota' } },
    ),
  forbidden: (_, { model }) =>
    new Refusal(
      403,
      `Your organization must be verified to use the model \`${model}\`. Please go to: https://platform.openai.com/settings/organization/general and click on Verify Organization. If you just verified, it can take up to 15 minutes for access to propagate.`,
    ),
  not_found: (_, { model }) => noModel(model),
  rate_limited: ({ retryAfter }, { model }) =>
    new Refusal(
      429,
      `Rate limit reached for ${model} on input-images per min. Please try again in ${retryAfter}s.`,
      { retryAfter, code: 'rate_limit_exceeded', extra: { type: 'input-images' } },
    ),
}

/** The schema without photos; moderation can be asked for instead. */
function schemaOfGeneration({ required = [], properties = {}, ...rest }: InputSchema): InputSchema {
  const { image, mask, input_fidelity, ...others } = properties
  return {
    ...rest,
    required: required.filter((name) => name !== 'image'),
    properties: { ...others, moderation: { type: 'string', enum: ['auto', 'low'] } },
  }
}

function refuseIssue({ path, rule, expected, given }: Issue, { model }: ModelSchema): Refusal {
  const param = rule === 'required' || rule === 'unknown' ? expected : path.join('.')
  const refuse = (code: string, message: string): Refusal => new Refusal(400, message, { param, code })
  if (param === 'input_fidelity')
    return refuse(
      'invalid_input_fidelity_model',
      `The parameter 'input_fidelity' is not supported with the model '${model}'.`,
    )
  if (rule === 'unknown') return refuse('unknown_parameter', `Unknown parameter: '${param}'.`)
  if (rule === 'required')
    return refuse('missing_required_parameter', `Missing required parameter: '${param}'.`)
  if (rule === 'type')
    return refuse(
      'invalid_type',
      `Invalid type for '${param}': expected ${expected}, but got ${given} instead.`,
    )
  return refuse('invalid_value', `Invalid value for '${param}': expected ${rule} ${expected}.`)
}

function checkSize({ size: bounds, model }: ModelSchema, input: Record<string, unknown>): void {
  const match = /^(\d+)x(\d+)$/.exec(String(input.size))
  if (!bounds || !match) return
  const [width, height] = [Number(match[1]), Number(match[2])]
  const [pixels, ratio] = [width * height, width / height]
  const fits =
    width % bounds.multipleOf === 0 &&
    height % bounds.multipleOf === 0 &&
    ratio >= bounds.minRatio &&
    ratio <= bounds.maxRatio &&
    pixels >= bounds.minPixels &&
    pixels <= bounds.maxPixels &&
    Math.max(width, height) <= bounds.maxSide
  if (fits) return
  throw new Refusal(400, `Invalid size '${input.size}' for model '${model}'.`, {
    param: 'size',
    code: 'invalid_value',
  })
}

const numbers = ['n', 'output_compression', 'partial_images']

/** The fields as they would stand in JSON, and the pictures; `image` and `image[]` both name one. */
function splitForm(form: FormData): { fields: Record<string, unknown>; photos: File[] } {
  const fields: Record<string, unknown> = {}
  const photos: File[] = []
  for (const [name, value] of form) {
    if (value instanceof File) {
      if (name === 'image' || name === 'image[]') photos.push(value)
      else if (name !== 'mask') fields[name] = ''
    } else fields[name] = numbers.includes(name) ? Number(value) : value
  }
  return { fields, photos }
}

async function readPhotos(photos: File[], rules: ModelSchema['photos']): Promise<Uint8Array[]> {
  const refuse = (code: string, message: string): Refusal =>
    new Refusal(400, message, { param: 'image', code })
  const most = rules?.max ?? 1
  if (photos.length === 0 || photos.length > most)
    throw refuse('invalid_value', `Between 1 and ${most} images are needed.`)
  for (const { type, size } of photos) {
    if (!rules?.types?.includes(type))
      throw refuse(
        'unsupported_file_mimetype',
        `Invalid file 'image': unsupported mimetype ('${type || 'application/octet-stream'}'). Supported file formats are 'image/jpeg', 'image/png', and 'image/webp'.`,
      )
    if (size > (rules.maxBytes ?? size))
      throw refuse('image_too_large', `Invalid file 'image': it must be smaller than 50 MB.`)
  }
  return Promise.all(photos.map((photo) => photo.bytes()))
}

function explain(problem: unknown): Refusal {
  if (isContentProblem(problem))
    return new Refusal(
      400,
      'Your request was rejected by the safety system. If you believe this is an error, contact us at help.openai.com and include the request ID.',
      { code: 'moderation_blocked' },
    )
  if (problem instanceof PhotoError)
    return new Refusal(400, problem.message, { param: 'image', code: 'invalid_image_file' })
  return new Refusal(500, messageOf(problem))
}

const typeOf = ({ status, details }: Refusal): string => {
  if (details.code === 'moderation_blocked') return 'image_generation_user_error'
  if (status === 429) return 'requests'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}

export function createOpenai(context: ServerContext): Protocol {
  const models = context.schemas.filter(({ provider }) => provider === 'openai')

  /** Throws a refusal. */
  const findModel = (fields: Record<string, unknown>): ModelSchema => {
    const model = String(fields.model ?? '')
    const schema = findSchema(models, 'openai', model)
    if (schema) return schema
    if (retired.includes(model)) throw noModel(model)
    const names = models.map((each) => `'${each.model}'`).join(', ')
    throw new Refusal(400, `Invalid value for 'model': '${model}'. Supported values are: ${names}.`, {
      param: 'model',
      code: 'invalid_value',
    })
  }

  const make = async (
    call: Call,
    fields: Record<string, unknown>,
    files: File[] | undefined,
  ): Promise<void> => {
    const target = {
      provider: 'openai',
      model: String(fields.model ?? ''),
      prompt: promptOf(fields),
    } as const
    context.submissions.note('openai', target.model, files ? { ...fields, image: files } : fields)
    const fault = applyFault(context.faults, target, words)
    if (fault === 'hang') return
    const schema = findModel(fields)
    const photos = files && (await readPhotos(files, schema.photos))
    const input: InputSchema = files
      ? { ...schema.input, required: ['model', 'prompt'] }
      : schemaOfGeneration(schema.input)
    const [issue] = checkInput(input, fields)
    if (issue) throw refuseIssue(issue, schema)
    const filled: Record<string, unknown> = { ...fillIn(input, fields), ...(photos && { image: photos }) }
    checkSize(schema, filled)
    const order = toOrder(schema, filled, context.scale)
    const quality = String(filled.quality)
    await answerAtOnce(call, context, {
      provider: 'openai',
      model: schema.model,
      order,
      refusal: schema.refusal,
      isGarbled: fault === 'malformed_json',
      explain,
      present(made) {
        const details = {
          text_tokens: Math.ceil(order.prompt.length / 4),
          image_tokens: order.photos.length * tokensOfPhoto,
        }
        const inputTokens = details.text_tokens + details.image_tokens
        const size = 'width' in order.shape ? order.shape : { width: 1024, height: 1024 }
        const outputTokens = made.length * (tokens[quality] ?? 0) * (size.width === size.height ? 1 : 1.5)
        return {
          created: Math.floor(Date.now() / 1000),
          background: filled.background === 'transparent' ? 'transparent' : 'opaque',
          data: made.map((file) => ({ b64_json: Buffer.from(file).toString('base64') })),
          output_format: filled.output_format,
          quality: quality === 'auto' ? 'medium' : quality,
          size: `${size.width}x${size.height}`,
          usage: {
            input_tokens: inputTokens,
            input_tokens_details: details,
            output_tokens: outputTokens,
            total_tokens: inputTokens + outputTokens,
          },
        }
      },
    })
  }

  const describe = ({ model, checked, retires }: ModelSchema) => ({
    id: model,
    object: 'model',
    created: Date.parse(`${checked}-01`) / 1000,
    owned_by: 'system',
    shutdown_date: retires ?? null,
  })

  return {
    prefix: '/openai/v1/',
    authenticate(request) {
      if (readToken(request, /^bearer$/i) !== context.token) throw unauthorized()
    },
    refuse(response, refusal) {
      const { status, message, details } = refusal
      const code = details.code ?? (status === 429 ? 'rate_limit_exceeded' : null)
      const error = { message, type: typeOf(refusal), param: details.param ?? null, code, ...details.extra }
      sendJson(response, status, { error }, headersOf(refusal))
    },
    routes: {
      'POST /openai/v1/images/generations': async (call) => {
        const body = await readJson(call.request)
        await make(call, isRecord(body) ? body : {}, undefined)
      },
      'POST /openai/v1/images/edits': async (call) => {
        const { fields, photos } = splitForm(await readForm(call, maxUploadBytes))
        await make(call, fields, photos)
      },
      'GET /openai/v1/models': ({ response }) =>
        sendJson(response, 200, { object: 'list', data: models.map(describe) }),
      'GET /openai/v1/models/:model': ({ response, params }) => {
        const schema = findSchema(models, 'openai', params.model ?? '')
        if (!schema) throw noModel(params.model ?? '')
        sendJson(response, 200, describe(schema))
      },
    },
  }
}
