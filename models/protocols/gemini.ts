/** Gemini's generateContent, as its image models have it: one picture in base64, or words about why there is none. */

import { checkInput, type Issue } from '../check.ts'
import { findSchema, type ModelSchema } from '../schemas.ts'
import { answerAtOnce, isContentProblem, messageOf } from './at-once.ts'
import { ContentError } from './content.ts'
import type { ServerContext } from './context.ts'
import { applyFault, type Words } from './faults.ts'
import { type Call, headersOf, isRecord, type Protocol, Refusal, readJson, sendJson } from './http.ts'
import { PhotoError } from './photos.ts'
import { toOrder } from './reading.ts'

const maxBodyBytes = 150 * 1024 * 1024

const statuses: Record<number, string> = {
  400: 'INVALID_ARGUMENT',
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'NOT_FOUND',
  408: 'DEADLINE_EXCEEDED',
  429: 'RESOURCE_EXHAUSTED',
  500: 'INTERNAL',
}

const tokens: Record<string, number> = { '512': 747, '1K': 1120, '2K': 1680, '4K': 2520 }
const tokensOfPhoto = 258

const info = (reason: string) => ({
  '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
  reason,
  domain: 'googleapis.com',
})

/** A wrong key is a bad argument here, no 401. */
const unauthorized = (): Refusal =>
  new Refusal(400, 'API key not valid. Please pass a valid API key.', {
    extra: { details: [info('API_KEY_INVALID')] },
  })

const noModel = (model: string): Refusal =>
  new Refusal(
    404,
    `models/${model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods.`,
  )

const words: Words = {
  unauthorized,
  payment_required: () =>
    new Refusal(429, 'You exceeded your current quota, please check your plan and billing details.', {
      extra: { details: [{ '@type': 'type.googleapis.com/google.rpc.QuotaFailure' }] },
    }),
  forbidden: () => new Refusal(403, 'The caller does not have permission'),
  not_found: (_, { model }) => noModel(model),
  rate_limited: ({ retryAfter }) =>
    new Refusal(429, `Resource has been exhausted (e.g. check quota). Please retry in ${retryAfter}s.`, {
      extra: {
        details: [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: `${retryAfter}s` }],
      },
    }),
}

const toSnake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

function refuseIssue({ path, rule, expected, given }: Issue): Refusal {
  const at = path
    .map((part, i) => (/^\d+$/.test(part) ? `[${part}]` : `${i > 0 ? '.' : ''}${toSnake(part)}`))
    .join('')
  if (rule === 'unknown')
    return new Refusal(
      400,
      `Invalid JSON payload received. Unknown name "${expected}"${at && ` at '${at}'`}: Cannot find field.`,
    )
  if (rule === 'required')
    return new Refusal(400, `* GenerateContentRequest.${toSnake(expected)}: must be set`)
  return new Refusal(400, `Invalid value at '${at}': expected ${rule} ${expected}, given ${given}`)
}

interface Asked {
  prompt: string
  photos: Uint8Array[]
}

/** The words and the pictures of all parts; a picture is refused by its type and size. The body has been checked. */
function readParts({ contents }: Record<string, unknown>, rules: ModelSchema['photos']): Asked {
  const parts = (Array.isArray(contents) ? contents : []).flatMap((content) =>
    isRecord(content) && Array.isArray(content.parts) ? content.parts : [],
  )
  const asked: Asked = { prompt: '', photos: [] }
  for (const part of parts) {
    if (!isRecord(part)) continue
    if (typeof part.text === 'string') asked.prompt += `${asked.prompt && '\n'}${part.text}`
    if (!isRecord(part.inlineData)) continue
    const type = String(part.inlineData.mimeType)
    const data = Buffer.from(String(part.inlineData.data), 'base64')
    if (rules?.types && !rules.types.includes(type)) throw new Refusal(400, `Unsupported MIME type: ${type}`)
    if (rules?.maxBytes && data.byteLength > rules.maxBytes)
      throw new Refusal(400, `Image exceeds the limit of ${rules.maxBytes} bytes.`)
    asked.photos.push(data)
  }
  if (rules?.max && asked.photos.length > rules.max)
    throw new Refusal(400, `Please use at most ${rules.max} images in a request.`)
  return asked
}

