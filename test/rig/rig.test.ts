/** The edge rig itself: what it promises to tests that are built on it; and what only its queue can show. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { withClient } from '../../scripts/migrate.ts'
import { merchantAt, newMerchantAt } from '../support/merchant.ts'
import { waitFor } from '../support/wait-for.ts'

let rig: Rig
let token: string
let workspaceId: string

beforeAll(async () => {
  rig = await startRig({
    cron: false,
    consumers: {
      jobs: { max_retries: 1, retry_delay: 1 },
      'jobs-dead': { max_batch_timeout: 0 },
    },
  })
  ;({ token, workspaceId } = await newMerchantAt(rig.url))
  await withClient(rig.stack.database.adminUrl, (db) =>
    db.query(`update workspaces set plan = 'pro' where id = $1`, [workspaceId]),
  )
}, 90_000)

afterEach(async () => {
  for (const link of Object.values(rig.links)) {
    link.clearFaults()
    link.delay(0)
    await link.start()
  }
  for (const { name } of rig.api) await rig.start(name)
  Object.assign(rig.broker.conditions, { latency: 0, duplicate: 0, reorder: 0, refuse: 0 })
  rig.broker.resume()
})

afterAll(() => rig?.stop(), 60_000)

const generate = (at = rig.url) =>
  merchantAt(at, token).post('/generations', { body: { task: 'scene', prompt: 'Rig' } })

const succeeds = (id: string) =>
  waitFor(`generation ${id} succeeds`, async () => {
    const job = await merchantAt(rig.url, token).generations.get(id)
    expect(['failed', 'canceled']).not.toContain(job.status)
    return job.status === 'succeeded' && job
  })

/** The message about a job, on the queue that carries it. */
const messageOf = (subjectId: string, queue = 'jobs') =>
  rig.broker.messages.find(
    (message) => message.queue === queue && (message.body as { subjectId?: string }).subjectId === subjectId,
  )

/** Opens a stream of events. */
const listen = async (at: string, id: string) => {
  const response = await fetch(`${at}/api/v1/generations/${id}/events`, {
    headers: { authorization: `Bearer ${token}` },
  })
  expect(response.status).toBe(200)
  return response
}

test('jobs run through both processes, batches beside each other', async () => {
  rig.links.database.delay(100)
  const ports = rig.api.map((worker) => worker.url())
  const jobs = await Promise.all([0, 1, 0, 1].map((at) => generate(ports[at])))
  await Promise.all(jobs.map(({ id }) => succeeds(id)))
  const processes = jobs.flatMap(({ id }) => messageOf(id)?.deliveries.map((delivery) => delivery.process))
  expect(new Set(processes)).toEqual(new Set(['api-1', 'api-2']))
  expect(rig.broker.counts().jobs?.mostBatches).toBeGreaterThan(1)
  for (const { cpuSeconds, rssBytes } of Object.values(rig.usage())) {
    expect(cpuSeconds).toBeGreaterThan(0)
    expect(rssBytes).toBeGreaterThan(20_000_000)
  }
})

test('a message comes twice', async () => {
  rig.broker.conditions.duplicate = 1
  const { id } = await generate()
  await succeeds(id)
  const deliveries = await waitFor('both copies', async () => {
    const found = messageOf(id)?.deliveries ?? []
    return found.length > 1 && found
  })
  expect(deliveries.map(({ attempt }) => attempt)).toEqual([1, 1])
})

test('messages overtake each other', async () => {
  rig.broker.conditions.reorder = 0.5
  // The consumer acknowledges what it can't read.
  const numbers = Array.from({ length: 30 }, (_, number) => number)
  for (const number of numbers) rig.broker.send('jobs', { number })
  const arrived = await waitFor('all are delivered', async () => {
    const found = rig.broker.messages.filter(({ body }) =>
      numbers.includes((body as { number: number }).number),
    )
    return found.every(({ deliveries }) => deliveries[0]?.end === 'acked') && found
  })
  const inOrder = arrived.toSorted(
    (a, b) => Number(a.deliveries[0]?.startedAt) - Number(b.deliveries[0]?.startedAt),
  )
  expect(inOrder).toHaveLength(30)
  expect(inOrder.map(({ body }) => (body as { number: number }).number)).not.toEqual(numbers)
})

