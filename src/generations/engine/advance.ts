/** The next step of a generation, whatever woke it; safe to call twice, at once, late or for nothing. */
import { and, eq, sql } from 'drizzle-orm'
import type { JobCtx } from '../../context.ts'
import { transact } from '../../db/client.ts'
import { generations } from '../../db/schema.ts'
import { AppError, describeError, toAppError } from '../../errors.ts'
import { settle } from '../../outbox/outbox.ts'
import { type Job, ProviderError } from '../../providers/provider.ts'
import type { GenerationError } from '../../words.ts'
import { oneGeneration } from '../generations.ts'
import { type Claim, claimGeneration, fail, release } from './claims.ts'
import { finish } from './outputs.ts'
import { currentProvider, submit } from './submit.ts'

/** Milliseconds that a step waits for a picture before it hands over to a delayed message. */
const PATIENCE = 2500
/** Seconds until that message; a provider's webhook may come earlier. */
const POLL_DELAY = { image: 2, video: 5 }

export const advance = async (ctx: JobCtx, id: string): Promise<void> => {
  const claim = await claimGeneration(ctx, id)
  if (!claim) return
  try {
    if (claim.deadlineAt.getTime() < Date.now()) return await expire(ctx, claim)
    const step = claim.providerJobId ? await look(ctx, claim) : await begin(ctx, claim)
    if (!step) return
    const { job } = step
    if (job.status === 'running') {
      const progress = Math.max(claim.progress, job.progress)
      await release(ctx, step.claim, POLL_DELAY[claim.kind], { progress })
    } else if (job.status === 'failed') await fail(ctx, step.claim, toGenerationError(job.message))
    else await finish(ctx, step.claim, job.outputs)
  } catch (thrown) {
    await recover(ctx, claim, thrown)
  }
}

type Step = { claim: Claim; job: Job }

/** Submits, and waits a little for a picture; nobody waits for a video that has just begun. */
const begin = async (ctx: JobCtx, claim: Claim): Promise<Step | undefined> => {
  const submitted = await submit(ctx, claim)
  if (submitted?.job.status !== 'running' || claim.kind === 'video') return submitted
  const started = Date.now()
  for (let pause = 100; ; pause = Math.min(pause * 1.5, 1000)) {
    await scheduler.wait(pause)
    const step = await look(ctx, submitted.claim)
    if (step.job.status !== 'running' || Date.now() - started > PATIENCE) return step
  }
}

/** The truth about a job that a provider has. */
const look = async (ctx: JobCtx, claim: Claim): Promise<Step> => {
  const provider = currentProvider(claim)
  if (!provider?.get || !claim.providerJobId)
    throw new ProviderError('the provider keeps no jobs', { retryable: false })
  return { claim, job: await provider.get(ctx.env, claim.providerJobId) }
}

const expire = async (ctx: JobCtx, claim: Claim): Promise<void> => {
  await fail(ctx, claim, { code: 'deadline_exceeded', message: 'The job took too long.', retryable: true })
  if (claim.providerJobId) await currentProvider(claim)?.cancel?.(ctx.env, claim.providerJobId)
}

/** What a fault means for the job: nothing (it is somebody else's now), its end, another try, or the queue's retry. */
const recover = async (ctx: JobCtx, claim: Claim, thrown: unknown): Promise<void> => {
  if (toAppError(thrown).code === 'already_finished') return
  ctx.log({ level: 'warn', message: 'step failed', generationId: claim.id, error: describeError(thrown) })
  if (thrown instanceof ProviderError && !thrown.retryable) {
    return fail(ctx, claim, {
      code: 'provider_refused',
      message: 'The model refused the request.',
      retryable: false,
    })
  }
  if (!(thrown instanceof ProviderError || thrown instanceof AppError)) throw thrown
  const asked = thrown instanceof ProviderError ? thrown.retryAfter : undefined
  await release(ctx, claim, Math.min(asked ?? 2 + Math.ceil(Math.random() * 4), 3600))
}

const toGenerationError = (message: string): GenerationError =>
  /nsfw|safety|sensitive|flagged/i.test(message)
    ? { code: 'content_rejected', message: 'The model rejected the content as unsafe.', retryable: false }
    : { code: 'provider_failed', message: `The model failed: ${message.slice(0, 300)}`, retryable: true }

/** Out of retries: the job ends as failed, unless somebody still works on it. */
export const abandon = async (ctx: JobCtx, id: string): Promise<void> => {
  const claim = await claimGeneration(ctx, id)
  if (!claim) return
  await fail(ctx, claim, {
    code: 'internal_error',
    message: 'The job could not be processed.',
    retryable: true,
  })
  if (claim.providerJobId) await currentProvider(claim)?.cancel?.(ctx.env, claim.providerJobId)
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
  if (row?.providerJobId) {
    try {
      await currentProvider(row)?.cancel?.(ctx.env, row.providerJobId)
    } catch (error) {
      if (!(error instanceof ProviderError) || error.retryable) throw error
    }
  }
  await transact(ctx, (db) => ({ settled: settle(db, 'prediction.cancel', id) }))
}
