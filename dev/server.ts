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

const START_WAIT_MS = 60_000
const STOP_WAIT_MS = 10_000
const PROBE_PATIENCE_MS = 5_000

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
    /** The path that is asked every few seconds, any answer to which says that it still is. */
    probe: string
    logPath: string
  },
  signal?: AbortSignal,
): Promise<LocalServer> {
  const { name, port, logPath } = options
  const url = `http://127.0.0.1:${port}`
  const deadline = Date.now() + START_WAIT_MS
  // An earlier run that was killed may need a moment to let go of it.
  while (!(await isFree(port))) {
    if (signal?.aborted || Date.now() > deadline) throw new Error(`port ${port} is in use`)
    await delay(50)
  }
  const child = spawnTied(options.command, { cwd: PROJECT, env: { ...process.env, ...options.env } }, 'pipe')
  const log = createWriteStream(logPath, { flags: 'a' })
  for (const output of [child.stdout, child.stderr]) output?.pipe(log, { end: false })
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, killer) => resolve(`${name} ended (${killer ?? code}), see ${logPath}`))
  })
  const ask = async (path: string) => {
    const response = await fetch(url + path, { signal: AbortSignal.timeout(PROBE_PATIENCE_MS) })
    await response.body?.cancel()
    return response
  }
  const isUp = () =>
    ask(options.health).then(
      ({ ok }) => ok,
      () => false,
    )
  const answers = () =>
    ask(options.probe).then(
      () => true,
      () => false,
    )
  const stop = () => endChild(child, STOP_WAIT_MS, 'SIGKILL')
  const kill = async () => {
    killGroup(child)
    await ended
  }

  while (!(await isUp())) {
    if (child.exitCode !== null || child.signalCode !== null || signal?.aborted || Date.now() > deadline) {
      await stop()
      throw new Error(`${name} doesn't start, see ${logPath}`)
    }
    await delay(100)
  }
  return { url, logPath, group: child.pid ?? 0, ended, answers, stop, kill }
}
