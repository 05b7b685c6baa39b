/** Live events: followed to the end, replayed after a reconnection, in order, and only in their workspace. */
import { expect, test } from 'vitest'
import type { Client } from '../support/client.ts'
import { checkNamed } from '../support/contract.ts'
import { asOwner } from '../support/database.ts'
import { breakModels, finished, generate, newPrompt } from '../support/generations.ts'
import { addMember, newKey, newMailToken, newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

interface SentEvent {
  id: number
  event: string
  data: { generationId: string; status: string; progress: number; at: string }
  /** Milliseconds, when it came. */
  came: number
}

/** Reads server-sent events as a browser does. */
const listen = async (client: Client, path: string, lastEventId?: number, databaseRequests = 1) => {
  const abort = new AbortController()
  const headers: Record<string, string> =
    lastEventId === undefined ? {} : { 'last-event-id': String(lastEventId) }
  const response = await client.open(path, headers, abort.signal)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  expect(response.headers.get('server-timing')).toContain(`db;desc="${databaseRequests}"`)
  const events: SentEvent[] = []
  const state = { ended: false, raw: '' }
  const ended = (async () => {
    let rest = ''
    for await (const chunk of (response.body as ReadableStream<BufferSource>).pipeThrough(
      new TextDecoderStream(),
    )) {
      state.raw += chunk
      const blocks = (rest + chunk).split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const fields = Object.fromEntries(
          block.split('\n').map((line) => line.split(/: (.*)/s) as [string, string]),
        )
        if (!fields.data) continue
        events.push({
          id: Number(fields.id),
          event: fields.event ?? '',
          data: JSON.parse(fields.data),
          came: Date.now(),
        })
      }
    }
    state.ended = true
  })().catch(() => undefined)
  return { events, state, ended, stop: () => abort.abort() }
}

test('the stream of a generation ends with its last event', async () => {
  const { client } = await newTenant()
  const job = await generate(client)
  const stream = await listen(client, `/generations/${job.id}/events`)
  await stream.ended
  expect(stream.events.map(({ event }) => event)).toEqual(['queued', 'running', 'succeeded'])
  expect(stream.events.map(({ id }) => id)).toEqual([1, 2, 3])
  expect(stream.events.at(-1)?.data).toMatchObject({
    generationId: job.id,
    status: 'succeeded',
    progress: 100,
  })
  for (const { data } of stream.events) checkNamed('GenerationEvent', data)
  expect(stream.state).toMatchObject({ ended: true })
  expect(stream.state.raw).toMatch(/^retry: \d+\n\n/)
})

test('events after Last-Event-ID are replayed, and the stream of a finished generation ends', async () => {
  const { client } = await newTenant()
  const job = await generate(client)
  await finished(client, job.id)
  for (const [known, rest] of [
    [undefined, ['queued', 'running', 'succeeded']],
    [1, ['running', 'succeeded']],
    [2, ['succeeded']],
  ] as const) {
    const stream = await listen(client, `/generations/${job.id}/events`, known)
    await stream.ended
    expect(stream.events.map(({ event }) => event)).toEqual(rest)
  }
})

test('the stream of a workspace has the events of all its generations in order, soon, and of no others', async () => {
  const [one, two] = [await newTenant(), await newTenant()]
  const stream = await listen(one.client, '/events')
  const [first, , second] = [
    await generate(one.client),
    await generate(two.client),
    await generate(one.client),
  ]
  await Promise.all([finished(one.client, first.id), finished(one.client, second.id)])
  await waitFor('six events', async () => stream.events.length >= 6)
  stream.stop()
  expect(stream.events.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6])
  expect(new Set(stream.events.map(({ data }) => data.generationId))).toEqual(new Set([first.id, second.id]))
  const delays = stream.events.map(({ came, data }) => came - Date.parse(data.at)).sort((a, b) => a - b)
  // Load may hold up some of them, but not all.
  expect(delays[0]).toBeLessThan(200)
})

test('the stream of a generation ends with its cancellation', async () => {
  const { client } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', delayMs: 20_000 })
  const job = await generate(client, { prompt })
  const stream = await listen(client, `/generations/${job.id}/events`)
  await waitFor('it runs', async () => stream.events.some(({ event }) => event === 'running'))
  await client.post(`/generations/${job.id}/cancel`)
  await stream.ended
  expect(stream.events.map(({ event }) => event)).toEqual(['queued', 'running', 'canceled'])
})

test("answers 404 for another tenant's generation, and 422 to a malformed Last-Event-ID", async () => {
  const [one, two] = [await newTenant(), await newTenant()]
  const job = await generate(one.client)
  expect((await two.client.get(`/generations/${job.id}/events`)).status).toBe(404)
  expect((await one.client.get('/events', { 'last-event-id': '-1' })).status).toBe(422)
})