/** The name and the method of `gemini-3-pro-image:generateContent`. */
const splitTarget = (target = ''): [model: string, method: string] => {
  const [model = '', method = ''] = target.split(':')
  return [model, method]
}

export function createGemini(context: ServerContext): Protocol {
  const find = (model: string): ModelSchema => {
    const schema = findSchema(context.schemas, 'gemini', model)
    if (!schema) throw noModel(model)
    return schema
  }

  const generate = async (call: Call): Promise<void> => {
    const [model, method] = splitTarget(call.params.target)
    const body = await readJson(call.request, maxBodyBytes)
    const raw = isRecord(body) ? body : {}
    const { prompt } = readParts(raw, undefined)
    const target = { provider: 'gemini', model, prompt } as const
    context.submissions.note('gemini', model, raw)
    const fault = applyFault(context.faults, target, words)
    if (fault === 'hang') return
    const schema = find(model)
    if (method !== 'generateContent') throw noModel(model)
    const [issue] = checkInput(schema.input, raw)
    if (issue) throw refuseIssue(issue)
    const { photos } = readParts(raw, schema.photos)
    const config = isRecord(raw.generationConfig) ? raw.generationConfig : {}
    const image = isRecord(config.imageConfig) ? config.imageConfig : {}
    const size = String(image.imageSize ?? '1K')
    const order = toOrder(
      schema,
      { prompt, seed: config.seed, aspect_ratio: image.aspectRatio, resolution: size },
      context.scale,
    )
    const usage = (made: number) => {
      const promptTokenCount = Math.ceil(prompt.length / 4) + photos.length * tokensOfPhoto
      const candidatesTokenCount = made > 0 ? (tokens[size] ?? 0) : 20
      return {
        promptTokenCount,
        candidatesTokenCount,
        totalTokenCount: promptTokenCount + candidatesTokenCount,
      }
    }
    const answer = (candidate: object, made: number) => ({
      candidates: [{ ...candidate, index: 0 }],
      usageMetadata: usage(made),
      modelVersion: model,
      responseId: crypto.randomUUID(),
    })
    try {
      await answerAtOnce(call, context, {
        provider: 'gemini',
        model,
        order: { ...order, photos },
        refusal: schema.refusal,
        isGarbled: fault === 'malformed_json',
        explain: (problem) => {
          if (isContentProblem(problem))
            throw problem instanceof ContentError ? problem : new ContentError(messageOf(problem), 'input')
          if (problem instanceof PhotoError)
            return new Refusal(400, `Unable to process input image. ${problem.message}`)
          return new Refusal(500, messageOf(problem))
        },
        present: ([file]) =>
          file
            ? answer(
                {
                  content: {
                    role: 'model',
                    parts: [
                      {
                        inlineData: { mimeType: 'image/png', data: Buffer.from(file).toString('base64') },
                      },
                    ],
                  },
                  finishReason: 'STOP',
                },
                1,
              )
            : // It may just talk.
              answer(
                {
                  content: { role: 'model', parts: [{ text: 'I can describe this picture instead.' }] },
                  finishReason: 'STOP',
                },
                0,
              ),
      })
    } catch (error) {
      if (!(error instanceof ContentError)) throw error
      // Refused content is no error: the answer just has no picture, and says where it was stopped.
      const body =
        error.stage === 'input'
          ? {
              promptFeedback: { blockReason: 'PROHIBITED_CONTENT' },
              usageMetadata: usage(0),
              modelVersion: model,
            }
          : answer({ finishReason: 'IMAGE_SAFETY', finishMessage: error.message }, 0)
      sendJson(call.response, 200, body)
    }
  }

  return {
    prefix: '/gemini/',
    authenticate({ headers }) {
      if (headers['x-goog-api-key'] !== context.token) throw unauthorized()
    },
    refuse(response, refusal) {
      const { status, message, details } = refusal
      const error = { code: status, message, status: statuses[status] ?? 'UNKNOWN', ...details.extra }
      sendJson(response, status, { error }, headersOf(refusal))
    },
    routes: {
      'POST /gemini/v1beta/models/:target': generate,
      'GET /gemini/v1beta/models/:model': ({ response, params }) => {
        const { model } = find(params.model ?? '')
        sendJson(response, 200, {
          name: `models/${model}`,
          version: '001',
          displayName: model,
          supportedGenerationMethods: ['generateContent', 'countTokens'],
        })
      },
    },
  }
}
