/** The next step of a generation, whatever woke it; safe to call twice, at once, late or for nothing. */
import { and, inArray, isNotNull } from 'drizzle-orm'
import type { JobCtx } from '../../context.ts'
import { transact } from '../../db/client.ts'
import { generations } from '../../db/schema.ts'
import { describeError, toAppError } from '../../errors.ts'
import { settle } from '../../outbox/outbox.ts'
import { type Job, ProviderError } from '../../providers/provider.ts'
import { oneGeneration } from '../generations.ts'
import { type Claim, claimGeneration, fail, release, succeed } from './claims.ts'
import { failed, type Outcome } from './outcome.ts'
import { storeOutputs } from './outputs.ts'
import { currentProvider, submit } from './submit.ts'

/** Milliseconds that a step waits for a picture before it hands over to a delayed message. */
const MAX_WAIT = 2500
/** Seconds until a job at the provider is polled again, at first. */
const POLL_DELAY = { image: 2, video: 5 }
/** The most seconds between two polls; webhooks make them a safety net. */
const MAX_POLL_DELAY = { polling: 10, webhooks: 60 }
/** Steps that a job may take. A healthy one takes far fewer: more means a loop, which costs money until it ends. */
const MAX_STEPS = 500

/** @returns the seconds until whoever holds the job must have given it back, if it is held */
export const advance = async (
  ctx: JobCtx,
  id: string,
  options: { early?: boolean | undefined } = {},
): Promise<number | undefined> => {
  const { claim, heldFor } = await claimGeneration(ctx, id, options)
  if (!claim) return heldFor
  try {
    await conclude(ctx, claim, await step(ctx, claim))
  } catch (thrown) {
    if (toAppError(thrown).code === 'already_finished') return undefined
    ctx.log({ level: 'warn', message: 'step failed', generationId: claim.id, error: describeError(thrown) })
    await conclude(ctx, claim, outcomeOfFault(claim, thrown))
  }
  return undefined
}

/** The only place that writes how a step ended. @throws {AppError} already_finished, if the fence is lost */
const conclude = async (ctx: JobCtx, claim: Claim, outcome: Outcome): Promise<void> => {
  switch (outcome.is) {
    case 'running':
      return release(ctx, claim, untilDeadline(claim, pollDelay(ctx, claim)), {
        progress: Math.max(claim.progress, outcome.progress),
      })
    case 'stored':
      return succeed(ctx, claim, outcome.outputs)
    case 'storing':
      return release(ctx, claim, outcome.after, {
        resultsAt: claim.resultsAt ?? new Date(),
        ...outcome.changes,
      })
    case 'failed':
      return fail(ctx, claim, outcome.error)
    case 'again':
      return release(ctx, claim, untilDeadline(claim, outcome.after), outcome.changes)
    case 'lost':
      return
  }
}

/** The longer a job runs, the less a second matters. */
const pollDelay = ({ env }: JobCtx, { kind, startedAt }: Claim): number => {
  const most = env.REPLICATE_WEBHOOK_SECRET ? MAX_POLL_DELAY.webhooks : MAX_POLL_DELAY.polling
  const elapsed = startedAt ? (Date.now() - startedAt.getTime()) / 1000 : 0
  return Math.ceil(Math.min(most, Math.max(POLL_DELAY[kind], elapsed / 2)))
}

/** Nothing waits past its deadline: the last step comes right after it. */
const untilDeadline = ({ deadlineAt }: Claim, seconds: number) =>
  Math.min(seconds, Math.max(1, Math.ceil((deadlineAt.getTime() - Date.now()) / 1000) + 1))

const step = async (ctx: JobCtx, claim: Claim): Promise<Outcome> => {
  if (claim.fence > MAX_STEPS) {
    ctx.log({ level: 'error', message: 'job exceeds its steps', generationId: claim.id, steps: claim.fence })
    return failed('internal_error')
  }
  const isLate = claim.resultsAt === null && claim.deadlineAt.getTime() < Date.now()
  if (claim.providerJobId) return outcomeOfJob(ctx, claim, await pollOnce(ctx, claim), isLate)
  if (isLate) return failed('deadline_exceeded')
  const submitted = await submit(ctx, claim)
  if ('is' in submitted) return submitted
  const held = { ...claim, ...submitted.held }
  return outcomeOfJob(ctx, held, await awaitPicture(ctx, held, submitted.job), false)
}

