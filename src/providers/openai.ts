/** OpenAI's images API; plain requests, since the official client would weigh more than the rest of the providers. */
import { z } from 'zod'
import { composePrompt } from '../generations/styles.ts'
import { readChunks, toStream } from '../streams.ts'
import type { AspectRatio } from '../words.ts'
import { askOnce, type Provider, ProviderError, type Submission } from './provider.ts'

/** Milliseconds: it answers when the pictures are done. */
const TIMEOUT = 120_000

const sizes: Record<AspectRatio, string> = {
  '1:1': '1024x1024',
  '4:3': '1536x1024',
  '16:9': '1536x1024',
  '3:4': '1024x1536',
  '9:16': '1024x1536',
}

const Answer = z.object({ data: z.array(z.object({ b64_json: z.string() })) })
const Refusal = z.object({ error: z.object({ message: z.string(), code: z.string().nullish() }) })

/** Inputs pass through as they are read. */
const toForm = async function* (
  fields: Record<string, string>,
  images: Submission['images'],
  boundary: string,
) {
  const text = new TextEncoder()
  for (const [name, value] of Object.entries(fields)) {
    yield text.encode(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
  }
  for (const [i, { url, mimeType }] of images.entries()) {
    const response = await fetch(url)
    if (!response.ok || !response.body) throw new Error(`input answered ${response.status}`)
    yield text.encode(
      `--${boundary}\r\nContent-Disposition: form-data; name="image[]"; filename="${i}"\r\nContent-Type: ${mimeType}\r\n\r\n`,
    )
    for await (const chunk of readChunks(response.body)) yield chunk.slice()
    yield text.encode('\r\n')
  }
  yield text.encode(`--${boundary}--\r\n`)
}

export const openai: Provider = {
  isConfigured: (env) => env.OPENAI_API_KEY !== undefined,
  async submit(env, submission) {
    const fields = {
      model: submission.model,
      prompt: composePrompt(submission),
      n: String(submission.count),
      size: sizes[submission.aspectRatio],
    }
    const boundary = `form-${crypto.randomUUID()}`
    const edits = submission.images.length > 0
    const { ok, status, body } = await askOnce(
      'OpenAI',
      `${env.OPENAI_BASE_URL}/images/${edits ? 'edits' : 'generations'}`,
      {
        method: 'POST',
        headers: {
          authorization: `Bearer ${env.OPENAI_API_KEY}`,
          'content-type': edits ? `multipart/form-data; boundary=${boundary}` : 'application/json',
        },
        body: edits
          ? toStream(toForm(fields, submission.images, boundary))
          : JSON.stringify({ ...fields, n: submission.count }),
      },
      TIMEOUT,
    )
    const id = crypto.randomUUID()
    const answer = Answer.safeParse(body)
    if (ok && answer.success) {
      return {
        id,
        status: 'succeeded',
        outputs: answer.data.data.map(({ b64_json }) => ({ base64: b64_json })),
      }
    }
    const refusal = Refusal.safeParse(body)
    if (refusal.success && refusal.data.error.code === 'moderation_blocked') {
      return { id, status: 'failed', message: `Rejected by the safety system: ${refusal.data.error.message}` }
    }
    throw new ProviderError(`OpenAI answered ${status}, and no pictures`, { retryable: ok, status })
  },
}