test('a message that fails comes again after its delay, then goes to the dead-letter queue', async () => {
  rig.broker.pause()
  const { id } = await generate()
  await rig.links.database.stop()
  rig.broker.resume()
  // Each delivery asks the database for forty seconds: its calls may be noted.
  await waitFor('it is handed on', async () => messageOf(id)?.handedOn, 120_000)
  const [first, second, ...more] = messageOf(id)?.deliveries ?? []
  expect(more).toEqual([])
  expect([first?.end, second?.end]).toEqual(['retried', 'dead'])
  expect(Number(second?.startedAt) - Number(first?.endedAt)).toBeGreaterThan(900)
  await rig.links.database.start()
  await waitFor(
    'the dead letter is handled',
    async () => messageOf(id, 'jobs-dead')?.deliveries.at(-1)?.end === 'acked',
  )
  expect(rig.broker.counts()).toMatchObject({
    jobs: { dead: 1, handedOn: 1 },
    'jobs-dead': { enqueued: 1, dead: 0 },
  })
}, 180_000)

describe('a refused right is recorded', () => {
  const setRole = (role: string) =>
    withClient(rig.stack.database.adminUrl, (db) =>
      db.query('update memberships set role = $2 where workspace_id = $1', [workspaceId, role]),
    )
  beforeAll(() => setRole('viewer'))
  afterAll(() => setRole('owner'))

  /** @returns the id of a request that was answered with 403 */
  const beRefused = async () => {
    const response = await fetch(`${rig.url}/api/v1/generations`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ task: 'scene', prompt: 'Rig' }),
    })
    expect(response.status, await response.text()).toBe(403)
    return String(response.headers.get('x-request-id'))
  }
  const rowsOf = (requestId: string) =>
    withClient(
      rig.stack.database.adminUrl,
      async (db) =>
        (await db.query('select action, actor_type from audit_logs where request_id = $1', [requestId])).rows,
    )
  const row = { action: 'access.refuse', actor_type: 'user' }

  test('when the queue takes no message', async () => {
    rig.broker.conditions.refuse = 1
    expect(await rowsOf(await beRefused())).toEqual([row])
  })

  test('when its message is a dead letter', async () => {
    rig.broker.pause()
    const requestId = await beRefused()
    await rig.links.database.stop()
    rig.broker.resume()
    const ofRequest = (queue: string) =>
      rig.broker.messages.find(
        (message) =>
          message.queue === queue && (message.body as { request?: { id: string } }).request?.id === requestId,
      )
    await waitFor('it is handed on', async () => ofRequest('jobs')?.handedOn)
    await rig.links.database.start()
    await waitFor(
      'the dead letter is handled',
      async () => ofRequest('jobs-dead')?.deliveries.at(-1)?.end === 'acked',
    )
    expect(await rowsOf(requestId)).toEqual([row])
  })
})

test('cron signs and prunes while the queue takes no message, and fails after that', async () => {
  const query = (sql: string, id = workspaceId) =>
    withClient(rig.stack.database.adminUrl, async (db) => (await db.query(sql, [id])).rows)
  rig.broker.conditions.refuse = 1
  await query(
    `insert into outbox (workspace_id, kind, subject_id, available_at) values ($1, 'object.delete', $1, now())`,
  )
  const debt = `from outbox where workspace_id = $1 and subject_id = $1`
  await waitFor('the sweeper has just come by', async () => (await query(`select ${debt} and sends = 1`))[0])
  await query(
    `insert into invites (workspace_id, id, email, role, token_hash, expires_at)
     values ($1, app.uuid_v7(), 'late@example.com', 'member', 'late', now() - interval '31 days')`,
  )
  const { workspaceId: unsigned } = await newMerchantAt(rig.url)
  await query(`update outbox set available_at = now() where workspace_id = $1 and subject_id = $1`)
  // The queue has refused long before the database answers.
  rig.links.database.delay(200)
  expect(await rig.scheduled()).toMatchObject({ outcome: 'exception' })
  expect(await query('select from audit_checkpoints where workspace_id = $1', unsigned)).toHaveLength(1)
  expect(await query(`select from invites where workspace_id = $1 and token_hash = 'late'`)).toEqual([])
  await query(`delete ${debt}`)
})

