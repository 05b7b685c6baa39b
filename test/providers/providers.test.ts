/** Providers: which failures another one takes over, what ends a job, the circuit breaker, and Replicate's webhook. */
import { Webhook } from 'standardwebhooks'
import { beforeEach, expect, test } from 'vitest'
import { makeSamplePhoto } from '../../models/photo.ts'
import type { GenerationBody } from '../support/client.ts'
import { control, stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
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

/** With two offers, at Replicate and Gemini, that no other file asks for: their breakers are of these tests only. */
const MODEL = 'studio-scene-pro'

beforeEach(async () => {
  for (const name of ['replicate:google/nano-banana-pro', 'gemini:gemini-3-pro-image'])
    await control('breaker', { name, reports: [{ succeeded: true }] })
})

test.each<[string, Fault, Partial<GenerationBody>, number]>([
  ['a 429', { kind: 'rate_limit', times: 1 }, { status: 'succeeded', attempts: 2 }, 0],
  [
    'two 500s, one at each of two providers,',
    { kind: 'server_error', times: 2 },
    { status: 'succeeded', attempts: 3 },
    1,
  ],
  [
    'an output that breaks midway',
    { kind: 'broken_output', times: 1 },
    { status: 'succeeded', attempts: 1 },
    1,
  ],
  [
    'a 403 of a proxy, in HTML,',
    { kind: 'proxy_refusal', times: 1 },
    { status: 'succeeded', attempts: 2 },
    0,
  ],
  ['a model that is gone', { kind: 'not_found', times: 1 }, { status: 'succeeded', attempts: 2 }, 0],
  ['no credit left', { kind: 'payment_required', times: 1 }, { status: 'succeeded', attempts: 2 }, 0],
  ['a failed prediction', { kind: 'failed_prediction', times: 1 }, { status: 'succeeded', attempts: 2 }, 1],
])(
  'a job whose provider answers with %s goes on to the next, and is charged once',
  async (_, fault, outcome, submissions) => {
    const { client } = await newTenant()
    const prompt = newPrompt()
    await breakModels(prompt, fault)
    const job = await generate(client, { prompt, model: MODEL })
    expect(await finished(client, job.id)).toMatchObject(outcome)
    expect((await submissionsOf(prompt)).length).toBe(submissions)
    expect(await creditsOf(client)).toMatchObject({ reserved: 0, charged: 15 })
  },
)

test('the next provider takes over from one that fails, with an event and one charge', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'server_error', times: 1, provider: 'replicate' })
  const job = await generate(client, { prompt, model: MODEL })
  expect(await finished(client, job.id)).toMatchObject({
    status: 'succeeded',
    attempts: 2,
    creditsCharged: 15,
  })
  expect(await eventsOf(job.id)).toEqual(['queued', 'running', 'provider.switched', 'succeeded'])
})

test('two of three calls that fail are one try of their offer, which makes those again', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'failed_prediction', times: 2, provider: 'replicate' })
  await breakModels(prompt, { kind: 'proxy_refusal', times: 10, provider: 'gemini' })
  const job = await generate(client, { prompt, model: MODEL, count: 3 })
  const done = await finished(client, job.id)
  expect(done).toMatchObject({ status: 'succeeded', creditsCharged: 45 })
  expect(done.outputs).toHaveLength(3)
})

test("what only the operator can mend at every provider fails as the service's fault, and is not charged", async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'proxy_refusal', times: 10 })
  const job = await generate(client, { prompt, model: MODEL })
  const done = await finished(client, job.id, 60_000)
  expect(done).toMatchObject({
    status: 'failed',
    error: { code: 'service_unavailable', whoFixes: 'operator', retryable: true },
  })
  expect(JSON.stringify(done)).not.toMatch(/403|proxy|replicate|openai/i)
  expect(await creditsOf(client)).toMatchObject({ reserved: 0, charged: 0 })
}, 90_000)

test('progress stays below 100 until the end, whatever the model says of it', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'excess_progress' })
  await breakModels(prompt, { kind: 'slow', delayMs: 6000 })
  const job = await generate(client, { prompt, model: MODEL })
  const seen: number[] = []
  const done = await waitFor('it ends', async () => {
    const { body } = await client.get<GenerationBody>(`/generations/${job.id}`)
    if (body.status === 'running') seen.push(body.progress)
    return body.status === 'succeeded' && body
  })
  expect(Math.max(...seen)).toBeLessThan(100)
  expect(done.progress).toBe(100)
})

