/** Delivers messages by Standard Webhooks: signed, and sent again with backoff until they are taken. */
import { createHmac, hkdfSync } from 'node:crypto'
import { and, eq, getTableColumns, gt, isNotNull, isNull, lte, not, or, sql } from 'drizzle-orm'
import { Webhook } from 'standardwebhooks'
import type { Ctx, JobCtx } from '../context.ts'
import { authorize, type Database, ensure, transact } from '../db/client.ts'
import { webhookDeliveries, webhookEndpoints } from '../db/schema.ts'
import { exists, inWorkspace } from '../db/sql.ts'
import type { Env } from '../env.ts'
import { dispatch, owe, settle } from '../outbox/outbox.ts'
import { type Delivery, type Endpoint, heard, isItsEndpoint, well } from './endpoints.ts'
import { admitsHost, reportHost } from './hosts.ts'
import { problemOfTarget } from './targets.ts'

/** Milliseconds until an answer. */
const TIMEOUT = 10_000
/** Longer than an attempt and its record usually take, ten seconds each, and over by the time the outbox sends again (`RESEND_DELAY`). */
const LEASE = sql`interval '25 seconds'`
/** Seconds until the next attempt, after each failed one; jitter makes it a tenth more or less. */
const BACKOFF = [5, 30, 120, 600, 3600, 21_600, 64_800]
/** An endpoint that has failed for this long is disabled. */
const MAX_FAILING = sql`interval '3 days'`
/** An endpoint that did not answer in time so often in a row is tried once in a while only, so that it holds up nobody. */
const MAX_SILENT = 5
const QUIET = sql`interval '1 minute'`
/** The status by which a receiver says that it wants no more (Standard Webhooks). */
const GONE = 410

/** What came of one attempt. */
interface Outcome {
  /** Null when nothing answered. */
  status: number | null
  /** Null when the message was taken. */
  error: string | null
  /** Why nothing answered, if the target itself is to blame, or was not asked at all. */
  silence?: 'timed out' | 'put off'
}

/** What counts as a failed attempt, so that the delivery comes again when that would, and ends when that would. */
const PUT_OFF: Outcome = {
  status: null,
  error: 'put off: its target has not answered lately',
  silence: 'put off',
}

/** Signs what goes to the URLs of single generations: one secret per workspace, derived whenever it is needed. */
const signingSecretOf = (env: Env, workspaceId: string): string => {
  const key = hkdfSync('sha256', Buffer.from(env.WEBHOOK_SIGNING_KEY), '', 'webhooks', 32)
  return `whsec_${createHmac('sha256', Buffer.from(key)).update(workspaceId).digest('base64')}`
}

export const getSigningSecret = async (ctx: Ctx): Promise<string> => {
  const { gate } = await authorize(ctx)
  return signingSecretOf(ctx.env, gate.workspaceId)
}

const attempt = async (
  env: Env,
  url: string,
  secret: string,
  { id, payload }: Delivery,
): Promise<Outcome> => {
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
    // Only the status matters.
    await response.body?.cancel()
    return { status: response.status, error: response.ok ? null : `answered ${response.status}` }
  } catch (error) {
    const timedOut = error instanceof Error && error.name === 'TimeoutError'
    return timedOut
      ? { status: null, error: 'timed out', silence: 'timed out' }
      : { status: null, error: 'unreachable' }
  }
}

const onePending = (id: string) =>
  and(inWorkspace(webhookDeliveries), eq(webhookDeliveries.id, id), eq(webhookDeliveries.status, 'pending'))

/** Whether its next attempt is due; a message that waits in a queue counts whole seconds. */
const isDue = or(
  isNull(webhookDeliveries.nextAttemptAt),
  lte(webhookDeliveries.nextAttemptAt, sql`now() + interval '1 second'`),
)