test('thirty listeners receive the same events', async () => {
  const { client } = await newTenant()
  const streams = await Promise.all(Array.from({ length: 30 }, () => listen(client, '/events')))
  const job = await generate(client)
  await finished(client, job.id)
  for (const stream of streams) {
    await waitFor('three events', async () => stream.events.length >= 3)
    expect(stream.events.map(({ event }) => event)).toEqual(['queued', 'running', 'succeeded'])
    stream.stop()
  }
})

test('after the last event there is nothing more: 204, at which an EventSource stops', async () => {
  const { client } = await newTenant()
  const job = await generate(client)
  await finished(client, job.id)
  const path = `/generations/${job.id}/events`
  expect((await client.get(path, { 'last-event-id': '3' })).status).toBe(204)
  // Never given out, so it says nothing of what was heard.
  const stream = await listen(client, path, 999_999, 2)
  await stream.ended
  expect(stream.events.map(({ event }) => event)).toEqual(['queued', 'running', 'succeeded'])
})

test('a long replay is cut into streams of ten pages, each of which goes on after the one before it', async () => {
  const { client, workspaceId } = await newTenant()
  const job = await generate(client)
  await finished(client, job.id)
  await asOwner(
    `with head as (update event_heads set sequence = 5100 where workspace_id = $1)
     insert into generation_events (workspace_id, sequence, generation_id, type, status, progress)
     select $1, n, $2, 'progress', 'running', 1 from generate_series(4, 5100) n`,
    [workspaceId, job.id],
  )
  const first = await listen(client, '/events', 0)
  await first.ended
  expect(first.state).toMatchObject({ ended: true })
  expect(first.events.map(({ id }) => id)).toEqual(Array.from({ length: 5000 }, (_, i) => i + 1))
  const second = await listen(client, '/events', 5000)
  await waitFor('the rest', async () => second.events.length >= 100)
  await generate(client)
  await waitFor('what comes', async () => second.events.length >= 103)
  expect(second.events.map(({ id }) => id)).toEqual(Array.from({ length: 103 }, (_, i) => i + 5001))
  second.stop()
})

test('an id from the future does not keep a workspace from hearing what comes', async () => {
  const { client } = await newTenant()
  const stream = await listen(client, '/events', 999_999_999)
  const job = await generate(client)
  await finished(client, job.id)
  await waitFor('three events', async () => stream.events.length >= 3)
  stream.stop()
})

test.each([
  [
    'a removed member',
    async ({ owner, member }: Listening) =>
      owner.delete(`/workspaces/${owner.workspaceId}/members/${member.userId}`),
  ],
  ['a session that signs out', async ({ member }: Listening) => member.client.post('/auth/logout')],
])('the stream of %s ends at once', async (_, leave) => {
  const { client: owner, workspaceId } = await newTenant()
  const { client, userId } = await addMember(workspaceId, 'member')
  const stream = await listen(client, '/events')
  const kept = await listen(owner, '/events')
  // Connected, as the first event shows.
  const first = await generate(owner)
  await finished(owner, first.id)
  await waitFor('both hear', async () => stream.events.length >= 3 && kept.events.length >= 3)
  expect((await leave({ owner, member: { client, userId } })).status).toBe(204)
  await waitFor('it ends', async () => stream.state.ended, 3000)
  const heard = stream.events.length
  await finished(owner, (await generate(owner)).id)
  await waitFor('the other goes on', async () => kept.events.length >= 6)
  expect(stream.events).toHaveLength(heard)
  kept.stop()
})

interface Listening {
  owner: Client
  member: { client: Client; userId: string }
}

test('the stream of a key ends at once when the address of its maker is taken back', async () => {
  const { client, ...owner } = await newTenant()
  const { key } = await newKey(client, ['event.list'])
  const stream = await listen(client.with({ token: key }), '/events')
  await finished(client, (await generate(client)).id)
  await waitFor('it hears', async () => stream.events.length >= 3)
  const token = await newMailToken(owner, 'email_changed')
  expect((await client.post('/auth/email/change/undo', { token })).status).toBe(204)
  await waitFor('it ends', async () => stream.state.ended, 3000)
})

test.each([
  ['removed', (owner: Client, member: string) => owner.delete(member)],
  ['demoted', (owner: Client, member: string) => owner.patch(member, { role: 'member' })],
] as const)('the stream of a key ends at once when its maker is %s', async (_, end) => {
  const { client: owner, workspaceId } = await newTenant()
  const admin = await addMember(workspaceId, 'admin')
  const { key } = await newKey(admin.client, ['event.list'])
  const stream = await listen(owner.with({ token: key }), '/events')
  await finished(owner, (await generate(owner)).id)
  await waitFor('it hears', async () => stream.events.length >= 3)
  await end(owner, `/workspaces/${workspaceId}/members/${admin.userId}`)
  await waitFor('it ends', async () => stream.state.ended, 3000)
})
