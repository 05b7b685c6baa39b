/** Replicate says that a prediction has finished: a wake-up call, never the truth, which the job asks for itself. */
import { Webhook } from 'standardwebhooks'
import { z } from 'zod'
import { systemContext } from '../context.ts'
import { AppError } from '../errors.ts'
import { createRouter } from '../http/router.ts'
import { dispatch } from '../outbox/outbox.ts'

const Query = z.object({ workspaceId: z.uuid(), generationId: z.uuid() })

export const routes = createRouter()

/** Answers at once; forged, altered or old ones (five minutes) are 401. */
routes.post('/providers/replicate/webhook', async (c) => {
  const { env, requestId } = c.var
  const query = Query.safeParse(c.req.query())
  try {
    if (!env.REPLICATE_WEBHOOK_SECRET || !query.success) throw new Error('not for us')
    new Webhook(env.REPLICATE_WEBHOOK_SECRET).verify(await c.req.text(), c.req.header())
  } catch (cause) {
    throw new AppError('unauthorized', { detail: 'The signature does not fit.', cause })
  }
  const { workspaceId, generationId } = query.data
  await dispatch(systemContext(env, { id: requestId }), [
    { kind: 'generation', workspaceId, subjectId: generationId, early: true },
  ])
  return c.body(null, 204)
})
