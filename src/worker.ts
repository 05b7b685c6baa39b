/** The Worker's entry points: what only messages and cron need is loaded with the first of them. */
import { app } from './app.ts'
import { log } from './context.ts'
import { MisconfiguredError, parseEnv, type RawEnv } from './env.ts'

export { Hasher } from './auth/hasher.ts'
export { Feed } from './events/feed.ts'
export { RateLimiter } from './limits/limiter.ts'
export { Sweeper } from './outbox/sweeper.ts'
export { Breaker } from './providers/breaker.ts'

export default {
  fetch: app.fetch,

  async queue(batch, raw, executionContext) {
    try {
      const { consume } = await import('./consumer.ts')
      await consume(batch, parseEnv(raw), (work) => executionContext.waitUntil(work))
    } catch (error) {
      if (!(error instanceof MisconfiguredError)) throw error
      log({ level: 'error', message: 'misconfigured', settings: error.message })
      batch.retryAll({ delaySeconds: 60 })
    }
  },

  /** Whatever the sweeper was not told of: it knows nothing that cron must know. */
  async scheduled(controller, raw) {
    const env = parseEnv(raw)
    const [{ sweepOutbox }, { sweeperOf }, { keepUp }] = await Promise.all([
      import('./outbox/outbox.ts'),
      import('./outbox/use.ts'),
      import('./upkeep.ts'),
    ])
    const id = `cron-${controller.scheduledTime}`
    // The invocation ends with what it throws: nothing may be cut off by another's failure.
    const results = await Promise.allSettled([
      sweepOutbox(env, id).then((dueIn) => sweeperOf(env).noteSweep(dueIn)),
      keepUp(env, id),
    ])
    const faults = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    if (faults.length > 0) throw new AggregateError(faults, 'cron failed')
  },
} satisfies ExportedHandler<RawEnv>
