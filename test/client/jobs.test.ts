/** Jobs and events by the client package, on connections that break anywhere. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import {
  type Generation,
  GenerationError,
  type GenerationEvent,
  type Progress,
} from '../../client/src/index.ts'
import { stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { breakModels, finished, generate, newPrompt } from '../support/generations.ts'
import { breakable, merchantOf, watchedFetch } from '../support/merchant.ts'
import { sendRaw } from '../support/sockets.ts'
import { newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

/** Bytes between two cuts of a stream. */
const EVERY = 40

const jobsOf = (workspaceId: string) =>
  asOwner<{ id: string; status: string }>('select id, status from generations where workspace_id = $1', [
    workspaceId,
  ])

test('runs a job: progress as it comes, outputs at the end, and their files', async () => {
  const { client } = await newTenant()
  const merchant = merchantOf(client)
  const heard: Progress[] = []
  const { id, outputs } = await merchant.generations.run(
    { task: 'scene', prompt: 'On a table', count: 2 },
    { onProgress: (progress) => heard.push(progress) },
  )
  expect(outputs).toHaveLength(2)
  expect(heard.map(({ status }) => status)).toEqual(
    expect.arrayContaining(['queued', 'running', 'succeeded']),
  )
  expect(heard.every(({ generationId }) => generationId === id)).toBe(true)
  const [first] = outputs
  const file = await merchant.assets.download(String(first?.id))
  expect((await file.bytes()).length).toBe(first?.size)
  const small = await merchant.assets.download(String(first?.id), { width: 64 })
  expect(small.headers.get('content-type')).toBe('image/webp')
})

test('a file is fetched by its URL, without credentials, and again where storage fails; what storage refuses is not', async () => {
  const { client } = await newTenant()
  const asked: string[] = []
  let answers: number[] = []
  const merchant = merchantOf(client, {
    fetch: watchedFetch(({ url, init }) => {
      const headers = new Headers(init.headers)
      const isApi = url.origin === new URL(stack.api).origin
      expect([headers.has('authorization'), headers.has('x-workspace-id')]).toEqual([isApi, isApi])
      asked.push(isApi ? 'API' : 'storage')
      const status = isApi ? undefined : answers.shift()
      return status && new Response('', { status })
    }),
  })
  const { id } = await merchant.assets.upload(new Blob(['mine']), { name: 'mine.txt' })
  asked.length = 0
  answers = [503]
  expect(await (await merchant.assets.download(id)).text()).toBe('mine')
  expect(asked).toEqual(['API', 'storage', 'storage'])
  answers = [404]
  await expect(merchant.assets.download(id)).rejects.toMatchObject({ name: 'ApiError', status: 404 })
  expect(asked.slice(3)).toEqual(['API', 'storage'])
  const query = { disposition: 'inline' } as const
  const { url } = await merchant.get('/assets/{id}/download', { path: { id }, query })
  expect(await (await fetch(url)).text()).toBe('mine')
  const reason = new Error('left')
  await expect(merchant.assets.download(id, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
})

test('a job that fails, and one that is canceled, are errors that hold it', async () => {
  const { client } = await newTenant()
  const merchant = merchantOf(client)
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'refused_content' })
  const failing = merchant.generations.run({ task: 'scene', prompt })
  await expect(failing).rejects.toThrow(GenerationError)
  await expect(failing).rejects.toMatchObject({
    code: 'content_rejected',
    retryable: false,
    generation: { status: 'failed' },
  })
  const slow = newPrompt()
  await breakModels(slow, { kind: 'slow', delayMs: 20_000 })
  const canceled = merchant.generations.run(
    { task: 'scene', prompt: slow },
    { onProgress: ({ generationId }) => void merchant.generations.cancel(generationId) },
  )
  await expect(canceled).rejects.toMatchObject({ generation: { status: 'canceled' }, code: undefined })
})

