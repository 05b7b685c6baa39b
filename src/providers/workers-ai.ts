/** Cloudflare Workers AI over REST: text to image, one picture a request. */
import { z } from 'zod'
import { composePrompt } from '../generations/styles.ts'
import { askOnce, type JobOutput, type Provider, ProviderError } from './provider.ts'

/** Milliseconds for one picture. */
const TIMEOUT = 60_000

const Answer = z.object({ success: z.literal(true), result: z.object({ image: z.string() }) })

export const workersAi: Provider = {
  isConfigured: (env) => env.CLOUDFLARE_ACCOUNT_ID !== undefined && env.CLOUDFLARE_AI_TOKEN !== undefined,
  async submit(env, submission) {
    const outputs: JobOutput[] = []
    for (let i = 0; i < submission.count; i++) {
      try {
        const { ok, status, body } = await askOnce(
          'Workers AI',
          `${env.CLOUDFLARE_AI_BASE_URL}/accounts/${env.CLOUDFLARE_ACCOUNT_ID}/ai/run/${submission.model}`,
          {
            method: 'POST',
            headers: {
              authorization: `Bearer ${env.CLOUDFLARE_AI_TOKEN}`,
              'content-type': 'application/json',
            },
            body: JSON.stringify({
              prompt: composePrompt(submission),
              ...(submission.seed !== null && { seed: submission.seed + i }),
            }),
          },
          TIMEOUT,
        )
        const answer = Answer.safeParse(body)
        if (!answer.success) {
          throw new ProviderError(`Workers AI answered ${status}, and no picture`, { retryable: ok, status })
        }
        outputs.push({ base64: answer.data.result.image })
      } catch (error) {
        // Some pictures are better than none, and are charged as such.
        if (outputs.length === 0) throw error
        break
      }
    }
    return { id: crypto.randomUUID(), status: 'succeeded', outputs }
  },
}
