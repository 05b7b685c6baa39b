/** How the refusals of each provider, in its own words, are understood. */
import { expect, test } from 'vitest'
import { failureOf, type Reason, retryAfterOf } from '../../src/providers/failures.ts'
import { stack } from '../support/control.ts'
import { breakModels, newPrompt } from '../support/generations.ts'

/** One request of each provider, for what it answers to one who may not ask. */
const requests: Record<
  string,
  (prompt: string) => [path: string, headers: Record<string, string>, body: unknown]
> = {
  replicate: (prompt) => ['/v1/predictions', bearer, { version: 'google/nano-banana', input: { prompt } }],
  fal: (prompt) => [
    '/fal/google/nano-banana-2.1/edit',
    { authorization: `Key ${stack.replicateToken}` },
    { prompt, image_urls: ['https://example.com/a.jpg'] },
  ],
  openai: (prompt) => ['/openai/v1/images/generations', bearer, { model: 'gpt-image-2.6-sunburst', prompt }],
  gemini: (prompt) => [
    '/gemini/v1beta/models/gemini-3-pro-image:generateContent',
    { 'x-goog-api-key': stack.replicateToken },
    { contents: [{ parts: [{ text: prompt }] }] },
  ],
  cloudflare: (prompt) => [
    '/client/v4/accounts/a/ai/run/@cf/black-forest-labs/flux-1-schnell',
    bearer,
    { prompt },
  ],
}
const bearer = { authorization: `Bearer ${stack.replicateToken}` }

const reasons: [fault: string, Record<string, Reason>][] = [
  ['unauthorized', all('key_refused')],
  // Of quotas some providers say no more than that there were too many requests.
  ['payment_required', { ...all('out_of_credit'), gemini: 'too_many_requests' }],
  ['forbidden', { ...all('key_refused'), openai: 'not_verified' }],
  ['not_found', all('model_gone')],
  ['rate_limited', all('too_many_requests')],
  ['server_error', all('unreachable')],
]
function all(reason: Reason): Record<string, Reason> {
  return Object.fromEntries(Object.keys(requests).map((provider) => [provider, reason]))
}

test.each(reasons)('%s', async (kind, expected) => {
  const understood: Record<string, Reason> = {}
  for (const [provider, request] of Object.entries(requests)) {
    const prompt = newPrompt()
    await breakModels(prompt, { kind, provider, retryAfter: 7 })
    const [path, headers, body] = request(prompt)
    const response = await fetch(stack.models + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
    const text = await response.text()
    expect(response.ok, provider).toBe(false)
    understood[provider] = failureOf(text, response.status).reason
    // Some say it in words only.
    if (kind === 'rate_limited') expect(retryAfterOf(response.headers, text), provider).toBe(7)
  }
  expect(understood).toEqual(expected)
})

test.each<[string, Reason, number?]>([
  ['NSFW content detected. Try running it again, or try a different prompt', 'content_rejected'],
  [
    'The input or output was flagged as sensitive. Please try again with different inputs. (E005)',
    'content_rejected',
  ],
  ['Your request was rejected as a result of our content policy', 'content_rejected', 400],
  ['code: moderation_blocked', 'content_rejected', 400],
  ['Gemini: no picture: IMAGE_SAFETY', 'content_rejected'],
  ['Gemini: no picture: PROHIBITED_CONTENT', 'content_rejected'],
  ['The output may violate copyright', 'content_rejected'],
  ['The model could not generate an image based on the prompt provided', 'content_rejected'],
  ['Image is 200x200; both sides must have at least 300 pixels', 'input_rejected'],
  ["Invalid file 'image': unsupported mimetype", 'input_rejected', 400],
  ['{"detail":"- input.duration: duration must be one of the following: 4, 6, 8"}', 'schema_changed', 422],
  ['CUDA out of memory', 'provider_failed'],
  ['Replicate: canceled: null', 'canceled'],
  ['Replicate: aborted: null', 'canceled'],
  ['{"detail":"Request was cancelled."}', 'canceled', 499],
  ['upstream connect error', 'unreachable', 503],
])('"%s" is %s', (words, reason, status) => {
  expect(failureOf(words, status).reason).toBe(reason)
})
