/** Providers: which failures another one takes over, what ends a job, the circuit breaker, and Replicate's webhook. */
import { Webhook } from 'standardwebhooks'
import { expect, test } from 'vitest'
import { makeSamplePhoto } from '../../models/photo.ts'
import type { GenerationBody } from '../support/client.ts'
import { control, stack } from '../support/control.ts'
import {
  breakModels,
  creditsOf,
  eventsOf,
  type Fault,
  finished,
  generate,
  newPrompt,
  submissionsOf,
} from '../support/generations.ts'
import { newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const refused: GenerationBody['error'] = {
  code: 'provider_refused',
  message: 'The model refused the request.',
  retryable: false,
}

test.each<[string, Fault, Partial<GenerationBody>, number]>([
  ['a 429', { kind: 'rate_limit', times: 1 }, { status: 'succeeded', attempts: 2 }, 0],
  [
    'two 500s, one at each of two providers,',
    { kind: 'server_error', times: 2 },
    { status: 'succeeded', attempts: 3 },
    0,
  ],
  [
    'a 500 at each of three providers',
    { kind: 'server_error', times: 3 },
    { status: 'succeeded', attempts: 4 },
    1,
  ],
  ['malformed JSON', { kind: 'malformed_json', times: 1 }, { status: 'succeeded', attempts: 2 }, 1],
  [
    'an output that breaks midway',
    { kind: 'broken_output', times: 1 },
    { status: 'succeeded', attempts: 1 },
    1,
  ],
  [
    'a 403 of a proxy, in HTML,',
    { kind: 'proxy_refusal', times: 1 },
    { status: 'failed', attempts: 1, error: refused },
    0,
  ],
  ['a failed prediction', { kind: 'failed_prediction', times: 1 }, { status: 'failed', attempts: 1 }, 1],
])(
  'a job whose provider answers with %s ends, and is charged if it succeeds',
  async (_, fault, outcome, submissions) => {
    const { client } = await newTenant()
    const prompt = newPrompt()
    await breakModels(prompt, fault)
    const job = await generate(client, { prompt })
    expect(await finished(client, job.id)).toMatchObject(outcome)
    expect((await submissionsOf(prompt)).length).toBe(submissions)
    expect(await creditsOf(client)).toMatchObject({
      reserved: 0,
      charged: outcome.status === 'succeeded' ? 5 : 0,
    })
  },
)

test('the next provider takes over from one that fails, with an event and one charge', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'server_error', times: 1, provider: 'replicate' })
  const job = await generate(client, { prompt })
  expect(await finished(client, job.id)).toMatchObject({
    status: 'succeeded',
    attempts: 2,
    creditsCharged: 5,
  })
  expect(await eventsOf(job.id)).toEqual(['queued', 'running', 'provider.switched', 'succeeded'])
})

test.each(['openai', 'cloudflare'])('a refusal by a proxy in front of %s is final', async (provider) => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  const others = provider === 'openai' ? ['replicate'] : ['replicate', 'openai']
  for (const other of others) await breakModels(prompt, { kind: 'server_error', provider: other })
  await breakModels(prompt, { kind: 'proxy_refusal', provider })
  const job = await generate(client, { prompt })
  expect(await finished(client, job.id)).toMatchObject({
    status: 'failed',
    attempts: others.length + 1,
    error: refused,
  })
})

test('progress stays within 100, whatever the model says of it', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'excess_progress' })
  await breakModels(prompt, { kind: 'slow', delayMs: 6000 })
  const job = await generate(client, { prompt })
  const running = await waitFor('it has progress', async () => {
    const { body } = await client.get<GenerationBody>(`/generations/${job.id}`)
    return body.progress > 0 && body
  })
  expect(running).toMatchObject({ status: 'running', progress: 100 })
  expect((await finished(client, job.id)).status).toBe('succeeded')
})

test('a job with a photo succeeds at the provider that takes over', async () => {
  const { client } = await newTenant()
  const { body: asset } = await client.upload('mug.jpg', await makeSamplePhoto())
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'server_error', times: 1, provider: 'replicate' })
  const job = await generate(client, { prompt, inputAssetIds: [asset.id] })
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', attempts: 2 })
})

test('the next provider takes over from one that hangs', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'hang', times: 1, provider: 'replicate' })
  const job = await generate(client, { prompt })
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', attempts: 2 })
}, 60_000)

test('a rejection for safety fails with content_rejected, which is not retryable', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'failed_prediction', times: 1, error: 'NSFW content detected' })
  const job = await generate(client, { prompt })
  expect((await finished(client, job.id)).error).toMatchObject({ code: 'content_rejected', retryable: false })
})

test('an error that names an internal address is told without it', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  const error =
    'Failed to fetch image http://127.0.0.1:8897/merchant-assets/workspaces/a?X-Amz-Signature=b: 404'
  await breakModels(prompt, { kind: 'failed_prediction', times: 1, error })
  const job = await generate(client, { prompt })
  expect((await finished(client, job.id)).error).toMatchObject({
    code: 'provider_failed',
    message: 'The model failed: Failed to fetch image (URL) 404',
  })
})

test('the circuit breaker of a provider opens after five failures, and a success closes it', async () => {
  const name = crypto.randomUUID()
  const admits = (reports: boolean[]) => control<boolean>('breaker', { name, reports })
  expect(await admits([false, false, false, false])).toBe(true)
  expect(await admits([false])).toBe(false)
  expect(await admits([])).toBe(false)
  expect(await admits([true])).toBe(true)
})

test("answers 401 to Replicate's webhook when its signature is another's or too old", async () => {
  const { workspaceId } = await newTenant()
  const url = `${stack.api}/api/v1/providers/replicate/webhook?workspaceId=${workspaceId}&generationId=${crypto.randomUUID()}`
  const body = JSON.stringify({ id: 'x', status: 'succeeded' })
  const send = async (secret: string, timestamp = new Date()) => {
    const response = await fetch(url, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        'webhook-id': 'message',
        'webhook-timestamp': String(Math.floor(timestamp.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign('message', timestamp, body),
      },
    })
    return response.status
  }
  expect(await send(stack.webhookSecret)).toBe(204)
  expect(await send(stack.webhookSecret)).toBe(204)
  expect(await send(`whsec_${Buffer.from('another secret of some length').toString('base64')}`)).toBe(401)
  expect(await send(stack.webhookSecret, new Date(Date.now() - 10 * 60_000))).toBe(401)
})
