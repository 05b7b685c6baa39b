/** Keeps a service up: one that ends by itself, or no longer answers, is started again. */
import { setTimeout as delay } from 'node:timers/promises'
import { oneLine } from '../scripts/migrate.ts'

/** One run of a service. */
export interface Service {
  /** Resolves when the process is gone, by itself or stopped, with one line on how it ended. */
  ended: Promise<string>
  /** Left out where the end of the process says enough. */
  answers?(): Promise<boolean>
  stop(): Promise<void>
  /** As a crash would: at once, with everything below it. */
  kill(): Promise<void>
}

export interface Kept<S> {
  /** The run that is on, or the last one. */
  service(): S
  /** Resolves, with one line on the reason, when it ended too often in a row and is left down. */
  lost: Promise<string>
  stop(): Promise<void>
}

const RESTARTS = 3
/** Milliseconds, as all here. */
const RESTART_DELAY = 500
/** A run that lasted this long was not another failure in a row. */
const STEADY = 30_000
const PROBE_INTERVAL = 10_000
const MISSES = 3

/** `start` has to come up at the same address each time. Rejects only when the first start fails. */
export async function keepUp<S extends Service>(
  name: string,
  start: (signal: AbortSignal) => Promise<S>,
  log: (line: string) => void,
): Promise<Kept<S>> {
  const stopping = new AbortController()
  const { signal } = stopping
  const { promise: lost, resolve: lose } = Promise.withResolvers<string>()
  let service = await start(signal)
  let starting = Promise.resolve<string | undefined>(undefined)

  /** Resolves to the reason when there is no service. */
  async function restart(): Promise<string | undefined> {
    try {
      service = await start(signal)
    } catch (error) {
      return oneLine(error)
    }
    log(`${name} is up again`)
    return undefined
  }

  async function watch(): Promise<void> {
    let failures = 0
    for (;;) {
      const unstarted = await starting
      const since = Date.now()
      const why = unstarted ?? (await endOf(service, `${name} doesn't answer`))
      if (signal.aborted) return
      failures = Date.now() - since > STEADY ? 1 : failures + 1
      if (failures > RESTARTS) return lose(why)
      log(`${why}: starting it again`)
      await delay(RESTART_DELAY * failures)
      if (signal.aborted) return
      starting = restart()
    }
  }
  void watch()

  return {
    service: () => service,
    lost,
    async stop() {
      stopping.abort()
      await starting
      await service.stop()
    },
  }
}

/** A service that misses several probes in a row is killed, and ends for the reason `silent`. */
function endOf(service: Service, silent: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  let misses = 0
  const timer = setInterval(async () => {
    if (!service.answers) return
    misses = (await service.answers()) ? 0 : misses + 1
    if (misses < MISSES) return
    resolve(silent)
    await service.kill()
  }, PROBE_INTERVAL)
  void service.ended.then((why) => {
    clearInterval(timer)
    resolve(why)
  })
  return promise
}
