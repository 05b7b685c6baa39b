/** Providers that are waited for: a call without an answer, and the pause of a breaker. */
import { expect, test } from 'vitest'
import type { GenerationBody } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { breakModels, finished, generate, newPrompt } from '../support/generations.ts'
import { newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const MODEL = 'studio-scene-pro'

test('a submission that is never answered is not made again while it may still be, and then is', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'hang', times: 1, provider: 'replicate' })
  const job = await generate(client, { prompt, model: MODEL })
  const open = () =>
    asOwner('select status, operation, expires_at from provider_jobs where generation_id = $1', [job.id])
  await waitFor('the step is over', async () => {
    const rows = await asOwner('select from generations where id = $1 and next_step_at is not null', [job.id])
    return rows.length > 0
  })
  expect(await open()).toMatchObject([{ status: 'submitting', operation: null }])
  expect((await client.get<GenerationBody>(`/generations/${job.id}`)).body).toMatchObject({ attempts: 1 })
  await asOwner('update provider_jobs set expires_at = now() where generation_id = $1', [job.id])
  expect(await finished(client, job.id)).toMatchObject({ status: 'succeeded', attempts: 2 })
}, 60_000)

test('an offer that answers with the pictures is tried again after its pause, and not only planned with', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'server_error', times: 100, provider: 'replicate' })
  for (const name of ['replicate:google/nano-banana-pro', 'gemini:gemini-3-pro-image'])
    await control('breaker', { name, reports: [{ succeeded: false, fault: 'out_of_credit' }] })
  const job = await generate(client, { prompt, model: MODEL })
  expect(await finished(client, job.id, 60_000)).toMatchObject({ status: 'succeeded' })
}, 70_000)