/** What a job at the provider comes to: results that are there are taken even past the deadline. */
const outcomeOfJob = async (ctx: JobCtx, claim: Claim, job: Job, isLate: boolean): Promise<Outcome> => {
  switch (job.status) {
    case 'running':
      return isLate ? failed('deadline_exceeded') : { is: 'running', progress: job.progress }
    case 'failed':
      return failureOf(job.message)
    case 'succeeded':
      return storeOutputs(ctx, claim, job.outputs)
  }
}

/** Waits a little for a picture; nobody waits for a video that has just begun. */
const awaitPicture = async (ctx: JobCtx, claim: Claim, submitted: Job): Promise<Job> => {
  let job = submitted
  const started = Date.now()
  for (let pause = 100; job.status === 'running' && claim.kind === 'image'; ) {
    if (Date.now() - started > MAX_WAIT) break
    await scheduler.wait(pause)
    job = await pollOnce(ctx, claim)
    pause = Math.min(pause * 1.5, 1000)
  }
  return job
}

/** The truth about a job that a provider has. @throws {ProviderError} */
const pollOnce = async (ctx: JobCtx, claim: Claim): Promise<Job> => {
  const provider = currentProvider(claim)
  if (!provider?.get || !claim.providerJobId)
    throw new ProviderError('the provider keeps no jobs', { retryable: false })
  return provider.get(ctx.env, claim.providerJobId)
}

/** What a fault in a step comes to: time, as long as there is some, unless a provider has refused for good. */
const outcomeOfFault = (claim: Claim, thrown: unknown): Outcome => {
  if (thrown instanceof ProviderError && !thrown.retryable) {
    return failed(claim.providerJobId ? 'provider_lost' : 'provider_refused')
  }
  const isLate = claim.resultsAt === null && claim.deadlineAt.getTime() < Date.now()
  if (isLate) return failed('deadline_exceeded')
  const asked = thrown instanceof ProviderError ? thrown.retryAfter : undefined
  return { is: 'again', after: asked ?? 2 + Math.ceil(Math.random() * 4) }
}

const failureOf = (message: string): Outcome =>
  /nsfw|safety|sensitive|flagged/i.test(message)
    ? failed('content_rejected')
    : failed(
        'provider_failed',
        `The model failed: ${message.replace(/https?:\/\/\S+/g, '(URL)').slice(0, 300)}`,
      )

/**
 * Messages about it were retried in vain. The row still knows what is owed, so this ends a job only when its time is
 * over; otherwise the sweeper wakes it again.
 */
export const abandon = async (ctx: JobCtx, id: string): Promise<void> => {
  const { claim } = await claimGeneration(ctx, id)
  if (!claim) return
  const isLate = claim.resultsAt === null && claim.deadlineAt.getTime() < Date.now()
  // Nothing was submitted for this claim.
  const changes = claim.providerJobId ? {} : { attempts: claim.attempts - 1 }
  await conclude(ctx, claim, isLate ? failed('deadline_exceeded') : { is: 'again', after: 5, changes })
}

/** Tells the provider that the result of a job which has ended is not wanted. */
export const cancelPrediction = async (ctx: JobCtx, id: string): Promise<void> => {
  const {
    rows: [row],
  } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(generations)
      .where(
        and(
          oneGeneration(id),
          inArray(generations.status, ['canceled', 'failed']),
          isNotNull(generations.providerJobId),
        ),
      ),
  }))
  if (row?.providerJobId) {
    try {
      await currentProvider(row)?.cancel?.(ctx.env, row.providerJobId)
    } catch (error) {
      if (!(error instanceof ProviderError) || error.retryable) throw error
    }
  }
  await transact(ctx, (db) => ({ settled: settle(db, 'prediction.cancel', id) }))
}
