/** What a job will cost and when it will end: said before, while it waits, and while it runs; and where its pictures came from. */
import { beforeAll, describe, expect, test } from 'vitest'
import { makeSamplePhoto } from '../../models/photo.ts'
import { withClient } from '../../scripts/migrate.ts'
import type { Client, GenerationBody } from '../support/client.ts'
import type { Json } from '../support/contract.ts'
import { stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { breakModels, creditsOf, finished, generate, newPrompt } from '../support/generations.ts'
import { NOBODY, newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

let photo: Buffer
beforeAll(async () => {
  photo = await makeSamplePhoto()
})

interface Quote extends Json {
  credits: number
  remainingAfter: number | null
  accepted: boolean
  problem?: { code: string; errors?: { pointer: string }[] }
  startsIn?: { p50: number; p95: number }
  finishesIn?: { p50: number; p95: number }
}

const quote = async (client: Client, input: object): Promise<Quote> => {
  const { status, body } = await client.post<Quote>('/generations/quote', {
    task: 'scene',
    prompt: 'x',
    ...input,
  })
  expect(status, JSON.stringify(body)).toBe(200)
  return body
}

/** Makes it known how long such jobs took. */
const measure = (model: string, size: number, seconds: number[]) =>
  asOwner(
    `insert into generation_timings (model, size, slot, offer, seconds)
     select $1, $2, i - 1, 'replicate:x', s from unnest($3::real[]) with ordinality t (s, i)
     on conflict (model, size, slot) do update set offer = excluded.offer, seconds = excluded.seconds`,
    [model, size, seconds],
  )

describe('a quote', () => {
  test('costs what the job then costs, and changes nothing', async () => {
    const { client, workspaceId } = await newTenant()
    const before = await creditsOf(client)
    const quoted = await quote(client, { count: 3 })
    expect(quoted).toMatchObject({ model: 'studio-scene', credits: 12, remainingAfter: 38, accepted: true })
    expect(quoted.problem).toBeUndefined()
    expect(await creditsOf(client)).toEqual(before)
    expect(await asOwner('select from generations where workspace_id = $1', [workspaceId])).toEqual([])
    expect(await generate(client, { count: 3 })).toMatchObject({ creditsReserved: quoted.credits })
  })

  test('says why a job would be refused, as its refusal then does', async () => {
    const { client } = await newTenant()
    const other = await newTenant()
    const { body: foreign } = await other.client.upload('mug.jpg', photo)
    const cases: [object, string, number][] = [
      [{ maxCredits: 3 }, 'validation_failed', 422],
      [{ inputAssetIds: [NOBODY] }, 'not_found', 404],
      [{ inputAssetIds: [foreign.id] }, 'not_found', 404],
      [{ model: 'studio-scene-pro', count: 4 }, 'insufficient_credits', 402],
    ]
    for (const [input, code, status] of cases) {
      const { accepted, problem, remainingAfter } = await quote(client, input)
      expect({ accepted, code: problem?.code }).toEqual({ accepted: false, code })
      expect(remainingAfter).toBe(code === 'insufficient_credits' ? -10 : 46)
      const refusal = await client.post('/generations', { task: 'scene', prompt: 'x', ...input })
      expect(refusal).toMatchObject({ status, body: { code } })
      expect(refusal.body.errors).toEqual(problem?.errors)
    }
    const never = await client.post('/generations/quote', { task: 'scene', prompt: 'x', count: 9 })
    expect(never).toMatchObject({ status: 422, body: { errors: [{ pointer: '/count' }] } })
  })

  test('knows how long such jobs took, and who is before it in line', async () => {
    const { client, workspaceId } = await newTenant()
    await measure(
      'packshot',
      3,
      Array.from({ length: 20 }, (_, i) => 50 + i),
    )
    const { body: asset } = await client.upload('mug.jpg', photo)
    const request = { task: 'packshot', inputAssetIds: [asset.id], count: 3 }
    const free = await quote(client, request)
    expect(free.startsIn).toEqual({ p50: 0, p95: 0 })
    expect(free.finishesIn).toEqual({ p50: 60, p95: 69 })
    // A free plan runs two at once: four in line, and two that have done half of it, share two places.
    await asOwner(
      `insert into generations (workspace_id, id, task, kind, status, model, count, input_asset_ids, deadline, deadline_at, credits_reserved)
       select $1, app.uuid_v7(), 'packshot', 'image', case when i <= 2 then 'running' else 'queued' end, 'packshot', 3, '{}', 600,
         now() + interval '1 day', 1 from generate_series(1, 6) i`,
      [workspaceId],
    )
    const behind = await quote(client, request)
    expect(behind.startsIn?.p50).toBeGreaterThanOrEqual(140)
    expect(behind.startsIn?.p50).toBeLessThanOrEqual(155)
    expect(behind.finishesIn?.p50).toBe((behind.startsIn?.p50 ?? 0) + 60)
    expect(behind.finishesIn?.p95).toBeGreaterThan(behind.finishesIn?.p50 ?? 0)
    await asOwner(
      `update generations set status = 'canceled', completed_at = now() where workspace_id = $1`,
      [workspaceId],
    )
  })
})

test('of two hundred jobs, 85 to 95 % end before the time that nine of ten were to end by', async () => {
  // Latencies as models have them: most alike, some long (lognormal), from a generator with a seed.
  let state = 20261126
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state + 0.5) / 2 ** 32
  }
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
  const { workspaceId } = await newTenant()
  await withClient(stack.adminDatabase, async (client) => {
    // The trigger's random slots, too.
    await client.query('select setseed(0.1)')
    let before = 0
    let half = 0
    for (let job = 0; job < 300; job++) {
      const seconds = 8 * Math.exp(0.5 * normal())
      const { rows } = await client.query<{ ends: number[] | null }>(
        `select ends from app.forecast(null, 'backtest', 1, null, 0, 0)`,
      )
      const ends = rows[0]?.ends
      if (job >= 100) {
        if (seconds <= (ends?.[0] ?? 0)) half++
        if (seconds <= (ends?.[1] ?? 0)) before++
      }
      const id = crypto.randomUUID()
      await client.query(
        `insert into generations (workspace_id, id, task, kind, status, model, offer, count, input_asset_ids, deadline, deadline_at, credits_reserved, started_at)
         values ($1, $2, 'scene', 'image', 'running', 'backtest', 'replicate:x', 1, '{}', 600, now(), 1, now())`,
        [workspaceId, id],
      )
      await client.query(
        `update generations set status = 'succeeded', completed_at = started_at + make_interval(secs => $2) where id = $1`,
        [id, seconds],
      )
    }
    console.log(`ended before their p90: ${before / 2} %, before their p50: ${half / 2} %`)
    expect(before).toBeGreaterThanOrEqual(170)
    expect(before).toBeLessThanOrEqual(190)
  })
})

