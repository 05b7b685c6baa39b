/** Tells the sweeper that the database is in use, so that it looks for what may be owed. */
import { log, type WaitUntil } from '../context.ts'
import { type Env, objectOf } from '../env.ts'
import { describeError } from '../errors.ts'

/** Milliseconds for which an isolate that has told it does not tell it again. */
export const SILENCE = 30_000

export const sweeperOf = (env: Env) => objectOf(env, env.SWEEPER, 'sweeper')

let toldAt = 0

/**
 * Called before a request to the database and never waited for: whoever dies right after a commit has told by then. What
 * can't be told now is told with the next request, and else found by cron.
 */
export const tellOfUse = (env: Env, waitUntil: WaitUntil): void => {
  const now = Date.now()
  if (now - toldAt < SILENCE) return
  toldAt = now
  const tell = async () => sweeperOf(env).noteUse()
  waitUntil(
    // A deployment that replaces the object costs the first try.
    tell()
      .catch(tell)
      .catch((error: unknown) => {
        toldAt = 0
        log({ level: 'warn', message: 'sweeper unreachable', error: describeError(error) })
      }),
  )
}
