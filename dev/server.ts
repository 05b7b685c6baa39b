/** A program that serves HTTP on a port of 127.0.0.1, as a process of its own that writes a log. */
import { createWriteStream } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { endChild, isFree, killGroup, spawnTied } from './child.ts'
import type { Service } from './keep-up.ts'
import { PROJECT } from './stack.ts'

export interface LocalServer extends Service {
  url: string
  logPath: string
  /** Process group of everything that belongs to it. */
  group: number
}

/** Milliseconds, as all here. */
const START_WAIT = 60_000
const START_PROBE_TIMEOUT = 5_000
const STOP_WAIT = 10_000
// Long, for a Worker at work may be silent for half a minute: hundreds of passwords at once, on a busy machine.
const PROBE_TIMEOUT = 60_000

/** Serves when it resolves. What an earlier run wrote into the log stays there. */
export async function startServer(
  options: {
    /** Begins a sentence. */
    name: string
    command: string[]
    env?: Record<string, string | undefined>
    port: number
    /** The path whose 200 says that it is up. */
    health: string
    /** The path any answer to which says that it still is. */
    probe: string
    /** What it writes when it is broken though it goes on: it is killed then. */
    broken?: RegExp
    logPath: string
  },
  signal?: AbortSignal,
): Promise<LocalServer> {
  const { name, port, logPath } = options
  const url = `http://127.0.0.1:${port}`
  const deadline = Date.now() + START_WAIT
  // An earlier run that was killed may need a moment to let go of it.
  while (!(await isFree(port))) {
    if (signal?.aborted || Date.now() > deadline) throw new Error(`port ${port} is in use`)
    await delay(50)
  }
  const child = spawnTied(options.command, { cwd: PROJECT, env: { ...process.env, ...options.env } }, 'pipe')
  const log = createWriteStream(logPath, { flags: 'a' })
  for (const output of [child.stdout, child.stderr]) {
    output?.pipe(log, { end: false })
    output?.on('data', (chunk: Buffer) => {
      if (options.broken?.test(chunk.toString())) killGroup(child)
    })
  }
  child.once('close', () => log.end())
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, killer) => resolve(`${name} ended (${killer ?? code}), see ${logPath}`))
  })
  /** The status of the answer, or 0 for none. */
  const ask = async (path: string, timeout: number) => {
    try {
      const response = await fetch(url + path, { signal: AbortSignal.timeout(timeout) })
      await response.body?.cancel()
      return response.status
    } catch {
      return 0
    }
  }
  const stop = () => endChild(child, STOP_WAIT, 'SIGKILL')
  const kill = async () => {
    killGroup(child)
    await ended
  }

  while ((await ask(options.health, START_PROBE_TIMEOUT)) !== 200) {
    if (child.exitCode !== null || child.signalCode !== null || signal?.aborted || Date.now() > deadline) {
      await stop()
      throw new Error(`${name} doesn't start, see ${logPath}`)
    }
    await delay(100)
  }
  const answers = async () => (await ask(options.probe, PROBE_TIMEOUT)) > 0
  return { url, logPath, group: child.pid ?? 0, ended, answers, stop, kill }
}