test('a job outlives the process that works on it', async () => {
  rig.broker.pause()
  const { id } = await generate()
  rig.links.database.fault({ kind: 'hang', of: 'request' })
  rig.broker.resume()
  const first = await waitFor('a process has it', async () => messageOf(id)?.deliveries[0])
  await rig.kill(first.process)
  rig.links.database.clearFaults()
  await succeeds(id)
  const [, second] = messageOf(id)?.deliveries ?? []
  expect(second).toMatchObject({ attempt: 2, process: first.process === 'api-1' ? 'api-2' : 'api-1' })
  await rig.start(first.process)
  const revived = rig.api.find(({ name }) => name === first.process)
  expect((await fetch(`${revived?.url()}/health`)).status).toBe(200)
})

test('a webhook that hangs holds up deliveries only, and what a queue may not hold back waits in the database', async () => {
  const held = new Set<ServerResponse>()
  const target = createServer((_, response) => void held.add(response))
  await new Promise<void>((resolve) => target.listen(0, '127.0.0.1', resolve))
  try {
    const url = `http://127.0.0.1:${(target.address() as AddressInfo).port}/`
    const endpoints = `${rig.url}/api/v1/webhooks`
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const made = await fetch(endpoints, { method: 'POST', headers, body: JSON.stringify({ url }) })
    expect(made.status).toBe(201)
    const endpoint = (await made.json()) as { id: string }
    const { id } = await generate()
    await succeeds(id)
    expect(held.size).toBeGreaterThan(0)
    expect(rig.broker.counts().deliveries?.inFlight).toBeGreaterThan(0)
    const kindsOn = (queue: string) => {
      const sent = rig.broker.messages.filter((message) => message.queue === queue)
      return new Set(sent.map(({ body }) => (body as { kind?: string }).kind))
    }
    expect([...kindsOn('deliveries')]).toEqual(['webhook.deliver'])
    expect([...kindsOn('jobs')]).not.toContain('webhook.deliver')

    const query = <T extends object>(sql: string) =>
      withClient(rig.stack.database.adminUrl, async (db) => (await db.query<T>(sql)).rows)
    // As if what is under way had broken off and the seventh were due: the next one is in 18 hours.
    const changed = await query<{ id: string }>(
      'update webhook_deliveries set attempts = 6, next_attempt_at = null returning id',
    )
    for (const { id: subjectId } of changed)
      rig.broker.send('deliveries', { kind: 'webhook.deliver', workspaceId, subjectId })
    await waitFor('second attempts', async () => held.size >= 2 * changed.length)
    for (const response of held) response.writeHead(500).end()
    await waitFor('all have failed', async () => {
      const rows = await query(
        `select from outbox where kind = 'webhook.deliver' and available_at > now() + interval '16 hours'`,
      )
      return rows.length === changed.length
    })
    expect(rig.broker.counts().deliveries).toMatchObject({ delayed: 0, refused: 0 })
    expect((await fetch(`${endpoints}/${endpoint.id}`, { method: 'DELETE', headers })).status).toBe(204)
  } finally {
    target.close()
    target.closeAllConnections()
  }
})

test('both processes count in one limiter: exactly 20 of 30 invites an hour', async () => {
  const statuses = await Promise.all(
    Array.from({ length: 30 }, async (_, number) => {
      const response = await fetch(`${rig.api[number % 2]?.url()}/api/v1/workspaces/${workspaceId}/invites`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ email: `guest-${number}@example.com`, role: 'member' }),
      })
      await response.body?.cancel()
      return response.status
    }),
  )
  expect(statuses.filter((status) => status === 201)).toHaveLength(20)
  expect(statuses.filter((status) => status === 429)).toHaveLength(10)
})

