/** The Worker under `wrangler dev`, with the local stack's settings. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type LocalServer, startServer } from './server.ts'
import { PROJECT } from './stack.ts'

/** Milliseconds. */
const HOUR = 3_600_000

/** Local cron doesn't run by itself, so it is triggered every hour. */
export async function startWorker(
  options: { port: number; dataDir: string; settings: Record<string, string> },
  signal?: AbortSignal,
): Promise<LocalServer> {
  const { port, dataDir, settings } = options
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
  const server = await startServer(
    {
      name: 'The API',
      command,
      env: { WRANGLER_SEND_METRICS: 'false' },
      port,
      health: '/health',
      // One of wrangler's own: it passes all that a request of the API does, but stays out of the log.
      probe: '/cdn-cgi/local/explorer/api',
      // wrangler starts the runtime again and says that it is ready, but may pass no request on from then.
      broken: /The Workers runtime crashed unexpectedly/,
      logPath: join(dataDir, 'worker.log'),
    },
    signal,
  )
  const cron = setInterval(() => {
    fetch(`${server.url}/cdn-cgi/local/scheduled`).catch(() => {})
  }, HOUR)
  void server.ended.then(() => clearInterval(cron))
  return server
}