test('a job with a photo succeeds at the provider that takes over', async () => {
  const { client } = await newTenant()
  const { body: asset } = await client.upload('mug.jpg', await makeSamplePhoto())
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'server_error', times: 1, provider: 'replicate' })
  const job = await generate(client, { prompt, model: MODEL, inputAssetIds: [asset.id] })
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', attempts: 2 })
})

test.each<Fault>([{ kind: 'failed_prediction', error: 'NSFW content detected' }, { kind: 'empty_output' }])(
  'a rejection for safety, told by $kind, fails with content_rejected, which is not retryable',
  async (fault) => {
    const { client } = await newTenant()
    const prompt = newPrompt()
    await breakModels(prompt, { ...fault, times: 1 })
    const job = await generate(client, { prompt, model: MODEL })
    expect((await finished(client, job.id)).error).toMatchObject({
      code: 'content_rejected',
      retryable: false,
    })
  },
)

test('too many requests slow a job down, and say nothing of the offer', async () => {
  const name = 'replicate:google/nano-banana-pro'
  await control('breaker', { name, reports: Array(4).fill({ succeeded: false }) })
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'rate_limited', times: 1, provider: 'replicate' })
  const job = await generate(client, { prompt, model: MODEL })
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', attempts: 2 })
  expect(await control('breaker', { name, reports: [] })).toBe(true)
})

test('a prediction that is canceled before its deadline says nothing of the offer', async () => {
  const name = 'replicate:google/nano-banana-pro'
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', times: 1, delayMs: 8000, provider: 'replicate' })
  const job = await generate(client, { prompt, model: MODEL })
  const operation = await waitFor('it is submitted', async () => {
    const [row] = await asOwner<{ operation: { id: string } | null }>(
      'select operation from provider_jobs where generation_id = $1',
      [job.id],
    )
    return row?.operation
  })
  // It was sound when it took the job.
  await control('breaker', { name, reports: Array(4).fill({ succeeded: false }) })
  const canceled = await fetch(`${stack.models}/v1/predictions/${operation?.id}/cancel`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.replicateToken}` },
  })
  expect(canceled.status).toBe(200)
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', attempts: 2 })
  expect(await control('breaker', { name, reports: [] })).toBe(true)
})

test('an error that names an internal address is told without it', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  const error =
    'Failed to fetch image http://127.0.0.1:8897/merchant-assets/workspaces/a?X-Amz-Signature=b: 404'
  await breakModels(prompt, { kind: 'failed_prediction', times: 10, error })
  await breakModels(prompt, { kind: 'server_error', times: 10, provider: 'gemini' })
  const job = await generate(client, { prompt, model: MODEL })
  await waitFor('it was logged', async () => {
    const [row] = await asOwner(
      'select failure from provider_jobs where generation_id = $1 and failure is not null',
      [job.id],
    )
    return row
  })
  const { body } = await client.post(`/generations/${job.id}/cancel`)
  expect(JSON.stringify(body)).not.toContain('127.0.0.1')
})

test('the circuit breaker of an offer opens after five failures, and a success closes it', async () => {
  const name = crypto.randomUUID()
  const admits = (reports: object[]) => control<boolean>('breaker', { name, reports })
  const [failed, succeeded] = [{ succeeded: false }, { succeeded: true }]
  expect(await admits([failed, failed, failed, failed])).toBe(true)
  expect(await admits([failed])).toBe(false)
  expect(await admits([])).toBe(false)
  expect(await admits([succeeded])).toBe(true)
  // What only the operator can mend opens it at once.
  expect(await admits([{ succeeded: false, fault: 'out_of_credit' }])).toBe(false)
})

test("answers 401 to Replicate's webhook when its signature is another's or too old", async () => {
  const { workspaceId } = await newTenant()
  const url = `${stack.api}/api/v1/providers/replicate/webhook?workspaceId=${workspaceId}&generationId=${crypto.randomUUID()}&jobId=${crypto.randomUUID()}`
  // With a log that is longer than a caller's body may be.
  const body = JSON.stringify({ id: 'x', status: 'succeeded', logs: 'x'.repeat(300_000) })
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
