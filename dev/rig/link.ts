/** A raw TCP proxy: half-closes, resets and hang-ups pass as they are; distance and faults on request. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

interface Fault {
  kind: 'reset' | 'hang' | 'slow'
  /** What it affects. When that is the answer, the work was done. */
  of: 'request' | 'answer'
  /** Bytes that pass before the reset or the silence; 0 when not given. */
  after?: number
  /** For `slow`. */
  bytesPerSecond?: number
  /** Only requests that contain this text; a fault of the request itself knows only the first packet. */
  match?: string
  /** How many exchanges it affects; all when not given. */
  times?: number
}

export interface Link {
  port: number
  origin: string
  /** Milliseconds that the distance adds to a round trip. */
  delay(ms: number): void
  /** Adds a fault; the answer counts the exchanges that it affected. */
  fault(fault: Fault): { hits: number }
  /** Removes all faults. */
  clearFaults(): void
  /** Tells `listener` of each request, as far as `match` looks at it, when its answer begins. */
  watch(listener: ((request: string) => void) | undefined): void
  /** Refuses connections and resets those that are open. Safe to call twice, like `start`. */
  stop(): Promise<void>
  start(): Promise<void>
}

type Direction = Fault['of']
type ActiveFault = Fault & { hits: number }

interface Conditions {
  delay: number
  takeFault(of: Direction, request: string): ActiveFault | undefined
  watcher?: ((request: string) => void) | undefined
  rename?: { from: Buffer; to: Buffer } | undefined
}

/** As much of a request as `match` looks at. */
const MATCHED = 65_536

/**
 * Listens on 127.0.0.1. A connection goes to the first of `targets()` that accepts it. `rename` replaces text in
 * answers by another of the same length: a server behind the link that tells its own address names the link's.
 */
export const startLink = async (
  targets: () => number[],
  rename?: (own: string) => { from: string; to: string },
): Promise<Link> => {
  const sockets = new Set<Socket>()
  let faults: ActiveFault[] = []
  const conditions: Conditions = {
    delay: 0,
    takeFault(of, request) {
      const found = faults.find(
        (fault) =>
          fault.of === of &&
          fault.hits < (fault.times ?? Number.POSITIVE_INFINITY) &&
          request.includes(fault.match ?? ''),
      )
      if (found) found.hits++
      return found
    },
  }
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.setNoDelay(true).on('close', () => sockets.delete(socket))
  }
  const server = createServer({ allowHalfOpen: true }, (client) => {
    keep(client)
    // Heard from the start; `relay` does the rest.
    client.on('error', () => undefined)
    void dial(targets()).then((upstream) => {
      if (!upstream || client.destroyed) {
        client.resetAndDestroy()
        upstream?.destroy()
        return
      }
      keep(upstream)
      relay(client, upstream, conditions)
    })
  })
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', resolve)
    })
  await listen(0)
  const { port } = server.address() as AddressInfo
  const origin = `http://127.0.0.1:${port}`
  const names = rename?.(origin)
  if (names) {
    if (names.from.length !== names.to.length)
      throw new Error(`${names.from} and ${names.to} differ in length`)
    conditions.rename = { from: Buffer.from(names.from), to: Buffer.from(names.to) }
  }
  return {
    port,
    origin,
    delay(ms) {
      conditions.delay = ms
    },
    fault(wanted) {
      const fault = { ...wanted, hits: 0 }
      faults.push(fault)
      return fault
    },
    clearFaults() {
      faults = []
    },
    watch(listener) {
      conditions.watcher = listener
    },
    async stop() {
      if (!server.listening) return
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.resetAndDestroy()
      await closed
    },
    async start() {
      if (!server.listening) await listen(port)
    },
  }
}

const dial = async (ports: number[]): Promise<Socket | undefined> => {
  for (const port of ports) {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const connected = await new Promise<boolean>((resolve) => {
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    })
    if (connected) return socket
  }
  return undefined
}

/** HTTP/1.1 without pipelining: what the client says after an answer is the next request. */
const relay = (client: Socket, upstream: Socket, conditions: Conditions): void => {
  let request = ''
  let phase: Direction = 'answer'
  const reset = () => {
    client.resetAndDestroy()
    upstream.resetAndDestroy()
  }

  const pass = (from: Socket, to: Socket, of: Direction) => {
    const delayed = createDelayLine()
    let fault: ActiveFault | undefined
    let passed = 0
    let holds = 0
    const hold = () => {
      holds++
      from.pause()
      return () => {
        if (--holds === 0) from.resume()
      }
    }
    const send = (chunk: Buffer) => {
      if (!to.write(chunk) && to.listenerCount('drain') === 0) to.once('drain', hold())
    }
    from.on('data', (chunk: Buffer) => {
      if (of === 'request' && phase === 'answer') request = ''
      if (of === 'request' && request.length < MATCHED) request += chunk.toString('latin1')
      if (phase !== of) {
        phase = of
        passed = 0
        fault = conditions.takeFault(of, request)
        if (of === 'answer') conditions.watcher?.(Buffer.from(request, 'latin1').toString())
      }
      const left = fault && fault.kind !== 'slow' ? (fault.after ?? 0) - passed : chunk.length
      passed += chunk.length
      if (conditions.rename && of === 'answer') replace(chunk, conditions.rename)
      const part = chunk.subarray(0, Math.max(0, left))
      if (part.length > 0) delayed(conditions.delay / 2, () => send(part))
      if (fault?.kind === 'slow') setTimeout(hold(), (chunk.length / (fault.bytesPerSecond ?? 1)) * 1000)
      if (fault?.kind === 'reset' && part.length < chunk.length)
        delayed(conditions.delay / 2, () => to.write('', reset))
    })
    from.on('end', () => {
      if (fault?.kind !== 'hang') delayed(conditions.delay / 2, () => to.end())
      // Who waited in vain has given up.
      else if (of === 'request' || to.readableEnded) reset()
    })
    from.on('error', () => to.resetAndDestroy())
  }
  pass(client, upstream, 'request')
  pass(upstream, client, 'answer')
}

/** Lets what enters leave in the same order, each after its time; without any at once. */
const createDelayLine = () => {
  let last = Promise.resolve()
  let under = 0
  return (ms: number, arrive: () => void): void => {
    if (ms === 0 && under === 0) {
      arrive()
      return
    }
    const due = performance.now() + ms
    under++
    last = last
      .then(() => (due > performance.now() ? sleep(due - performance.now()) : undefined))
      .then(() => {
        under--
        arrive()
      })
  }
}

const replace = (chunk: Buffer, { from, to }: { from: Buffer; to: Buffer }): void => {
  for (let at = chunk.indexOf(from); at >= 0; at = chunk.indexOf(from, at + to.length)) to.copy(chunk, at)
}
