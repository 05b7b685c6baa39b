/** The next step of a generation, whatever woke it; safe to call twice, at once, late or for nothing. */
import { and, eq, sql } from 'drizzle-orm'
import type { JobCtx } from '../../context.ts'
import { transact } from '../../db/client.ts'
import { generations } from '../../db/schema.ts'
import { AppError, describeError, toAppError } from '../../errors.ts'
import { settle } from '../../outbox/outbox.ts'
import { type Job, ProviderError } from '../../providers/provider.ts'
import { oneGeneration } from '../generations.ts'
import { type Claim, claimGeneration, fail, release, succeed } from './claims.ts'
import { failed, type Outcome } from './outcome.ts'
import { storeOutputs } from './outputs.ts'
import { currentProvider, submit } from './submit.ts'

/** Milliseconds that a step waits for a picture before it hands over to a delayed message. */
const PATIENCE = 2500
/** Seconds until that message; a provider's webhook may come earlier. */
const POLL_DELAY = { image: 2, video: 5 }
/** Seconds; the most that a provider may ask to be left alone for. */
const MAX_DELAY = 3600

export const advance = async (ctx: JobCtx, id: string): Promise<void> => {
  const claim = await claimGeneration(ctx, id)
  if (!claim) return
  try {
    await conclude(ctx, claim, await step(ctx, claim))
  } catch (thrown) {
    if (toAppError(thrown).code === 'already_finished') return
    ctx.log({ level: 'warn', message: 'step failed', generationId: claim.id, error: describeError(thrown) })
    const outcome = outcomeOf(thrown)
    if (!outcome) throw thrown
    await conclude(ctx, claim, outcome)
  }
}

/** The only place that writes how a step ended. @throws {AppError} already_finished, if the fence is lost */
const conclude = async (ctx: JobCtx, claim: Claim, outcome: Outcome): Promise<void> => {
  switch (outcome.is) {
    case 'running':
      return release(ctx, claim, POLL_DELAY[claim.kind], {
        progress: Math.max(claim.progress, outcome.progress),
      })
    case 'stored':
      return succeed(ctx, claim, outcome.outputs)
    case 'failed':
      await fail(ctx, claim, outcome.error)
      if (outcome.error.code === 'deadline_exceeded') await stopProviderJob(ctx, claim)
      return
    case 'again':
      return release(ctx, claim, outcome.after, outcome.changes)
    case 'lost':
      return
  }
}

const step = async (ctx: JobCtx, claim: Claim): Promise<Outcome> => {
  if (claim.deadlineAt.getTime() < Date.now()) return failed('deadline_exceeded')
  if (claim.providerJobId) return judge(ctx, claim, await poll(ctx, claim))
  const submitted = await submit(ctx, claim)
  if ('is' in submitted) return submitted
  const held = { ...claim, ...submitted.held }
  return judge(ctx, held, await awaitPicture(ctx, held, submitted.job))
}

/** What a job at the provider comes to. */
const judge = async (ctx: JobCtx, claim: Claim, job: Job): Promise<Outcome> => {
  switch (job.status) {
    case 'running':
      return { is: 'running', progress: job.progress }
    case 'failed':
      return refusalOf(job.message)
    case 'succeeded':
      return storeOutputs(ctx, claim, job.outputs)
  }
}

/** Waits a little for a picture; nobody waits for a video that has just begun. */
const awaitPicture = async (ctx: JobCtx, claim: Claim, submitted: Job): Promise<Job> => {
  let job = submitted
  const started = Date.now()
  for (let pause = 100; job.status === 'running' && claim.kind === 'image'; ) {
    if (Date.now() - started > PATIENCE) break
    await scheduler.wait(pause)
    job = await poll(ctx, claim)
    pause = Math.min(pause * 1.5, 1000)
  }
  return job
}

/** The truth about a job that a provider has. @throws {ProviderError} */
const poll = async (ctx: JobCtx, claim: Claim): Promise<Job> => {
  const provider = currentProvider(claim)
  if (!provider?.get || !claim.providerJobId)
    throw new ProviderError('the provider keeps no jobs', { retryable: false })
  return provider.get(ctx.env, claim.providerJobId)
}

/** What a fault comes to; undefined for the queue's own retry. */
const outcomeOf = (thrown: unknown): Outcome | undefined => {
  if (thrown instanceof ProviderError && !thrown.retryable) return failed('provider_refused')
  if (!(thrown instanceof ProviderError || thrown instanceof AppError)) return undefined
  const asked = thrown instanceof ProviderError ? thrown.retryAfter : undefined
  return { is: 'again', after: Math.min(asked ?? 2 + Math.ceil(Math.random() * 4), MAX_DELAY) }
}

const refusalOf = (message: string): Outcome =>
  /nsfw|safety|sensitive|flagged/i.test(message)
    ? failed('content_rejected')
    : failed('provider_failed', `The model failed: ${message.slice(0, 300)}`)

const stopProviderJob = async (
  ctx: JobCtx,
  job: Pick<Claim, 'kind' | 'model' | 'providerIndex' | 'providerJobId'>,
) => {
  if (job.providerJobId) await currentProvider(job)?.cancel?.(ctx.env, job.providerJobId)
}

/** Out of retries: the job ends as failed, unless somebody still works on it. */
export const abandon = async (ctx: JobCtx, id: string): Promise<void> => {
  const claim = await claimGeneration(ctx, id)
  if (!claim) return
  await fail(ctx, claim, failed('internal_error').error)
  await stopProviderJob(ctx, claim)
}

/** Tells the provider that a canceled job's result is not wanted. */
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
          eq(generations.status, 'canceled'),
          sql`${generations.providerJobId} is not null`,
        ),
      ),
  }))
  if (row) {
    try {
      await stopProviderJob(ctx, row)
    } catch (error) {
      if (!(error instanceof ProviderError) || error.retryable) throw error
    }
  }
  await transact(ctx, (db) => ({ settled: settle(db, 'prediction.cancel', id) }))
}
