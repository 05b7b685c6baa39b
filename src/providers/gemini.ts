/** Google's Gemini image models: words and photos in one message, a picture or a refusal in the answer. */
import { z } from 'zod'
import { readChunks, toStream } from '../streams.ts'
import { readPictures } from './base64-json.ts'
import { failureOf } from './failures.ts'
import { readPhoto } from './form.ts'
import { type AtOnceProvider, ask } from './provider.ts'

const Answer = z.object({
  promptFeedback: z.object({ blockReason: z.string().optional() }).optional(),
  candidates: z
    .array(
      z.object({
        finishReason: z.string().optional(),
        finishMessage: z.string().optional(),
        content: z
          .object({ parts: z.array(z.object({ text: z.string().optional() })).optional() })
          .optional(),
      }),
    )
    .optional(),
})

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Base64 of a stream, whole groups of three bytes at a time. */
const encode = async function* (body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let carry = Buffer.alloc(0)
  for await (const chunk of readChunks(body)) {
    const bytes = Buffer.concat([carry, chunk])
    const whole = bytes.length - (bytes.length % 3)
    yield bytes.subarray(0, whole).toString('base64')
    carry = bytes.subarray(whole)
  }
  yield carry.toString('base64')
}

export const gemini: AtOnceProvider = {
  keepsJobs: false,
  isConfigured: (env) => env.GEMINI_API_KEY !== undefined,
  async render(env, { model, fields: { text, ...imageConfig }, photos }, keep, signal) {
    const opened = await Promise.all(photos.map(({ url }) => readPhoto(url, signal)))
    const generationConfig = { responseModalities: ['IMAGE'], imageConfig }
    const body = async function* () {
      const utf8 = new TextEncoder()
      yield utf8.encode(`{"contents":[{"role":"user","parts":[{"text":${JSON.stringify(text)}}`)
      for (const [i, photo] of opened.entries()) {
        yield utf8.encode(`,{"inlineData":{"mimeType":"${photos[i]?.mimeType}","data":"`)
        for await (const piece of encode(photo)) yield utf8.encode(piece)
        yield utf8.encode('"}}')
      }
      yield utf8.encode(`]}],"generationConfig":${JSON.stringify(generationConfig)}}`)
    }
    const response = await ask(
      'Gemini',
      `${env.GEMINI_BASE_URL}/models/${model}:generateContent`,
      {
        method: 'POST',
        headers: { 'x-goog-api-key': String(env.GEMINI_API_KEY), 'content-type': 'application/json' },
        body: toStream(body()),
      },
      signal,
    )
    const { pictures, rest } = await readPictures(response.body, 'data', keep)
    if (pictures > 0) return undefined
    // It may answer in words only, or say why not.
    const { data } = Answer.safeParse(parse(rest))
    const [candidate] = data?.candidates ?? []
    const said = [
      data?.promptFeedback?.blockReason,
      candidate?.finishReason,
      candidate?.finishMessage,
      ...(candidate?.content?.parts ?? []).map((part) => part.text),
    ]
    return failureOf(`Gemini: no picture: ${said.filter(Boolean).join('; ') || rest}`)
  },
}
