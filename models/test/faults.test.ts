/** The local model server's fault switch: every fault of a Replicate prediction. */
import { describe, expect, test } from 'vitest'
import { fetchOutput, listen, model, noSubmissions, useModels } from './models.ts'

const models = useModels()

describe('faults', () => {
  test('hit only the prompts they match, as often as they say', async () => {
    await models.fault({ kind: 'server_error', times: 1, match: 'victim' })
    expect((await models.generate({ prompt: 'bystander' })).status).toBe('succeeded')
    await expect(models.generate({ prompt: 'a victim' })).rejects.toMatchObject({ response: { status: 500 } })
    expect((await models.generate({ prompt: 'a victim' })).status).toBe('succeeded')
  })

  test('rate_limit', async () => {
    await models.fault({ kind: 'rate_limit', times: 1, retryAfter: 3, match: 'limited' })
    const response = await models.post(
      '/predictions',
      JSON.stringify({ version: model, input: { prompt: 'limited' } }),
    )
    expect(response.status).toBe(429)
    expect(response.headers.get('retry-after')).toBe('3')
  })

  test('hang', async () => {
    await models.fault({ kind: 'hang', times: 1, match: 'hangs' })
    const gone = new AbortController()
    let ended = false
    const hanging = models.client.predictions
      .create({ version: model, input: { prompt: 'hangs' }, signal: gone.signal })
      .finally(() => {
        ended = true
      })
      .catch((error: unknown) => error)
    await expect.poll(async () => (await models.generate({ prompt: 'hangs' })).status).toBe('succeeded')
    expect(ended).toBe(false)
    gone.abort()
    expect(await hanging).toMatchObject({ name: 'AbortError' })
  })

  test('malformed_json', async () => {
    await models.fault({ kind: 'malformed_json', times: 1, match: 'garbled' })
    await expect(models.generate({ prompt: 'garbled' })).rejects.toThrow(SyntaxError)
  })

  test('failed_prediction', async () => {
    await models.fault({
      kind: 'failed_prediction',
      times: 1,
      error: 'NSFW content detected',
      match: 'fails',
    })
    await models.fault({ kind: 'failed_prediction', times: 1, match: 'fails' })
    expect(await models.generate({ prompt: 'fails' })).toMatchObject({
      status: 'failed',
      error: 'NSFW content detected',
    })
    expect(await models.generate({ prompt: 'fails' })).toMatchObject({
      status: 'failed',
      error: 'CUDA out of memory',
    })
  })

  test('slow', async () => {
    await models.fault({ kind: 'slow', times: 1, delayMs: 300, match: 'slow' })
    const { status, metrics } = await models.generate({ prompt: 'slow' })
    expect(status).toBe('succeeded')
    expect(metrics?.predict_time).toBeGreaterThanOrEqual(0.3)
  })

  test('broken_output and missing_output', async () => {
    const { output } = await models.generate({ prompt: 'spoiled' })
    await models.fault({ kind: 'broken_output', times: 1, match: 'spoiled' })
    await models.fault({ kind: 'missing_output', times: 1, match: 'spoiled' })
    const broken = await fetch(output[0])
    expect(broken.status).toBe(200)
    await expect(broken.arrayBuffer()).rejects.toThrow()
    expect((await fetch(output[0])).status).toBe(404)
    expect((await fetchOutput(output[0])).length).toBeGreaterThan(1000)
  })

  test('partial_output', async () => {
    await models.fault({ kind: 'partial_output', times: 1, match: 'four of these' })
    const { status, output } = await models.generate({ prompt: 'four of these', num_outputs: 4 })
    expect(status).toBe('succeeded')
    expect(output).toHaveLength(3)
  })

  test('no_webhook, and only for the end', async () => {
    const received: string[] = []
    const webhook = await listen((_request, body) => {
      received.push(JSON.parse(body).input.prompt)
      return 200
    })
    const create = (prompt: string, events: ('output' | 'completed')[]) =>
      models.client.predictions.create({
        version: model,
        input: { prompt },
        webhook,
        webhook_events_filter: events,
        wait: true,
      })
    await models.fault({ kind: 'no_webhook', times: 2, match: 'unheard' })
    await create('unheard', ['completed'])
    await create('unheard but for its output', ['output', 'completed'])
    await create('heard', ['completed'])
    await expect.poll(() => received).toContain('heard')
    await expect.poll(() => received.toSorted()).toEqual(['heard', 'unheard but for its output'])
  })

  test('webhook_early', async () => {
    let answered = false
    const seen: [status: string, answered: boolean][] = []
    const webhook = await listen((_request, body) => {
      seen.push([JSON.parse(body).status, answered])
      return 200
    })
    await models.fault({ kind: 'webhook_early', times: 1, match: 'early' })
    const { id, status, output } = await models.client.predictions.create({
      version: model,
      input: { prompt: 'early' },
      webhook,
      webhook_events_filter: ['completed'],
    })
    answered = true
    expect(seen).toEqual([['succeeded', false]])
    expect({ status, output }, 'the answer knows nothing of the end').toEqual({
      status: 'starting',
      output: null,
    })
    expect((await models.client.predictions.get(id)).status).toBe('succeeded')
  })

  test('webhook_twice', async () => {
    const received: string[] = []
    const webhook = await listen(({ headers }, body) => {
      received.push(`${headers['webhook-id']} ${body}`)
      return 200
    })
    await models.fault({ kind: 'webhook_twice', times: 1, match: 'twice' })
    await models.client.predictions.create({
      version: model,
      input: { prompt: 'twice' },
      webhook,
      webhook_events_filter: ['completed'],
    })
    await expect.poll(() => received.length).toBe(2)
    expect(received[1]).toBe(received[0])
  })

  test('and statistics can be reset', async () => {
    const read = async () => (await fetch(`${models.server.origin}/stats`)).json()
    await fetch(`${models.server.origin}/stats`, { method: 'DELETE' })
    expect(await read()).toEqual({ submissions: 0, submissionsByProvider: noSubmissions, predictions: [] })
    const { id, created_at, completed_at, metrics } = await models.generate({ prompt: 'Counted' })
    const counted = {
      id,
      prompt: 'Counted',
      status: 'succeeded',
      createdAt: created_at,
      completedAt: completed_at,
    }
    expect(await read()).toEqual({
      submissions: 1,
      submissionsByProvider: { ...noSubmissions, replicate: 1 },
      predictions: [{ ...counted, provider: 'replicate', model, predictTime: metrics?.predict_time }],
    })
  })
})
