/** The rig's links and queue with a Worker that does nothing but show what reaches it: links, queue limits, exceptions. */
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { startBroker } from '../../dev/rig/broker.ts'
import { makeConfig } from '../../dev/rig/config.ts'
import { type Link, startLink } from '../../dev/rig/link.ts'
import { createWorkerd, type Workerd } from '../../dev/rig/process.ts'
import { waitFor } from '../support/wait-for.ts'

const WORKER = `export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url)
    if (pathname === '/endless') {
      request.signal.addEventListener('abort', () => console.log('request aborted'))
      return new Response(new ReadableStream({
        async pull(controller) { await scheduler.wait(20); controller.enqueue(new Uint8Array(100)) },
        cancel() { console.log('stream cancelled') },
      }))
    }
    if (pathname === '/timer') {
      setTimeout(() => { throw new RangeError('in a timer') }, 1)
      await scheduler.wait(20)
      return new Response()
    }
    const { messages, delaySeconds } = await request.json()
    try {
      await env.JOBS.sendBatch(messages.map((body) => ({ body })), { delaySeconds })
      return new Response('sent')
    } catch (error) {
      return new Response(error.message)
    }
  },
}`

const directory = mkdtempSync(join(tmpdir(), 'content-api-borders-'))
const log = () => readFileSync(join(directory, 'worker/log'), 'utf8')
let broker: Awaited<ReturnType<typeof startBroker>>
let worker: Workerd
let clients: Link
let server: Link
const received: number[] = []

/** Answers with as many bytes as were sent. */
const upstream = createServer(async (request, response) => {
  try {
    const { length } = Buffer.concat(await Array.fromAsync(request))
    received.push(length)
    response.end(Buffer.alloc(length, 'x'))
  } catch {
    // Cut midway, as wanted.
  }
})

beforeAll(async () => {
  mkdirSync(join(directory, 'bundle'))
  writeFileSync(join(directory, 'bundle/worker.js'), WORKER)
  broker = await startBroker([], () => undefined)
  const text = makeConfig({
    config: {
      main: 'worker.ts',
      compatibility_date: '2026-11-01',
      compatibility_flags: [],
      vars: {},
      assets: undefined,
      images: undefined,
      send_email: [],
      queues: { producers: [{ binding: 'JOBS', queue: 'jobs' }] },
      durable_objects: { bindings: [] },
    },
    project: directory,
    bundle: join(directory, 'bundle'),
    settings: {},
    brokerPort: broker.port,
    imagesPort: 0,
    mailPort: 0,
    traced: true,
    objects: { elsewhere: {} },
  })
  worker = createWorkerd({ name: 'worker', directory: join(directory, 'worker'), config: text })
  await worker.start()
  clients = await startLink(() => [worker.port('api')])
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  server = await startLink(() => [(upstream.address() as AddressInfo).port])
}, 60_000)

afterEach(() => {
  server.clearFaults()
  server.delay(0)
  received.length = 0
})

afterAll(async () => {
  await clients?.stop()
  await server?.stop()
  upstream.close()
  await worker?.stop()
  broker?.stop()
  rmSync(directory, { recursive: true, force: true })
})

const post = (bytes: number) => fetch(server.origin, { method: 'POST', body: Buffer.alloc(bytes) })
const sendBatch = async (messages: unknown[], delaySeconds = 0) =>
  (await fetch(worker.url(), { method: 'POST', body: JSON.stringify({ messages, delaySeconds }) })).text()

test.each(['destroy', 'resetAndDestroy'] as const)('a client that hangs up (%s) is noticed', async (how) => {
  const before = log().split('stream cancelled').length
  const socket = connect(clients.port, '127.0.0.1')
  socket.on('error', () => undefined).write('GET /endless HTTP/1.1\r\nhost: worker\r\n\r\n')
  await new Promise((resolve) => socket.once('data', resolve))
  socket[how]()
  await waitFor('the stream is cancelled', async () => log().split('stream cancelled').length > before)
  socket.destroy()
})

test('the queue refuses what the platform refuses', async () => {
  const count = 100
  expect(await sendBatch(Array(count).fill({ small: true }))).toBe('sent')
  expect(await sendBatch([1], 43_200)).toBe('sent')
  const { enqueued } = broker.counts().jobs ?? {}
  expect(enqueued).toBe(count + 1)
  expect(await sendBatch([1], 43_201)).toMatch(/delay over 43200 seconds/)
  expect(await sendBatch(Array(count + 1).fill(1))).toMatch(/more than 100 messages/)
  expect(await sendBatch(['x'.repeat(128_001)])).toMatch(/message of more than 128000 bytes/)
  expect(await sendBatch(Array(3).fill('x'.repeat(100_000)))).toMatch(/more than 256000 bytes/)
  expect(broker.counts().jobs).toMatchObject({ enqueued, refused: count + 6 })
})

test('exceptions that no answer shows are counted', async () => {
  expect((await fetch(`${worker.url()}/timer`)).status).toBe(200)
  await waitFor('it is counted', async () => worker.exceptions.length > 0)
  expect(worker.exceptions).toMatchObject([{ process: 'worker', name: 'RangeError', message: 'in a timer' }])
})

test('an answer is lost after the work was done, once', async () => {
  const fault = server.fault({ kind: 'reset', of: 'answer', times: 1 })
  await expect(post(10)).rejects.toThrow('fetch failed')
  expect([fault.hits, received]).toEqual([1, [10]])
  expect((await post(10)).status).toBe(200)
})

test('a request is cut midway', async () => {
  server.fault({ kind: 'reset', of: 'request', after: 100_000, match: 'POST' })
  await expect(post(1_000_000)).rejects.toThrow('fetch failed')
  expect(received).toEqual([])
})

test('an answer is cut midway', async () => {
  server.fault({ kind: 'reset', of: 'answer', after: 100_000 })
  const response = await post(1_000_000)
  expect(response.status).toBe(200)
  await expect(response.arrayBuffer()).rejects.toThrow()
})

test('bytes come slowly', async () => {
  server.fault({ kind: 'slow', of: 'answer', bytesPerSecond: 1_000_000 })
  const started = performance.now()
  expect((await (await post(400_000)).arrayBuffer()).byteLength).toBe(400_000)
  expect(performance.now() - started).toBeGreaterThan(300)
})

test('a silent server is waited for', async () => {
  server.fault({ kind: 'hang', of: 'answer' })
  await expect(
    fetch(server.origin, { method: 'POST', body: 'x', signal: AbortSignal.timeout(300) }),
  ).rejects.toThrow('timeout')
  expect(received).toEqual([1])
})

test('distance adds to the round trip, not to every packet', async () => {
  server.delay(400)
  const started = performance.now()
  // Thirty packets or more each way.
  expect((await (await post(2_000_000)).arrayBuffer()).byteLength).toBe(2_000_000)
  const ms = performance.now() - started
  expect(ms).toBeGreaterThanOrEqual(399)
  expect(ms).toBeLessThan(4000)
})

test('a stopped server refuses, and comes back at the same address', async () => {
  await server.stop()
  await expect(once(connect(server.port, '127.0.0.1'), 'connect')).rejects.toThrow('ECONNREFUSED')
  await server.start()
  expect((await post(1)).status).toBe(200)
})
