/** Stands in for Cloudflare Queues: takes what the `queue` binding posts and delivers batches at least once. */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Unstable_Config } from 'wrangler'

export type Consumer = NonNullable<Unstable_Config['queues']['consumers']>[number]

/** What `queue()` of a service binding answers. */
export interface QueueResult {
  outcome: string
  ackAll: boolean
  retryBatch: { retry: boolean; delaySeconds?: number }
  explicitAcks: string[]
  retryMessages: { msgId: string; delaySeconds?: number }[]
}

/** `body` in base64. */
type WireMessage = { id: string; timestamp: number; attempts: number; contentType: string; body: string }

/** A process that takes batches; `deliver` rejects when it dies meanwhile. */
interface Receiver {
  name: string
  deliver(queue: string, messages: WireMessage[]): Promise<QueueResult>
}

/** What happened to a message on one queue, all its copies together. Times are milliseconds since the epoch. */
interface Message {
  id: string
  queue: string
  /** Parsed, if it was sent as JSON. */
  body: unknown
  enqueued: number
  deliveries: {
    process: string
    attempt: number
    startedAt: number
    endedAt?: number
    end?: 'acked' | 'retried' | 'dead'
  }[]
  handedOn: boolean
}

/** One copy under way. */
type Copy = WireMessage & { record: Message; readyAt: number }

const COUNTS = {
  enqueued: 0,
  /** By a limit of the platform, or on request. */
  refused: 0,
  delivered: 0,
  acked: 0,
  retried: 0,
  /** Out of retries. */
  dead: 0,
  /** Of the dead, those that a dead-letter queue took; the others are lost. */
  handedOn: 0,
  delayed: 0,
  inFlight: 0,
  /** Batches under way at one time. */
  mostBatches: 0,
}

/** The platform's: bytes, messages, bytes, seconds. */
const LIMITS = { message: 128_000, batch: 100, batchBytes: 256_000, delay: 43_200 }
/** Wrangler's, where the configuration says nothing. */
const DEFAULTS = { max_batch_size: 10, max_batch_timeout: 5, max_retries: 3, retry_delay: 0 }
const MOST_CONCURRENT = 250
/** Milliseconds that a reordered message is held back at most. */
const HELD_BACK = 500
/** Milliseconds between looks for a process that runs. */
const POLL_INTERVAL = 100

class Refused extends Error {}

