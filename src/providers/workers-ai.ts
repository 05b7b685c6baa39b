/** Cloudflare Workers AI over REST: the models that take photos, by form, one picture a call. */
import { readPictures } from './base64-json.ts'
import { failureOf } from './failures.ts'
import { formOf } from './form.ts'
import { type AtOnceProvider, ask } from './provider.ts'

export const workersAi: AtOnceProvider = {
  keepsJobs: false,
  isConfigured: (env) => env.CLOUDFLARE_ACCOUNT_ID !== undefined && env.CLOUDFLARE_AI_TOKEN !== undefined,
  async render(env, { model, fields, photos, photoFields }, keep, signal) {
    const names = Object.keys(photoFields)
    // A form even for a bare prompt: these models know no JSON.
    const { body, contentType } = await formOf({ fields, photos }, (i) => String(names[i]), signal)
    const response = await ask(
      'Workers AI',
      `${env.CLOUDFLARE_AI_BASE_URL}/accounts/${env.CLOUDFLARE_ACCOUNT_ID}/ai/run/${model}`,
      {
        method: 'POST',
        headers: { authorization: `Bearer ${env.CLOUDFLARE_AI_TOKEN}`, 'content-type': contentType },
        body,
      },
      signal,
    )
    const { pictures, rest } = await readPictures(response.body, 'image', keep)
    return pictures > 0 ? undefined : failureOf(`Workers AI: no picture: ${rest}`)
  },
}
