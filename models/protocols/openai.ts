/** OpenAI's images API, as the gpt-image models have it: base64 in the answer, no addresses. */

import { randomInt } from 'node:crypto'
import { z } from 'zod'
import { answerAtOnce, toDataUrl } from './at-once.ts'
import type { ServerContext } from './context.ts'
import { applyFault } from './faults.ts'
import {
  type Call,
  isRecord,
  type Protocol,
  Refusal,
  readBody,
  readJson,
  readToken,
  retryHeader,
  sendJson,
} from './http.ts'
import { findStyle } from './order.ts'

const maxUploadBytes = 64 * 1024 * 1024

const sizes = {
  auto: [1024, 1024],
  '1024x1024': [1024, 1024],
  '1536x1024': [1536, 1024],
  '1024x1536': [1024, 1536],
} as const

/** Output tokens of a square picture; the others cost half as much again. */
const tokens = { auto: 1056, low: 272, medium: 1056, high: 4160 }
const tokensOfPhoto = 323

const formats = { png: 'png', webp: 'webp', jpeg: 'jpg' } as const

const generation = z.strictObject({
  model: z.string().regex(/^(chat)?gpt-image-/),
  prompt: z.string().min(1).max(32_000),
  n: z.int().min(1).max(10).default(1),
  size: z.literal(['auto', '1024x1024', '1536x1024', '1024x1536']).default('auto'),
  quality: z.enum(['auto', 'low', 'medium', 'high']).default('auto'),
  background: z.enum(['auto', 'opaque', 'transparent']).default('auto'),
  output_format: z.enum(['png', 'jpeg', 'webp']).default('png'),
  output_compression: z.int().min(0).max(100).optional(),
  moderation: z.enum(['auto', 'low']).optional(),
  user: z.string().optional(),
})

const edit = generation
  .omit({ moderation: true })
  .extend({ input_fidelity: z.enum(['high', 'low']).optional() })

function refuse({ issues: [issue] }: z.ZodError): Refusal {
  if (issue?.code === 'unrecognized_keys') {
    const [param = ''] = issue.keys
    return new Refusal(400, `Unknown parameter: '${param}'.`, { param, code: 'unknown_parameter' })
  }
  const param = issue?.path.join('.') ?? ''
  return new Refusal(400, `Invalid value for '${param}': ${issue?.message}.`, {
    param,
    code: 'invalid_value',
  })
}

function explain(error: string): Refusal {
  if (/nsfw|safety|moderation/i.test(error)) {
    const message =
      'Your request was rejected by the safety system. If you believe this is an error, contact us.'
    return new Refusal(400, message, { code: 'moderation_blocked' })
  }
  if (/could not be read/.test(error))
    return new Refusal(400, error, { param: 'image', code: 'invalid_image_file' })
  return new Refusal(500, error)
}

const typeOf = ({ status, details }: Refusal): string => {
  if (details.code === 'moderation_blocked') return 'image_generation_user_error'
  if (status === 429) return 'requests'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}

/** The fields as they would stand in JSON, and the pictures; `image` and `image[]` both name one. */
async function readForm({ request }: Call): Promise<{ fields: Record<string, unknown>; photos: File[] }> {
  const body = await readBody(request, maxUploadBytes)
  const type = request.headers['content-type'] ?? ''
  const form = await new Response(new Uint8Array(body), { headers: { 'content-type': type } })
    .formData()
    .catch(() => {
      throw new Refusal(400, 'The request body is not a multipart form.')
    })
  const fields: Record<string, unknown> = {}
  const photos: File[] = []
  for (const [name, value] of form) {
    if (value instanceof File) {
      if (name === 'image' || name === 'image[]') photos.push(value)
      else if (name !== 'mask') fields[name] = value
    } else fields[name] = name === 'n' || name === 'output_compression' ? Number(value) : value
  }
  return { fields, photos }
}

async function toImages(photos: File[]): Promise<string[]> {
  if (photos.length === 0 || photos.length > 16)
    throw new Refusal(400, 'Between 1 and 16 images are needed.', { param: 'image', code: 'invalid_value' })
  const bad = photos.find(({ type }) => !/^image\/(jpeg|png|webp)$/.test(type))
  if (bad) {
    const message = `Invalid file 'image': unsupported mimetype ('${bad.type}'). Supported file formats are 'image/jpeg', 'image/png', and 'image/webp'.`
    throw new Refusal(400, message, { param: 'image', code: 'unsupported_file_mimetype' })
  }
  return Promise.all(
    photos.map(async (photo) => toDataUrl(Buffer.from(await photo.bytes()).toString('base64'))),
  )
}

export function createOpenai(context: ServerContext): Protocol {
  const make = async (call: Call, fields: unknown, photos: File[] | undefined): Promise<void> => {
    context.count('openai')
    const fault = applyFault(
      context.faults,
      'openai',
      isRecord(fields) && typeof fields.prompt === 'string' ? fields.prompt : '',
    )
    if (fault === 'hang') return
    const parsed = (photos ? edit : generation).safeParse(fields)
    if (!parsed.success) throw refuse(parsed.error)
    const { model, prompt, n, size, quality, output_format } = parsed.data
    const images = photos ? await toImages(photos) : []
    const [width, height] = sizes[size]
    await answerAtOnce(call, context, {
      provider: 'openai',
      model,
      order: {
        prompt,
        images,
        style: findStyle(prompt),
        width,
        height,
        seed: randomInt(2 ** 31),
        count: n,
        format: formats[output_format],
      },
      isGarbled: fault === 'malformed_json',
      explain,
      present(files) {
        const input = {
          text_tokens: Math.ceil(prompt.length / 4),
          image_tokens: images.length * tokensOfPhoto,
        }
        const inputTokens = input.text_tokens + input.image_tokens
        const outputTokens = files.length * tokens[quality] * (width === height ? 1 : 1.5)
        return {
          created: Math.floor(Date.now() / 1000),
          background: 'opaque',
          data: files.map((file) => ({ b64_json: Buffer.from(file).toString('base64') })),
          output_format,
          quality: quality === 'auto' ? 'medium' : quality,
          size: `${width}x${height}`,
          usage: {
            input_tokens: inputTokens,
            input_tokens_details: input,
            output_tokens: outputTokens,
            total_tokens: inputTokens + outputTokens,
          },
        }
      },
    })
  }

  return {
    prefix: '/openai/v1/',
    authenticate(request) {
      if (readToken(request, /^bearer$/i) === context.token) return
      throw new Refusal(401, 'Incorrect API key provided.', { code: 'invalid_api_key' })
    },
    refuse(response, refusal) {
      const { status, message, details } = refusal
      const code = details.code ?? (status === 429 ? 'rate_limit_exceeded' : null)
      const error = { message, type: typeOf(refusal), param: details.param ?? null, code }
      sendJson(response, status, { error }, retryHeader(refusal))
    },
    routes: {
      'POST /openai/v1/images/generations': async (call) =>
        make(call, await readJson(call.request), undefined),
      'POST /openai/v1/images/edits': async (call) => {
        const { fields, photos } = await readForm(call)
        await make(call, fields, photos)
      },
    },
  }
}
