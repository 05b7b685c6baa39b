/** The Worker's entry points. */
import { app } from './app.ts'
import { writeCheckpoints } from './audit/checkpoints.ts'
import { consume } from './consumer.ts'
import { log } from './context.ts'
import { MisconfiguredError, parseEnv, type RawEnv } from './env.ts'
import { send, sweepOutbox } from './outbox/outbox.ts'
import { prune } from './retention.ts'

export { Feed } from './events/feed.ts'
export { RateLimiter } from './limits/limiter.ts'
export { Breaker } from './providers/breaker.ts'

export default {
  fetch: app.fetch,

  async queue(batch, raw) {
    try {
      await consume(batch, parseEnv(raw))
    } catch (error) {
      if (!(error instanceof MisconfiguredError)) throw error
      log({ level: 'error', message: 'misconfigured', settings: error.message })
      batch.retryAll({ delaySeconds: 60 })
    }
  },

  async scheduled(controller, raw) {
    const env = parseEnv(raw)
    const id = `cron-${controller.scheduledTime}`
    // The invocation ends with what it throws: nothing may be cut off by another's failure.
    const results = await Promise.allSettled([
      sweepOutbox(env, id),
      ...[15, 30, 45].map((delaySeconds) => send(env, [{ kind: 'sweep' }], delaySeconds)),
      writeCheckpoints(env, id),
      prune(env, id),
    ])
    const faults = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
    if (faults.length > 0) throw new AggregateError(faults, 'cron failed')
  },
} satisfies ExportedHandler<RawEnv>
