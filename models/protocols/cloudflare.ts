/** Cloudflare Workers AI over REST: one JPEG in base64, in Cloudflare's usual envelope. */

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
  readJson,
  readToken,
  retryHeader,
  sendJson,
} from './http.ts'
import { findStyle } from './order.ts'

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

const side = z.int().min(256).max(2048).default(1024)

const input = z.object({
  prompt: z.string().min(1).max(2048),
  seed: z.int().optional(),
  num_steps: z.int().min(1).max(20).optional(),
  steps: z.int().min(1).max(8).optional(),
  width: side,
  height: side,
  image_b64: z.base64().optional(),
})

function explain(error: string): Refusal {
  if (/nsfw|safety|moderation/i.test(error))
    return new Refusal(400, 'AiError: Input prompt contains NSFW content.', { code: 3030 })
  if (/timed? ?out/i.test(error)) return new Refusal(408, error)
  if (/could not be read/.test(error)) return new Refusal(400, error, { code: 5004 })
  return new Refusal(500, `AiError: ${error}`)
}

export function createCloudflare(context: ServerContext): Protocol {
  const run = async (call: Call): Promise<void> => {
    const body = await readJson(call.request)
    context.count('cloudflare')
    const asked = isRecord(body) && typeof body.prompt === 'string' ? body.prompt : ''
    const fault = applyFault(context.faults, 'cloudflare', asked)
    if (fault === 'hang') return
    const parsed = input.safeParse(body)
    if (!parsed.success) {
      const reasons = parsed.error.issues.map(({ path, message }) => `'/${path.join('/')}': ${message}`)
      throw new Refusal(400, `AiError: Bad input: ${reasons.join(', ')}`)
    }
    const { prompt, seed = randomInt(2 ** 31), width, height, image_b64 } = parsed.data
    await answerAtOnce(call, context, {
      provider: 'cloudflare',
      model: `@cf/${call.params.author}/${call.params.model}`,
      order: {
        prompt,
        images: image_b64 ? [toDataUrl(image_b64)] : [],
        style: findStyle(prompt),
        width,
        height,
        seed,
        count: 1,
        format: 'jpg',
      },
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

  return {
    prefix: '/client/v4/',
    authenticate(request) {
      const token = readToken(request, /^bearer$/i)
      if (token !== context.token) throw new Refusal(token ? 403 : 401, 'Authentication error')
    },
    refuse(response, refusal) {
      const { status, message, details } = refusal
      const errors = [{ code: details.code ?? codes[status] ?? 3043, message }]
      sendJson(response, status, { result: null, success: false, errors, messages: [] }, retryHeader(refusal))
    },
    routes: { 'POST /client/v4/accounts/:account/ai/run/@cf/:author/:model': run },
  }
}