/** A delivery, ours for one attempt. */
interface Claim {
  delivery: Delivery
  /** Undefined for a generation's own URL. */
  endpoint?: Endpoint | undefined
  url: string
  /** When it ends; another's ends at another moment. */
  lease: string
  /** The endpoint is quiet, and this is the one delivery by which it is tried now. */
  isTrial: boolean
}

/**
 * Takes a delivery that is due, for one attempt: to whoever comes meanwhile it is not due. What breaks off is due again
 * with the lease's end, and made once more, since nobody knows how far it came.
 * @returns undefined if there is nothing to do, or somebody else has it
 */
const claim = async (ctx: JobCtx, id: string): Promise<Claim | undefined> => {
  const end = sql`now() + ${LEASE}`
  const isClaimed = and(onePending(id), eq(webhookDeliveries.nextAttemptAt, end))
  const { claimed, trials, endpoints } = await transact(ctx, (db) => ({
    claimed: db
      .update(webhookDeliveries)
      .set({ nextAttemptAt: end })
      .where(and(onePending(id), isDue))
      .returning({
        ...getTableColumns(webhookDeliveries),
        lease: sql<string>`${webhookDeliveries.nextAttemptAt}::text`,
      }),
    trials: db
      .update(webhookEndpoints)
      .set({ quietUntil: sql`now() + ${QUIET}` })
      .where(
        and(
          inWorkspace(webhookEndpoints),
          lte(webhookEndpoints.quietUntil, sql`now()`),
          isNull(webhookEndpoints.disabledAt),
          exists(webhookDeliveries, and(isItsEndpoint, isClaimed)),
        ),
      )
      .returning({ id: webhookEndpoints.id }),
    endpoints: db
      .select()
      .from(webhookEndpoints)
      .where(and(inWorkspace(webhookEndpoints), exists(webhookDeliveries, and(isItsEndpoint, isClaimed)))),
  }))
  const [row] = claimed
  if (!row) return undefined
  const { lease, ...delivery } = row
  const [endpoint] = endpoints
  // The endpoint's URL may have changed since.
  return { delivery, endpoint, url: endpoint?.url ?? delivery.url, lease, isTrial: trials.length > 0 }
}

/** SQL: nobody has taken it since, nor is it to be sent again. */
const isHeldBy = ({ delivery, lease }: Claim) =>
  and(onePending(delivery.id), sql`${webhookDeliveries.nextAttemptAt} = ${lease}::timestamptz`)

/** The delivery is over, so nothing of it is owed, unless it was asked for again meanwhile. */
const settleIfOver = (db: Database, id: string) =>
  settle(db, 'webhook.deliver', id, not(exists(webhookDeliveries, onePending(id))))

/** What an attempt says of its endpoint, and when that is anything new: otherwise its row is left alone. */
const verdictOf = ({ status, error, silence }: Outcome) => {
  const { failingSince, silentAttempts, disabledAt } = webhookEndpoints
  if (error === null) return { set: well, differs: isNotNull(failingSince) }
  const isHopeless = sql`(${status === GONE} or ${failingSince} < now() - ${MAX_FAILING})`
  const silent = {
    silentAttempts: sql`${silentAttempts} + 1`,
    quietUntil: sql`case when ${silentAttempts} + 1 >= ${MAX_SILENT} then now() + ${QUIET} end`,
  }
  const isNews = {
    'timed out': sql`true`,
    'put off': sql`false`,
    answered: or(isNull(failingSince), gt(silentAttempts, 0), and(isNull(disabledAt), isHopeless)),
  }
  return {
    set: {
      failingSince: sql`coalesce(${failingSince}, now())`,
      // An admin may have disabled it during the attempt, and then it stays so.
      disabledAt: sql`coalesce(${disabledAt}, case when ${isHopeless} then now() end)`,
      ...(silence ? silent : heard),
    },
    differs: isNews[silence ?? 'answered'],
  }
}

