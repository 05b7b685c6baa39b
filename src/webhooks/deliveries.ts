/** Delivers messages, signed by Standard Webhooks, with patience. */
import { createHmac, hkdfSync } from 'node:crypto'
import { and, eq, sql } from 'drizzle-orm'
import { Webhook } from 'standardwebhooks'
import type { JobCtx } from '../context.ts'
import { transact } from '../db/client.ts'
import { webhookDeliveries, webhookEndpoints } from '../db/schema.ts'
import { inWorkspace } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { dispatch, owe, settle } from '../outbox/outbox.ts'
import { problemOfTarget } from './targets.ts'

/** Milliseconds for an answer. */
const TIMEOUT = 10_000
/** Seconds until the next attempt, after each failed one; a fifth of each comes as jitter. */
const BACKOFF = [5, 30, 120, 600, 3600, 21_600, 64_800]
/** After so long without one success an endpoint is left alone. */
const PATIENCE = sql`interval '3 days'`

/** Signs what goes to the URLs that single jobs come with: one a workspace, made anew from ours when it is needed. */
export const signingSecretOf = (env: Env, workspaceId: string): string => {
  const key = hkdfSync('sha256', Buffer.from(env.WEBHOOK_SIGNING_KEY), '', 'webhooks', 32)
  return `whsec_${createHmac('sha256', Buffer.from(key)).update(workspaceId).digest('base64')}`
}

/** One attempt: the status that came back, or what went wrong. */
const attempt = async (env: Env, url: string, secret: string, id: string, payload: unknown) => {
  const problem = problemOfTarget(env, url)
  if (problem) return { status: null, error: `the URL ${problem}` }
  const body = JSON.stringify(payload)
  const now = new Date()
  try {
    const response = await fetch(url, {
      method: 'POST',
      redirect: 'manual',
      body,
      headers: {
        'content-type': 'application/json',
        'user-agent': 'merchant-content-api',
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign(id, now, body),
      },
      signal: AbortSignal.timeout(TIMEOUT),
    })
    // Whatever it says, nobody reads it.
    await response.body?.cancel()
    return { status: response.status, error: response.ok ? null : `answered ${response.status}` }
  } catch (error) {
    return {
      status: null,
      error: error instanceof Error && error.name === 'TimeoutError' ? 'timed out' : 'unreachable',
    }
  }
}

export const deliver = async (ctx: JobCtx, id: string): Promise<void> => {
  const isThis = and(inWorkspace(webhookDeliveries), eq(webhookDeliveries.id, id))
  const isEndpoint = and(
    eq(webhookEndpoints.workspaceId, webhookDeliveries.workspaceId),
    eq(webhookEndpoints.id, webhookDeliveries.endpointId),
  )
  const {
    rows: [row],
  } = await transact(ctx, (db) => ({
    rows: db
      .select({ delivery: webhookDeliveries, endpoint: webhookEndpoints })
      .from(webhookDeliveries)
      .leftJoin(webhookEndpoints, isEndpoint)
      .where(and(isThis, eq(webhookDeliveries.status, 'pending'))),
  }))
  if (!row || row.endpoint?.disabledAt) {
    await transact(ctx, (db) => ({ settled: settle(db, 'webhook.deliver', id) }))
    return
  }
  const { delivery, endpoint } = row
  const secret = endpoint?.secret ?? signingSecretOf(ctx.env, ctx.workspaceId)
  // An endpoint that has moved is delivered to where it is now.
  const { status, error } = await attempt(
    ctx.env,
    endpoint?.url ?? delivery.url,
    secret,
    id,
    delivery.payload,
  )
  const attempts = delivery.attempts + 1
  const wait = BACKOFF[attempts - 1]
  const isOver = error === null || wait === undefined
  const delay = Math.ceil((wait ?? 0) * (0.9 + Math.random() / 5))
  await transact(ctx, (db) => ({
    logged: db
      .update(webhookDeliveries)
      .set({
        attempts,
        responseStatus: status,
        error,
        status: error === null ? 'delivered' : isOver ? 'failed' : 'pending',
        ...(error === null && { deliveredAt: sql`now()` }),
      })
      .where(isThis),
    endpoint: db
      .update(webhookEndpoints)
      .set(
        error === null
          ? { failingSince: null }
          : {
              failingSince: sql`coalesce(${webhookEndpoints.failingSince}, now())`,
              disabledAt: sql`case when ${webhookEndpoints.failingSince} < now() - ${PATIENCE} then now() end`,
            },
      )
      .where(and(inWorkspace(webhookEndpoints), sql`${webhookEndpoints.id} = ${delivery.endpointId}::uuid`)),
    owed: isOver
      ? settle(db, 'webhook.deliver', id)
      : owe(db, 'webhook.deliver', [id], sql`make_interval(secs => ${delay + 30})`),
  }))
  if (!isOver)
    await dispatch(ctx, [{ kind: 'webhook.deliver', workspaceId: ctx.workspaceId, subjectId: id }], delay)
}
