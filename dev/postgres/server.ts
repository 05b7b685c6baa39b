/** Runs the PostgreSQL server that comes with npm on one data folder. */
import type { ChildProcess } from 'node:child_process'
import { createWriteStream, existsSync, readFileSync, rmSync, type WriteStream } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { endChild, freePort, killGroup, spawnTied } from '../child.ts'
import { keepUp, type Service } from '../keep-up.ts'
import { processAt } from '../lock.ts'
import {
  type PostgresFiles,
  type PostgresOptions,
  preparePostgres,
  RESET,
  SERVER_ENVIRONMENT,
} from './files.ts'

export interface PostgresServer {
  port: number
  /** Where its data is: below `dataDir`, or elsewhere if the server's user can't go there. */
  data: string
  /** Resolves, with one line on the reason, when it is down for good. */
  lost: Promise<string>
  /** Fast shutdown; resolves when the process is gone. */
  stop(): Promise<void>
}

/** Milliseconds. */
const STOP_WAIT = 10_000
const START_ATTEMPTS = 5
const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'max_connections=50',
  'shared_buffers=64MB',
  'timezone=UTC',
  // Fewer processes; nothing here needs them.
  'io_method=sync',
  'max_logical_replication_workers=0',
]
const THROW_AWAY_SETTINGS = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']

/** Comes up on a free port of 127.0.0.1, on new or existing data, and stays there. Errors have a message of one line. */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const files = await preparePostgres(options)
  await stopOrphan(files.data)
  const logFile = createWriteStream(join(options.dataDir, 'postgres.log')).on('error', () => {})
  const settings = options.durable ? SETTINGS : [...SETTINGS, ...THROW_AWAY_SETTINGS]
  const launch = (port: number) => launchOnce(files, port, settings, logFile)
  let port: number | undefined
  const start = async () => {
    const run = await launchPatiently(files.data, launch, port)
    port = run.port
    return run
  }
  const kept = await keepUp('PostgreSQL', start, options.log)
  return {
    port: kept.service().port,
    data: files.data,
    lost: kept.lost,
    async stop() {
      await kept.stop()
      logFile.end()
    },
  }
}

async function launchPatiently(
  data: string,
  launch: (port: number) => Promise<Service | string>,
  fixedPort: number | undefined,
): Promise<Service & { port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = fixedPort ?? (await freePort())
    const outcome = await launch(port)
    if (typeof outcome !== 'string') return { ...outcome, port }
    // The port was taken meanwhile, or children of a killed server are still on their way out.
    const passing = /could not create any TCP|shared memory block .* is still in use/.test(outcome)
    if (!passing || attempt === START_ATTEMPTS) {
      throw new Error(`PostgreSQL doesn't start on ${data}: ${outcome}: ${RESET}`)
    }
    await delay(200 * attempt)
  }
}

/** Resolves to the running server, or to the reason why there is none. */
function launchOnce(
  { postgres, data, account }: PostgresFiles,
  port: number,
  settings: string[],
  logFile: WriteStream,
): Promise<Service | string> {
  const command = [postgres, '-D', data, '-p', String(port), ...settings.flatMap((pair) => ['-c', pair])]
  const child = spawnTied(command, { ...account, cwd: data, env: SERVER_ENVIRONMENT }, 'ignore')
  const { promise, resolve } = Promise.withResolvers<Service | string>()
  let output = ''
  let ready = false
  child.stderr?.on('data', (chunk: Buffer) => {
    logFile.write(chunk)
    if (ready) return
    output += chunk
    ready = output.includes('ready to accept connections')
    if (ready) resolve(serviceOf(child, logFile))
  })
  child.once('error', (error) => resolve(error.message))
  child.once('close', (code, signal) => {
    const lines = output.trim().split('\n')
    const fatal = lines.findLast((line) => /FATAL|PANIC/.test(line))?.replace(/^.*?(FATAL|PANIC):\s*/, '')
    resolve(fatal ?? (lines.at(-1) || `it ended with ${signal ?? code}`))
  })
  return promise
}

function serviceOf(child: ChildProcess, { path }: WriteStream): Service {
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => resolve(`PostgreSQL ended (${signal ?? code}), see ${path}`))
  })
  return {
    ended,
    stop: () => endChild(child, STOP_WAIT, 'SIGQUIT'),
    async kill() {
      killGroup(child)
      await ended
    },
  }
}

/** Ends a server that outlived its stack, and removes the lock that a killed one left. */
async function stopOrphan(data: string): Promise<void> {
  const lock = join(data, 'postmaster.pid')
  if (!existsSync(lock)) return
  const pid = Number.parseInt(readFileSync(lock, 'utf8'), 10)
  const started = Date.now()
  // The number alone proves nothing: it may be another process's by now.
  while (processAt(pid)?.command.includes(`-D ${data} `)) {
    const waited = Date.now() - started
    if (waited > 2 * STOP_WAIT)
      throw new Error(`an old PostgreSQL on ${data} doesn't end: stop process ${pid}`)
    process.kill(pid, waited > STOP_WAIT ? 'SIGQUIT' : 'SIGINT')
    await delay(50)
  }
  rmSync(lock, { force: true })
}
