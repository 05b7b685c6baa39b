/** One `workerd serve`, killed and started again at any moment: its log, exceptions, processor time and memory. */
import { once } from 'node:events'
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { spawnTied } from '../child.ts'
import { PROJECT } from '../stack.ts'

interface Exception {
  process: string
  name: string
  message: string
  stack?: string
  /** The request, queue or cron that it happened in. */
  at: string
}

/** Messages of the log that can be asked for. */
const KEPT = 20_000

/** Linux counts processor time in these. */
const TICKS_PER_SECOND = 100

export type Workerd = ReturnType<typeof createWorkerd>

/** Not started yet. With a debug port other processes can reach its Durable Objects. */
export const createWorkerd = (options: {
  name: string
  directory: string
  config: string
  debugPort?: boolean
  /** With V8's inspector, for `heap`. */
  inspect?: boolean
}) => {
  const { name, directory } = options
  const sockets = ['api', 'harness', ...(options.debugPort ? ['debug-port'] : [])]
  const configPath = join(directory, 'config.capnp')
  const logPath = join(directory, 'log')
  mkdirSync(directory, { recursive: true })
  writeFileSync(configPath, options.config, { mode: 0o600 })
  const log = createWriteStream(logPath)
  const exceptions: Exception[] = []
  const messages: string[] = []
  const command = [
    join(PROJECT, 'node_modules/workerd/bin/workerd'),
    ...['serve', configPath, '--experimental', '--import-path=/', '--control-fd=1'],
    ...(options.debugPort ? ['--debug-port=127.0.0.1:0'] : []),
    ...(options.inspect ? ['--inspector-addr=127.0.0.1:0'] : []),
  ]
  let ports: Record<string, number> = {}
  let running: { pid: number; ended: Promise<void> } | undefined

  const read = (line: string) => {
    log.write(`${line}\n`)
    const entry = parse(line)
    if (entry.event === 'listen') ports[entry.socket] = entry.port
    if (entry.event === 'listen-inspector') ports.inspector = entry.port
    if (typeof entry.message === 'string') messages.push(entry.message)
    if (messages.length >= 2 * KEPT) messages.splice(0, KEPT)
    // A line of the harness.
    if (String(entry.message).startsWith('{"exception":')) {
      exceptions.push({ process: name, ...JSON.parse(entry.message).exception })
    }
  }
  /** As a crash would: at once. */
  const kill = async () => {
    if (!running) return
    process.kill(running.pid, 'SIGKILL')
    await running.ended
  }

  return {
    name,
    logPath,
    exceptions,
    /** The newest of what the Worker has logged that contains `text`. */
    logged: (text: string) => messages.findLast((message) => message.includes(text)),
    /** 0, which accepts nothing, while it doesn't run. */
    port: (socket: 'api' | 'debug-port') => ports[socket] ?? 0,
    /** Past the balancer. */
    url: () => `http://127.0.0.1:${ports.api ?? 0}`,
    runs: () => running !== undefined,
    /** Serves when it resolves. */
    async start(): Promise<void> {
      if (running) return
      const child = spawnTied(command, { cwd: PROJECT }, 'pipe')
      const ended = new Promise<void>((resolve) => child.once('close', () => resolve())).then(() => {
        running = undefined
        ports = {}
      })
      running = { pid: child.pid ?? 0, ended }
      const listening = new Promise<void>((resolve) => {
        for (const input of [child.stdout, child.stderr]) {
          if (!input) continue
          createInterface({ input }).on('line', (line) => {
            read(line)
            if (sockets.every((socket) => ports[socket])) resolve()
          })
        }
      })
      await Promise.race([listening, ended])
      if (!running) throw new Error(`${name} doesn't start, see ${logPath}`)
    },
    kill,
    async stop(): Promise<void> {
      await kill()
      log.end()
    },
    /** Processor seconds, user and system, since its start, and resident bytes. Linux only. */
    usage() {
      const stat = readFileSync(`/proc/${running?.pid}/stat`, 'utf8')
      const resident = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${running?.pid}/status`, 'utf8'))?.[1]
      // From the third field on; the second may contain blanks.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return {
        cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
        rssBytes: Number(resident) * 1024,
      }
    },
    /** Asks the Worker's isolate for its memory again and again, until `stop` tells the most there was, in bytes. */
    async watchHeap(every: number) {
      const socket = new WebSocket(`ws://127.0.0.1:${ports.inspector ?? 0}/worker`)
      await once(socket, 'open')
      const most = { heap: 0, buffers: 0, both: 0 }
      socket.addEventListener('message', ({ data }) => {
        const { usedSize = 0, backingStorageSize = 0 } = JSON.parse(String(data)).result ?? {}
        most.heap = Math.max(most.heap, usedSize)
        most.buffers = Math.max(most.buffers, backingStorageSize)
        most.both = Math.max(most.both, usedSize + backingStorageSize)
      })
      let id = 0
      const ask = () => socket.send(JSON.stringify({ id: ++id, method: 'Runtime.getHeapUsage' }))
      const timer = setInterval(ask, every)
      return {
        stop() {
          clearInterval(timer)
          socket.close()
          return most
        },
      }
    },
    /** Hands an event to the harness; rejects when the process dies meanwhile, or after five minutes. */
    async event<T>(path: '/queue' | '/scheduled' | '/object', body: object): Promise<T> {
      const url = `http://127.0.0.1:${ports.harness ?? 0}${path}`
      const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) })
      if (!response.ok) throw new Error(`${name} ${path}: ${await response.text()}`)
      // What the harness had from the runtime.
      return (await response.json()) as T
    },
  }
}

/** Structured logging is JSON; other lines, or one that a kill cut off, are nothing. */
const parse = (line: string) => {
  try {
    return JSON.parse(line)
  } catch {
    return {}
  }
}