test('events reach streams on every process and through the balancer', async () => {
  rig.broker.pause()
  const { id } = await generate()
  const addresses = [rig.url, ...rig.api.map((worker) => worker.url())]
  const streams = await Promise.all(addresses.map((at) => listen(at, id)))
  rig.broker.resume()
  for (const text of await Promise.all(streams.map((stream) => stream.text()))) {
    expect([...text.matchAll(/^event: (\w+)/gm)].map(([, type]) => type)).toEqual(
      expect.arrayContaining(['queued', 'running', 'succeeded']),
    )
  }
})

test('the database is as far, and as reachable, as it is told', async () => {
  const ask = async () => {
    const response = await fetch(`${rig.url}/api/v1/auth/me`, {
      headers: { authorization: `Bearer ${token}` },
    })
    await response.body?.cancel()
    return {
      status: response.status,
      ms: Number(/db;desc="1";dur=(\d+)/.exec(response.headers.get('server-timing') ?? '')?.[1]),
    }
  }
  rig.links.database.delay(200)
  const far = await ask()
  expect(far.status).toBe(200)
  expect(far.ms).toBeGreaterThanOrEqual(199)
  rig.links.database.delay(0)
  expect((await ask()).ms).toBeLessThan(199)
  await rig.links.database.stop()
  expect((await ask()).status).toBe(503)
  await rig.links.database.start()
  expect((await ask()).status).toBe(200)
})

test('a read waits for the limiter or the database, whichever is farther, and no answer for the feed', async () => {
  const { client: far, workspaceId: place } = await newMerchantAt(rig.url)
  await withClient(rig.stack.database.adminUrl, (db) =>
    db.query(`update workspaces set plan = 'enterprise' where id = $1`, [place]),
  )
  const timeOf = async (request: () => Promise<unknown>) => {
    const started = performance.now()
    await request()
    return performance.now() - started
  }
  // One process, so that it holds tokens after the first request.
  await rig.kill('api-2')
  rig.broker.pause()
  await far.get('/assets')
  await far.post('/generations', { body: { task: 'scene', prompt: 'Rig' } })
  rig.links.objects.delay(1000)
  expect(
    await timeOf(() => far.post('/generations', { body: { task: 'scene', prompt: 'Rig' } })),
  ).toBeLessThan(900)
  // Long enough for the tokens to be given back.
  await new Promise((resolve) => setTimeout(resolve, 11_000))
  rig.links.database.delay(1000)
  const waited = await timeOf(() => far.get('/assets'))
  expect(waited).toBeGreaterThan(990)
  expect(waited).toBeLessThan(1900)
  // Their files would pass while the next test counts.
  rig.links.database.delay(0)
  rig.links.objects.delay(0)
  for await (const { id } of far.list('/generations')) await far.generations.cancel(id)
}, 60_000)

test('files pass over the links, inputs and outputs alike', async () => {
  // Those of tests before this one.
  await waitFor('no other job runs', async () => {
    const { ready, delayed, inFlight } = rig.broker.counts().jobs ?? {}
    return ready === 0 && delayed === 0 && inFlight === 0
  })
  const slow = { kind: 'slow', of: 'answer', bytesPerSecond: 1_000_000 } as const
  const fetched = rig.links.models.fault({ ...slow, match: 'GET /outputs/' })
  const stored = rig.links.storage.fault({ ...slow, match: 'PUT ' })
  const { id } = await generate()
  const { outputs } = await succeeds(id)
  const [output] = outputs
  expect(output?.url).toContain(rig.links.storage.origin)
  expect((await (await fetch(String(output?.url))).arrayBuffer()).byteLength).toBe(output?.size)
  expect([fetched.hits, stored.hits]).toEqual([1, 1])
})

