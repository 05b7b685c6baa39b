/** OpenAI's images API; plain requests, since the official client would weigh more than the rest of the providers. */
import { readPictures } from './base64-json.ts'
import { failureOf } from './failures.ts'
import { formOf } from './form.ts'
import { type AtOnceProvider, ask } from './provider.ts'

export const openai: AtOnceProvider = {
  keepsJobs: false,
  isConfigured: (env) => env.OPENAI_API_KEY !== undefined,
  async render(env, { model, fields, photos }, keep, signal) {
    const isEdit = photos.length > 0
    const asked = { model, ...fields }
    const form = isEdit ? await formOf({ fields: asked, photos }, () => 'image[]', signal) : undefined
    const response = await ask(
      'OpenAI',
      `${env.OPENAI_BASE_URL}/images/${isEdit ? 'edits' : 'generations'}`,
      {
        method: 'POST',
        headers: {
          authorization: `Bearer ${env.OPENAI_API_KEY}`,
          'content-type': form?.contentType ?? 'application/json',
        },
        body: form?.body ?? JSON.stringify(asked),
      },
      signal,
    )
    const { pictures, rest } = await readPictures(response.body, 'b64_json', keep)
    return pictures > 0 ? undefined : failureOf(`OpenAI: no picture: ${rest}`)
  },
}