test('the connection cut at every event of a job, and in between: none is lost, none comes twice, and it ends', async () => {
  const { client, token } = await newTenant()
  const { id } = await generate(client)
  await finished(client, id)
  const path = `/api/v1/generations/${id}/events`
  const raw = await sendRaw(
    `GET ${path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`,
  )
  const borders = [...raw.matchAll(/(?<=\n)id: |(?<=event: )\w|(?<=data: )\{|\n\n/g)].map(
    ({ index }) => index,
  )
  const between = Array.from({ length: Math.ceil(raw.length / EVERY) }, (_, i) => i * EVERY)
  const cuts = [...new Set([...borders, ...borders.map((at) => at + 1), ...between])]
  const cutAt = async (after: number) => {
    const link = await breakable()
    const fault = link.fault({ kind: 'reset', of: 'answer', after, match: path, times: 1 })
    const types: string[] = []
    for await (const { type } of merchantOf(client, { baseUrl: link.origin }).events({ generationId: id })) {
      types.push(type)
    }
    expect(types, `cut after ${after} of ${raw.length} bytes`).toEqual(['queued', 'running', 'succeeded'])
    expect(fault.hits).toBe(1)
  }
  expect(borders.length).toBeGreaterThan(9)
  await Promise.all(cuts.map(cutAt))
})

test('a job is followed though every stream is cut at its first byte, or answered by a proxy', async () => {
  const { client, workspaceId } = await newTenant()
  const link = await breakable()
  const cut = link.fault({ kind: 'reset', of: 'answer', match: '/events' })
  const merchant = merchantOf(client, { baseUrl: link.origin })
  const job = await merchant.generations.run({ task: 'scene', prompt: 'x' })
  expect(job).toMatchObject({ status: 'succeeded', outputs: [{}] })
  expect(cut.hits).toBeGreaterThan(1)
  const page = () => new Response('<h1>Proxy</h1>', { headers: { 'content-type': 'text/html' } })
  const proxied = merchantOf(client, {
    fetch: watchedFetch(({ url }) => (url.pathname.endsWith('/events') ? page() : undefined)),
  })
  expect(await proxied.generations.run({ task: 'scene', prompt: 'x' })).toMatchObject({ status: 'succeeded' })
  expect(await jobsOf(workspaceId)).toHaveLength(2)
})

test('a job is followed though a proxy keeps its stream to itself', async () => {
  const { client } = await newTenant()
  const link = await breakable()
  link.fault({ kind: 'hang', of: 'answer', match: '/events' })
  const job = await merchantOf(client, { baseUrl: link.origin }).generations.run({
    task: 'scene',
    prompt: 'x',
  })
  expect(job).toMatchObject({ status: 'succeeded' })
})

test('a live job is followed though the API goes away in the middle', async () => {
  const { client } = await newTenant()
  const link = await breakable()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', delayMs: 4000 })
  const merchant = merchantOf(client, { baseUrl: link.origin })
  let wasAway = false
  const job = await merchant.generations.run(
    { task: 'scene', prompt },
    {
      onProgress: ({ status }) => {
        if (status !== 'running' || wasAway) return
        wasAway = true
        void link.stop().then(() => setTimeout(() => void link.start(), 3000))
      },
    },
  )
  expect(wasAway).toBe(true)
  expect(job).toMatchObject({ status: 'succeeded' })
})

test('the events of a workspace go on across connections, and end with their loop', async () => {
  const { client } = await newTenant()
  const link = await breakable()
  const open: string[] = []
  const merchant = merchantOf(client, {
    baseUrl: link.origin,
    fetch: watchedFetch(({ url, init }) => {
      if (!url.pathname.endsWith('/events')) return
      open.push(String(new Headers(init.headers).get('last-event-id')))
      init.signal?.addEventListener('abort', () => open.push('closed'))
    }),
  })
  const events: GenerationEvent[] = []
  const listening = (async () => {
    for await (const event of merchant.events()) {
      events.push(event)
      if (events.filter(({ status }) => status === 'succeeded').length === 2) break
    }
  })()
  await waitFor('it listens', async () => open.length === 1)
  await sleep(500)
  const first = await generate(client)
  await finished(client, first.id)
  await waitFor('it has heard', async () => events.at(-1)?.status === 'succeeded')
  const last = events.at(-1)?.id
  await link.stop()
  const second = await generate(client)
  await finished(client, second.id)
  await link.start()
  await listening
  expect(events.map(({ type, generationId }) => `${type} ${generationId === first.id ? 1 : 2}`)).toEqual([
    'queued 1',
    'running 1',
    'succeeded 1',
    'queued 2',
    'running 2',
    'succeeded 2',
  ])
  expect(new Set(events.map(({ id }) => id)).size).toBe(6)
  expect(open).toContain(last)
  expect(open.at(-1)).toBe('closed')
  expect((await merchant.get('/generations')).data).toHaveLength(2)
})

test('an abort at any step of a job ends it at once, with nothing left behind', async () => {
  const { client, workspaceId } = await newTenant()
  await asOwner(`update workspaces set plan = 'enterprise' where id = $1`, [workspaceId])
  const run = async (abortAt: number, when: 'asked' | 'answered' | 'later') => {
    const controller = new AbortController()
    const reason = new Error(`aborted at ${abortAt}`)
    let asked = 0
    const pending = new Set<number>()
    const watched = watchedFetch(() => {
      asked++
      if (asked === abortAt && when === 'asked') controller.abort(reason)
    })
    const merchant = merchantOf(client, {
      fetch: async (input, init) => {
        const number = asked + 1
        pending.add(number)
        try {
          const response = await watched(input, init)
          if (number === abortAt && when === 'answered') controller.abort(reason)
          if (number === abortAt && when === 'later') setTimeout(() => controller.abort(reason), 20)
          return response
        } finally {
          pending.delete(number)
        }
      },
    })
    const outcome = await merchant.generations
      .run({ task: 'scene', prompt: 'x' }, { signal: controller.signal })
      .catch((error: unknown) => error)
    const after = asked
    await sleep(100)
    expect(asked, 'nothing is asked any more').toBe(after)
    expect([...pending], 'nothing is waited for').toEqual([])
    return { outcome, reason, wasAborted: controller.signal.aborted, asked }
  }
  const whole = await run(99, 'asked')
  expect(whole.outcome).toMatchObject({ status: 'succeeded' })
  for (let step = 1; step <= whole.asked; step++) {
    for (const when of ['asked', 'answered', 'later'] as const) {
      const { outcome, reason, wasAborted } = await run(step, when)
      // The last answer may be faster than the abort.
      const mayWin = step === whole.asked && when !== 'asked'
      if (mayWin && outcome !== reason) expect(outcome).toMatchObject({ status: 'succeeded' })
      else expect([outcome, wasAborted], `${when} ${step}`).toEqual([reason, true])
    }
  }
  const before = AbortSignal.abort(new Error('before'))
  await expect(merchantOf(client).generations.run({ task: 'scene' }, { signal: before })).rejects.toThrow(
    'before',
  )
})

test('`cancelOnAbort` also stops the job, and gives its credits back', async () => {
  const { client, workspaceId } = await newTenant()
  const prompt = newPrompt()
  await breakModels(prompt, { kind: 'slow', delayMs: 20_000 })
  const controller = new AbortController()
  const running = merchantOf(client).generations.run(
    { task: 'scene', prompt },
    {
      signal: controller.signal,
      cancelOnAbort: true,
      onProgress: () => controller.abort(new Error('enough')),
    },
  )
  await expect(running).rejects.toThrow('enough')
  expect(await jobsOf(workspaceId)).toMatchObject([{ status: 'canceled' }])
})

/** Answers as another version of the API would give them. */
const otherVersion = (change: (text: string) => string) => async (input: unknown, init?: RequestInit) => {
  const response = await fetch(String(input), init)
  const type = response.headers.get('content-type') ?? ''
  if (!/json|event-stream/.test(type)) return response
  return new Response(change(await response.text()), {
    status: response.status,
    headers: { 'content-type': type },
  })
}

test('a newer API: unknown fields, events, phases, codes and statuses pass through', async () => {
  const { client } = await newTenant()
  const newer = otherVersion((text) =>
    text
      .replaceAll('"phase":"running"', '"phase":"teleporting"')
      .replaceAll('{"generationId"', '{"mood":"good","generationId"')
      .replace('event: running', 'event: sparkling')
      .replaceAll('{"id"', '{"novelty":[1],"id"')
      .replaceAll('"validation_failed"', '"too_new"'),
  )
  const merchant = merchantOf(client, { fetch: newer as typeof fetch })
  const types: string[] = []
  const job = await merchant.generations.run({ task: 'scene', prompt: 'x' })
  expect(job).toMatchObject({ novelty: [1], status: 'succeeded' })
  for await (const { type } of merchant.events({ generationId: job.id })) types.push(type)
  expect(types).toEqual(['queued', 'sparkling', 'succeeded'])
  const refused = merchant.post('/generations', { body: { task: 'scene', count: 99 } })
  await expect(refused).rejects.toMatchObject({ code: 'too_new', status: 422 })
  // An end that this version has no word for.
  const ended = otherVersion((text) => text.replaceAll('"succeeded"', '"archived"'))
  const following = merchantOf(client, { fetch: ended as typeof fetch }).generations.follow(job.id)
  await expect(following).rejects.toMatchObject({ generation: { status: 'archived' } })
})

test('an older API: what it does not say yet is not needed', async () => {
  const { client } = await newTenant()
  const drop = (_: string, value: unknown) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
    const {
      phase: _p,
      eta: _e,
      queuePosition: _q,
      urlExpiresAt: _u,
      tags: _t,
      kind: _k,
      ...kept
    } = value as Record<string, unknown>
    return kept
  }
  const older = otherVersion((text) =>
    text.startsWith('{')
      ? JSON.stringify(JSON.parse(text, drop))
      : text.replace(
          /^data: (.*)$/gm,
          (_, data: string) => `data: ${JSON.stringify(JSON.parse(data, drop))}`,
        ),
  )
  const merchant = merchantOf(client, { fetch: older as typeof fetch })
  const asset = await merchant.assets.upload(new Blob(['old']), { name: 'old.txt' })
  expect(Object.keys(asset)).not.toContain('tags')
  const job: Generation = await merchant.generations.run({ task: 'scene', prompt: 'x' })
  expect(job.outputs).toHaveLength(1)
  expect(Object.keys(job)).not.toContain('queuePosition')
})