test.each([
  ['while the database is there', false],
  ['while the database is away for longer than a lease', true],
])(
  'a call that outlasts two leases, with two consumers, is made once, %s',
  async (_, goesAway) => {
    const prompt = crypto.randomUUID()
    const fault = (body: object) =>
      fetch(`${rig.stack.models.origin}/faults`, {
        method: 'POST',
        body: JSON.stringify({ match: prompt, ...body }),
      })
    for (const provider of ['replicate', 'fal']) await fault({ kind: 'server_error', provider, times: 20 })
    await fault({ kind: 'slow', provider: 'openai', delayMs: 130_000 })
    const job = await merchantAt(rig.url, token).post('/generations', {
      body: { task: 'scene', count: 2, prompt },
    })
    // Whatever else wakes it meanwhile finds it held.
    const wake = setInterval(() => {
      rig.broker.send('jobs', { kind: 'generation', workspaceId, subjectId: job.id, early: true })
      void rig.scheduled()?.catch(() => undefined)
    }, 10_000)
    try {
      if (goesAway) {
        await sleep(25_000)
        await rig.links.database.stop()
        await sleep(65_000)
        await rig.links.database.start()
      }
      const done = await waitFor(
        'it succeeds',
        async () => {
          const now = await merchantAt(rig.url, token).generations.get(job.id)
          return now.status !== 'queued' && now.status !== 'running' && now
        },
        200_000,
      )
      expect(done).toMatchObject({ status: 'succeeded', outputs: [{}, {}] })
    } finally {
      clearInterval(wake)
    }
    const calls = await withClient(rig.stack.database.adminUrl, (db) =>
      db.query(`select status from provider_jobs where generation_id = $1 and provider = 'openai'`, [job.id]),
    )
    expect(calls.rows).toEqual([{ status: 'succeeded' }])
  },
  240_000,
)

/**
 * Of a healthy job, whatever the number of polls that its model's time makes; a loop would cost many times more. A message
 * is two of the queue's operations here, and each call of a provider has one of its own: its webhook's.
 */
test.each([
  ['an image', { task: 'scene', count: 1 }, { queue: 4, database: 9, storage: 1, models: 8 }],
  ['four images', { task: 'scene', count: 4 }, { queue: 10, database: 18, storage: 4, models: 32 }],
  // How long it lasts is read from storage.
  ['a video', { task: 'animate', count: 1 }, { queue: 6, database: 14, storage: 2, models: 8 }],
] as const)(
  '%s costs no more than its budget',
  async (_, request, budget) => {
    const count = (link: 'database' | 'storage' | 'models') =>
      rig.links[link].fault({ kind: 'slow', of: 'request', bytesPerSecond: 1e9 })
    // Not those of the sweeper, which come whatever happens: a request counts for the first fault that it meets.
    rig.links.database.fault({
      kind: 'slow',
      of: 'request',
      bytesPerSecond: 1e9,
      match: '\\"id\\":\\"sweep-',
    })
    const counters = { database: count('database'), storage: count('storage'), models: count('models') }
    const job = await merchantAt(rig.url, token).post('/generations', { body: { ...request, prompt: 'Rig' } })
    const messages = () =>
      rig.broker.messages.filter(({ body }) => (body as { subjectId?: string }).subjectId === job.id)
    await waitFor('it has succeeded', async () => {
      const rows = await withClient(rig.stack.database.adminUrl, (db) =>
        db.query(`select from generations where id = $1 and status = 'succeeded'`, [job.id]),
      )
      return rows.rowCount === 1
    })
    const spent = {
      queue: messages().reduce((sum, { deliveries }) => sum + 1 + deliveries.length, 0),
      ...Object.fromEntries(Object.entries(counters).map(([name, { hits }]) => [name, hits])),
    }
    for (const [name, most] of Object.entries(budget)) {
      expect(spent[name as keyof typeof spent], `${name} of ${JSON.stringify(spent)}`).toBeLessThanOrEqual(
        most,
      )
      expect(spent[name as keyof typeof spent], name).toBeGreaterThan(0)
    }
  },
  60_000,
)

test('cron runs in one process', async () => {
  expect(await rig.scheduled()).toMatchObject({ outcome: 'ok' })
})

test('an offer that only the operator can mend is left alone when the process of its breaker ends', async () => {
  const readiness = async () =>
    (await (await fetch(`${rig.url}/health/ready`)).json()) as { offers?: object[] }
  await fetch(`${rig.stack.models.origin}/faults`, {
    method: 'POST',
    body: JSON.stringify({ kind: 'payment_required', provider: 'replicate', match: 'Rig' }),
  })
  const { id } = await generate()
  await succeeds(id)
  await rig.kill('objects')
  await rig.start('objects')
  await waitFor('it is told of', async () =>
    JSON.stringify((await readiness()).offers ?? []).includes('out_of_credit'),
  )
}, 60_000)
