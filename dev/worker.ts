/** The Worker under `wrangler dev`, as its own process, with the local stack's settings. */
import { createWriteStream, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { endChild, spawnTied } from './child.ts'
import { PROJECT } from './stack.ts'

export interface LocalWorker {
  url: string
  logPath: string
  /** Process group of everything that belongs to it. */
  group: number
  /** Resolves when the process is gone, by itself or stopped. */
  ended: Promise<void>
  stop(): Promise<void>
  /** As a crash would: at once, with everything below it. */
  kill(): Promise<void>
}

const START_WAIT_MS = 60_000
const STOP_WAIT_MS = 10_000
const CRON_MS = 60_000

/** Ready to serve when it resolves. Local cron doesn't run by itself, so it is triggered every minute. */
export async function startWorker(options: {
  port: number
  dataDir: string
  settings: Record<string, string>
}): Promise<LocalWorker> {
  const { port, dataDir, settings } = options
  const url = `http://127.0.0.1:${port}`
  const logPath = join(dataDir, 'worker.log')
  const settingsPath = join(dataDir, 'worker.env')
  const lines = Object.entries(settings).map(([name, value]) => `${name}='${value}'`)
  writeFileSync(settingsPath, `${lines.join('\n')}\n`, { mode: 0o600 })
  const command = [
    process.execPath,
    join(PROJECT, 'node_modules/wrangler/bin/wrangler.js'),
    'dev',
    ...['--ip', '127.0.0.1', '--port', String(port), '--inspector-port', '0'],
    ...['--env-file', settingsPath, '--persist-to', join(dataDir, 'wrangler')],
    ...['--show-interactive-dev-session', 'false'],
  ]
  const child = spawnTied(
    command,
    { cwd: PROJECT, env: { ...process.env, WRANGLER_SEND_METRICS: 'false' } },
    'pipe',
  )
  const log = createWriteStream(logPath)
  child.stdout?.pipe(log, { end: false })
  child.stderr?.pipe(log, { end: false })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const stop = () => endChild(child, STOP_WAIT_MS, 'SIGKILL')
  const kill = () => {
    if (child.pid) process.kill(-child.pid, 'SIGKILL')
    return ended
  }

  const deadline = Date.now() + START_WAIT_MS
  while (!(await answers(`${url}/health`))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop()
      throw new Error(`the Worker doesn't start, see ${logPath}`)
    }
    await delay(100)
  }
  const cron = setInterval(() => void answers(`${url}/cdn-cgi/local/scheduled`), CRON_MS)
  void ended.then(() => clearInterval(cron))
  return { url, logPath, group: child.pid ?? 0, ended, stop, kill }
}

const answers = (url: string) =>
  fetch(url).then(
    (response) => response.ok,
    () => false,
  )