/** `receiver` answers the next process that runs, if any does. */
export const startBroker = async (consumers: Consumer[], receiver: () => Receiver | undefined) => {
  /** Milliseconds that every message travels, and how often one is doubled or held back, or a send refused: 0..1. */
  const conditions = { latency: 0, duplicate: 0, reorder: 0, refuse: 0 }
  const messages: Message[] = []
  let paused = false

  const createQueue = (name: string) => {
    const consumer = consumers.find(({ queue }) => queue === name)
    const settings = consumer && { ...DEFAULTS, ...consumer }
    return { name, settings, counts: { ...COUNTS }, ready: [] as Copy[], batches: 0, awake: false }
  }
  type Queue = ReturnType<typeof createQueue>
  const queues = new Map(consumers.map(({ queue }) => [queue, createQueue(queue)]))
  const queueOf = (name: string): Queue => {
    const queue = queues.get(name) ?? createQueue(name)
    queues.set(name, queue)
    return queue
  }

  const enqueue = (queue: Queue, message: WireMessage, delaySeconds: number) => {
    const { id, contentType } = message
    const bytes = Buffer.from(message.body, 'base64')
    const body: unknown = contentType === 'json' ? JSON.parse(bytes.toString()) : bytes
    const record = { id, queue: queue.name, body, enqueued: Date.now(), deliveries: [], handedOn: false }
    messages.push(record)
    queue.counts.enqueued++
    for (let copies = Math.random() < conditions.duplicate ? 2 : 1; copies > 0; copies--) {
      place(queue, { ...message, record, readyAt: 0 }, delaySeconds)
    }
  }

  const place = (queue: Queue, copy: Copy, delaySeconds: number) => {
    const heldBack = Math.random() < conditions.reorder ? Math.random() * HELD_BACK : 0
    queue.counts.delayed++
    const arrive = () => {
      queue.counts.delayed--
      queue.ready.push({ ...copy, readyAt: Date.now() })
      pump(queue)
    }
    setTimeout(arrive, delaySeconds * 1000 + conditions.latency + heldBack).unref()
  }

  const pump = (queue: Queue): void => {
    const { settings, ready } = queue
    const most = settings?.max_concurrency ?? MOST_CONCURRENT
    while (settings && !paused && ready[0] && queue.batches < most) {
      const wait = ready[0].readyAt + settings.max_batch_timeout * 1000 - Date.now()
      const due = ready.length >= settings.max_batch_size || wait <= 0
      const process = due ? receiver() : undefined
      if (!process) {
        if (queue.awake) return
        queue.awake = true
        const look = () => {
          queue.awake = false
          pump(queue)
        }
        setTimeout(look, due ? POLL_INTERVAL : wait).unref()
        return
      }
      void deliver(queue, settings, process, ready.splice(0, settings.max_batch_size))
    }
  }

  const deliver = async (
    queue: Queue,
    settings: NonNullable<Queue['settings']>,
    process: Receiver,
    batch: Copy[],
  ) => {
    const { counts } = queue
    queue.batches++
    counts.mostBatches = Math.max(counts.mostBatches, queue.batches)
    counts.delivered += batch.length
    counts.inFlight += batch.length
    const startedAt = Date.now()
    const deliveries = batch.map(({ record, attempts }) => {
      const delivery: Message['deliveries'][number] = { process: process.name, attempt: attempts, startedAt }
      record.deliveries.push(delivery)
      return delivery
    })
    const wire = batch.map(({ record: _, readyAt: __, ...message }) => message)
    const result = await process.deliver(queue.name, wire).catch(() => undefined)
    queue.batches--
    counts.inFlight -= batch.length
    for (const [index, copy] of batch.entries()) {
      const { record, readyAt: _, ...message } = copy
      const delay = retryDelay(copy.id, result) ?? settings.retry_delay
      const end = delay === 'acked' ? 'acked' : copy.attempts > settings.max_retries ? 'dead' : 'retried'
      Object.assign(deliveries[index] ?? {}, { endedAt: Date.now(), end })
      counts[end]++
      if (delay !== 'acked' && end === 'retried') {
        place(queue, { ...copy, attempts: copy.attempts + 1 }, Math.min(delay, LIMITS.delay))
      }
      if (end === 'dead' && settings.dead_letter_queue) {
        record.handedOn = true
        counts.handedOn++
        enqueue(queueOf(settings.dead_letter_queue), { ...message, attempts: 1 }, 0)
      }
    }
    pump(queue)
  }

  /** @throws {Refused} */
  const accept = (name: string, sent: { body: string; contentType: string; delaySecs: number }[]) => {
    const queue = queueOf(name)
    const sizes = sent.map(({ body }) => Buffer.byteLength(body, 'base64'))
    const total = sizes.reduce((sum, size) => sum + size, 0)
    const refusal =
      (Math.random() < conditions.refuse && 'unavailable, on request') ||
      (sent.length > LIMITS.batch && `more than ${LIMITS.batch} messages`) ||
      (Math.max(...sizes) > LIMITS.message && `a message of more than ${LIMITS.message} bytes`) ||
      (total > LIMITS.batchBytes && `more than ${LIMITS.batchBytes} bytes`) ||
      (sent.some(({ delaySecs }) => delaySecs > LIMITS.delay) && `a delay over ${LIMITS.delay} seconds`)
    if (refusal) {
      queue.counts.refused += sent.length
      throw new Refused(refusal)
    }
    for (const { body, contentType, delaySecs } of sent) {
      enqueue(queue, { id: randomUUID(), timestamp: Date.now(), attempts: 1, contentType, body }, delaySecs)
    }
  }

  const server = createServer(async (request, response) => {
    const { url, headers } = request
    try {
      const bytes = Buffer.concat(await Array.fromAsync(request))
      const forAll = {
        contentType: String(headers['x-msg-fmt'] ?? 'v8'),
        delaySecs: Number(headers['x-msg-delay-secs'] ?? 0),
      }
      const sent =
        url === '/batch' ? JSON.parse(bytes.toString()).messages : [{ body: bytes.toString('base64') }]
      accept(
        String(headers['x-queue']),
        sent.map((message: object) => ({ ...forAll, ...message })),
      )
      const { ready } = queueOf(String(headers['x-queue']))
      const metrics = { backlogCount: ready.length, backlogBytes: 0, oldestMessageTimestamp: 0 }
      // The binding insists on them.
      response.end(JSON.stringify({ metadata: { metrics } }))
    } catch (error) {
      const cause = error instanceof Refused ? error.message : 'malformed'
      response.writeHead(400, { 'cf-queues-error-code': '10100', 'cf-queues-error-cause': cause }).end()
    }
  })
  server.keepAliveTimeout = 600_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  return {
    port: (server.address() as AddressInfo).port,
    conditions,
    messages,
    counts: () =>
      Object.fromEntries(
        [...queues].map(([name, { counts, ready }]) => [name, { ...counts, ready: ready.length }]),
      ),
    /** Puts JSON on a queue, past the binding. */
    send(queue: string, body: unknown, delaySecs = 0) {
      const text = Buffer.from(JSON.stringify(body)).toString('base64')
      accept(queue, [{ body: text, contentType: 'json', delaySecs }])
    },
    /** Delivers nothing until `resume`; what is in flight goes on. */
    pause() {
      paused = true
    },
    resume() {
      paused = false
      for (const queue of queues.values()) pump(queue)
    },
    stop() {
      paused = true
      server.close()
      server.closeAllConnections()
    },
  }
}

/** Seconds until a message comes again, undefined for the queue's own. What was said of this message counts first. */
const retryDelay = (id: string, result: QueueResult | undefined): number | undefined | 'acked' => {
  if (!result) return undefined
  if (result.explicitAcks.includes(id)) return 'acked'
  const retry = result.retryMessages.find(({ msgId }) => msgId === id)
  if (retry) return retry.delaySeconds
  if (!result.ackAll && (result.retryBatch.retry || result.outcome !== 'ok'))
    return result.retryBatch.delaySeconds
  return 'acked'
}