/**
 * Stores the outcome for the delivery and its endpoint, and has the message sent again if it was not taken. Other
 * changes of the workspace need not wait for it: it locks the one delivery, then the endpoint if that changes.
 * @throws {AppError} already_finished, if it is somebody else's by now, as when it is to be sent again, or was removed
 */
const record = async (ctx: JobCtx, ours: Claim, outcome: Outcome): Promise<void> => {
  const { delivery, url } = ours
  const { id, endpointId } = delivery
  const { status, error } = outcome
  const attempts = delivery.attempts + 1
  const wait = error === null || status === GONE ? undefined : BACKOFF[attempts - 1]
  const delay = wait && Math.ceil(wait * (0.9 + Math.random() / 5))
  const verdict = verdictOf(outcome)
  // An endpoint that is disabled here is audited.
  await transact({ ...ctx, action: 'webhook.update' }, (db) => ({
    ours: ensure(db, exists(webhookDeliveries, isHeldBy(ours), 'for update'), 'already_finished'),
    logged: db
      .update(webhookDeliveries)
      .set({
        attempts,
        responseStatus: status,
        error,
        status: error === null ? 'delivered' : delay ? 'pending' : 'failed',
        ...(delay && { nextAttemptAt: sql`now() + make_interval(secs => ${delay})` }),
        ...(!delay && { endedAt: sql`now()` }),
        ...(error === null && { deliveredAt: sql`now()` }),
      })
      .where(onePending(id)),
    endpoint: db
      .update(webhookEndpoints)
      .set(verdict.set)
      .where(
        and(
          inWorkspace(webhookEndpoints),
          sql`${webhookEndpoints.id} = ${endpointId}::uuid`,
          // Another URL is not to blame.
          eq(webhookEndpoints.url, url),
          verdict.differs,
        ),
      ),
    owed: delay
      ? owe(db, 'webhook.deliver', [id], sql`make_interval(secs => ${delay + 30})`)
      : settleIfOver(db, id),
  }))
  const message = { kind: 'webhook.deliver' as const, workspaceId: ctx.workspaceId, subjectId: id }
  if (delay) await dispatch(ctx, [message], delay)
}

/** Its endpoint is disabled: once that is enabled, it can be sent again on demand. */
const abandon = (ctx: JobCtx, ours: Claim) =>
  transact(ctx, (db) => ({
    abandoned: db
      .update(webhookDeliveries)
      .set({ status: 'failed', error: 'the endpoint is disabled', endedAt: sql`now()` })
      .where(isHeldBy(ours)),
    settled: settleIfOver(db, ours.delivery.id),
  }))

/** To a generation's own URL. */
const deliverToHost = async (ctx: JobCtx, ours: Claim): Promise<void> => {
  const { delivery, url } = ours
  const { admitted, isSuspect } = await admitsHost(ctx, url)
  if (!admitted) return record(ctx, ours, PUT_OFF)
  const outcome = await attempt(ctx.env, url, signingSecretOf(ctx.env, ctx.workspaceId), delivery)
  await Promise.all([
    record(ctx, ours, outcome),
    (isSuspect || outcome.silence) && reportHost(ctx, url, !outcome.silence),
  ])
}

/** The job of a delivery: one attempt, if it is still pending and due, and its endpoint enabled. */
export const deliver = async (ctx: JobCtx, id: string): Promise<void> => {
  const ours = await claim(ctx, id)
  if (!ours) {
    await transact(ctx, (db) => ({ settled: settleIfOver(db, id) }))
    return
  }
  const { delivery, endpoint, url, isTrial } = ours
  if (!endpoint) return deliverToHost(ctx, ours)
  if (endpoint.disabledAt) {
    await abandon(ctx, ours)
    return
  }
  if (endpoint.quietUntil && !isTrial) return record(ctx, ours, PUT_OFF)
  await record(ctx, ours, await attempt(ctx.env, url, endpoint.secret, delivery))
}