test('a job says when it will probably end, and how far it is by the time alone', async () => {
  const { client } = await newTenant()
  await measure(
    'packshot',
    2,
    Array.from({ length: 40 }, () => 4),
  )
  const { body: asset } = await client.upload('mug.jpg', photo)
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', delayMs: 8000, times: 2 })
  const job = await generate(client, {
    task: 'packshot',
    inputAssetIds: [asset.id],
    prompt,
    count: 2,
  })
  expect(job).toMatchObject({ phase: 'plan_line', progress: 0 })
  const { p50, p90 } = job.eta as { p50: string; p90: string }
  const inSeconds = (time: string) => (Date.parse(time) - Date.parse(job.createdAt)) / 1000
  expect(inSeconds(p50)).toBeCloseTo(4, 0)
  expect(Date.parse(p90)).toBeGreaterThanOrEqual(Date.parse(p50))
  const half = await waitFor('half of the time', async () => {
    const { body } = await client.get<GenerationBody>(`/generations/${job.id}`)
    return body.progress >= 50 && body
  })
  expect(half).toMatchObject({ status: 'running', eta: { p50: expect.any(String) } })
  expect(half.progress).toBeLessThanOrEqual(95)
  // It takes longer than all others did: what is to come is still in the future.
  const late = await waitFor('more than others took', async () => {
    const { body } = await client.get<GenerationBody>(`/generations/${job.id}`)
    return Date.now() - Date.parse(job.createdAt) > 5500 && body
  })
  if (late.status === 'running')
    expect(Date.parse((late.eta as { p50: string }).p50)).toBeGreaterThan(Date.now() - 1000)
  const done = await finished(client, job.id)
  expect(done).toMatchObject({ status: 'succeeded', progress: 100 })
  expect(done).not.toHaveProperty('eta')
  expect(done).not.toHaveProperty('phase')
})

test('a picture knows where it came from, even when its photo is gone', async () => {
  const { client, userId } = await newTenant()
  const { body: asset } = await client.upload('mug.jpg', photo)
  expect((await client.get(`/assets/${asset.id}/lineage`)).body).toMatchObject({
    sha256: asset.sha256,
    source: 'upload',
    createdBy: userId,
    generation: null,
  })
  const done = await finished(
    client,
    (await generate(client, { prompt: 'On moss', style: 'fresh', count: 2, inputAssetIds: [asset.id] })).id,
  )
  await client.delete(`/assets/${asset.id}`)
  await client.delete(`/assets/${done.outputs[1]?.id}`)
  const { body } = await client.get<Json>(`/assets/${done.outputs[0]?.id}/lineage`)
  expect(body).toMatchObject({
    source: 'generation',
    generation: {
      id: done.id,
      task: 'scene',
      model: 'studio-scene',
      provider: 'replicate',
      providerModel: 'google/nano-banana',
      prompt: 'On moss',
      promptSent: expect.stringMatching(/stays exactly as in the picture.*On moss/),
      style: 'fresh',
      seed: null,
      inputs: [{ assetId: asset.id, sha256: asset.sha256 }],
      credits: 4,
      requestedBy: userId,
    },
  })
  const other = await newTenant()
  expect((await other.client.get(`/assets/${done.outputs[0]?.id}/lineage`)).status).toBe(404)
})
