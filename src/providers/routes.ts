/** Providers say that a job has news: a wake-up call, never the truth, which the step asks for itself. */
import type { Context } from 'hono'
import { createRemoteJWKSet, importJWK } from 'jose'
import { Webhook } from 'standardwebhooks'
import { z } from 'zod'
import type { Env } from '../env.ts'
import { AppError, unavailable } from '../errors.ts'
import { type AppEnv, createRouter } from '../http/router.ts'
import { send } from '../outbox/outbox.ts'
import type { Operation } from '../words.ts'

const Query = z.object({ workspaceId: z.uuid(), generationId: z.uuid(), jobId: z.uuid() })

export const routes = createRouter()

/**
 * Answers at once; what is forged, altered or old (five minutes) is 401. `read` verifies, and says what the job is called;
 * what keeps it from verifying, it throws as an AppError, and the provider tells again.
 */
const wakeUp = async (
  c: Context<AppEnv>,
  read: (env: Env, body: string) => Promise<Operation | undefined>,
) => {
  const env = c.get('env')
  const query = Query.safeParse(c.req.query())
  let operation: Operation | undefined
  try {
    if (!query.success) throw new Error('not for us')
    operation = await read(env, await c.req.text())
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('unauthorized', { detail: 'The signature does not fit.', cause })
  }
  const { workspaceId, generationId, jobId } = query.data
  const told = operation && { told: { jobId, operation } }
  // Its news is owed nowhere: what the queue does not take, the provider is to tell again.
  await send(env, [{ kind: 'generation', workspaceId, subjectId: generationId, early: true, ...told }]).catch(
    (cause: unknown) => {
      throw unavailable(cause)
    },
  )
  return c.body(null, 204)
}

routes.post('/providers/replicate/webhook', (c) =>
  wakeUp(c, async (env, body) => {
    if (!env.REPLICATE_WEBHOOK_SECRET)
      throw new AppError('unauthorized', { detail: 'No webhook of Replicate is expected.' })
    new Webhook(env.REPLICATE_WEBHOOK_SECRET).verify(body, c.req.header())
    const { data } = z.object({ id: z.string() }).safeParse(JSON.parse(body))
    return data && { id: data.id }
  }),
)

/** Seconds that a signature of fal's may be old. */
const FAL_WINDOW = 300

/** `jose` keeps what it has fetched, and says when that is old; while nothing newer can be fetched, it holds. */
const falKeys = new Map<string, ReturnType<typeof createRemoteJWKSet>>()

/** Ed25519 over the ids, the time and the body's hash (fal's documentation, "Webhooks"). */
routes.post('/providers/fal/webhook', (c) =>
  wakeUp(c, async (env, body) => {
    const header = (name: string) => c.req.header(`x-fal-webhook-${name}`) ?? ''
    const [requestId, userId, timestamp] = ['request-id', 'user-id', 'timestamp'].map(header)
    if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= FAL_WINDOW)) throw new Error('too old')
    const digest = Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(body)))
    const message = new TextEncoder().encode(
      [requestId, userId, timestamp, digest.toString('hex')].join('\n'),
    )
    const keys = falKeys.get(env.FAL_JWKS_URL) ?? createRemoteJWKSet(new URL(env.FAL_JWKS_URL))
    falKeys.set(env.FAL_JWKS_URL, keys)
    const signature = Buffer.from(header('signature'), 'hex')
    const fits = async () => {
      for (const key of keys.jwks()?.keys ?? []) {
        const imported = await importJWK(key, 'EdDSA')
        if (!('type' in imported)) continue
        if (await crypto.subtle.verify('Ed25519', imported as CryptoKey, signature, message)) return true
      }
      return false
    }
    const away = (error: unknown) => {
      throw unavailable(error)
    }
    if (!keys.fresh) await keys.reload().catch((error) => keys.jwks() ?? away(error))
    if (await fits()) return undefined
    // The key may be newer than what was fetched; it is asked for again once in 30 seconds.
    if (!keys.coolingDown) await keys.reload().catch(away)
    // Its three addresses are not told: the answer to the submission has them.
    if (await fits()) return undefined
    throw new Error('no key fits')
  }),
)
