/** Asks providers: each call is noted before it is made, so that it is never made twice while it may still be answered. */
import { v7 as uuidv7 } from 'uuid'
import { presignInput } from '../../assets/presign.ts'
import { costOf, fieldsOf, photoFieldsOf } from '../../catalogue/input.ts'
import type { Offer } from '../../catalogue/schema.ts'
import type { JobCtx } from '../../context.ts'
import { AppError, describeError } from '../../errors.ts'
import { report } from '../../providers/breakers.ts'
import { type Failure, redact } from '../../providers/failures.ts'
import {
  type AtOnceProvider,
  type JobProvider,
  ProviderError,
  type Standing,
  type Submission,
} from '../../providers/provider.ts'
import type { StoredOutput } from '../../words.ts'
import { noteCalls } from './claims.ts'
import type { ReadyClaim } from './inputs.ts'
import { costOfMade, type JobChanges, keepOperation, keepResults, type ProviderJob } from './jobs.ts'
import { wishOf } from './offers.ts'
import { storeOutput } from './outputs.ts'

/** Milliseconds that an answer may be on its way. */
export const MARGIN = 30_000

/** What came of a call. */
export interface Submitted {
  job: ProviderJob
  changes: JobChanges
  standing?: Standing | undefined
}

/** The outputs that a call of this offer makes, each call as many as it can. */
const callsFor = (offer: Offer, indexes: readonly number[]): number[][] => {
  const size = offer.input.count?.max ?? 1
  return Array.from({ length: Math.ceil(indexes.length / size) }, (_, i) =>
    indexes.slice(i * size, (i + 1) * size),
  )
}

const toRow = (claim: ReadyClaim, offer: Offer, indexes: number[]): ProviderJob => {
  const { [offer.input.prompt ?? '']: prompt } = fieldsOf(offer, wishOf(claim), indexes.length)
  return {
    workspaceId: claim.workspaceId,
    id: uuidv7(),
    generationId: claim.id,
    indexes,
    provider: offer.provider,
    model: offer.model,
    output: offer.output,
    prompt: typeof prompt === 'string' ? prompt : null,
    // Inputs are ready, and what is ready has been read.
    inputs: claim.inputs.map(({ id, sha256 }) => ({ assetId: id, sha256: sha256 ?? '' })),
    operation: null,
    status: 'submitting',
    objectIds: indexes.map(() => uuidv7()),
    stored: [],
    fetches: 0,
    failure: null,
    cost: costOf(offer, wishOf(claim), indexes.length),
    credits: null,
    expiresAt: new Date(Date.now() + offer.timeout * 1000 + MARGIN),
    createdAt: new Date(),
    endedAt: null,
  }
}

/** The calls that make these outputs, not noted yet. */
export const planCalls = (claim: ReadyClaim, offer: Offer, indexes: readonly number[]): ProviderJob[] =>
  callsFor(offer, indexes).map((outputs) => toRow(claim, offer, outputs))

const toSubmission = async (
  ctx: JobCtx,
  claim: ReadyClaim,
  offer: Offer,
  job: ProviderJob,
): Promise<Submission> => {
  const inputs = claim.inputAssetIds.flatMap((id) => claim.inputs.find((asset) => asset.id === id) ?? [])
  const photos = await Promise.all(
    inputs.map(async (asset) => ({
      url: await presignInput(ctx.env, asset),
      mimeType: asset.prepared.mimeType,
    })),
  )
  const webhook = new URL(`${ctx.env.PUBLIC_URL}/api/v1/providers/${offer.provider}/webhook`)
  webhook.search = String(
    new URLSearchParams({ workspaceId: ctx.workspaceId, generationId: claim.id, jobId: job.id }),
  )
  return {
    model: offer.model,
    fields: fieldsOf(offer, wishOf(claim), job.indexes.length),
    photos,
    photoFields: photoFieldsOf(
      offer,
      photos.map(({ url }) => url),
    ),
    output: offer.output,
    webhookUrl: webhook.href,
    timeout: offer.timeout,
  }
}

/** What a call that was not answered as it should be comes to; unknown ones are logged whole. */
const changesOf = (ctx: JobCtx, job: ProviderJob, thrown: unknown): JobChanges => {
  const { provider, model } = job
  ctx.log({
    level: 'warn',
    message: 'provider failed',
    provider,
    model,
    jobId: job.id,
    error: describeError(thrown),
  })
  // It may have been accepted: until it can't be any more, nobody asks again.
  if (!(thrown instanceof ProviderError) || !thrown.isRefusal) return {}
  const { failure, retryAfter } = thrown
  return {
    status: 'failed',
    failure: { ...failure, ...(retryAfter !== undefined && { retryAfter }) },
    cost: 0,
  }
}

/** Asks a provider that keeps jobs, for all outputs at the same time; the calls are noted. */
export const submitJobs = async (
  ctx: JobCtx,
  claim: ReadyClaim,
  offer: Offer,
  provider: JobProvider,
  jobs: readonly ProviderJob[],
): Promise<Submitted[]> =>
  Promise.all(
    jobs.map(async (job): Promise<Submitted> => {
      let asked: Required<Submitted> | undefined
      try {
        const { operation, standing } = await provider.submit(
          ctx.env,
          await toSubmission(ctx, claim, offer, job),
        )
        const named = { operation, status: 'running' as const }
        asked = { job: { ...job, ...named }, changes: named, standing }
        // What is over is written with the job's end; should this step die before, the provider's webhook names it again.
        const isNamedLater = standing?.status !== 'running' && provider.tells(ctx.env)
        const isWanted = isNamedLater || (await keepOperation(ctx, job.id, operation))
        await report(ctx.env, offer, undefined)
        if (!isWanted) await provider.cancel(ctx.env, operation)
        return { ...asked, changes: isNamedLater ? named : {} }
      } catch (thrown) {
        if (asked) {
          // It is made, and paid: whatever else went wrong, its name is written with what the step comes to.
          ctx.log({
            level: 'warn',
            message: 'call not kept yet',
            jobId: job.id,
            error: describeError(thrown),
          })
          return asked
        }
        const changes = changesOf(ctx, job, thrown)
        if (thrown instanceof ProviderError) await report(ctx.env, offer, thrown.failure)
        return { job: { ...job, ...changes }, changes }
      }
    }),
  )

/** One call that lasts, and ends when the job does. */
const render = async (
  ctx: JobCtx,
  claim: ReadyClaim,
  offer: Offer,
  provider: AtOnceProvider,
  job: ProviderJob,
  held: AbortSignal,
): Promise<JobChanges> => {
  const stored: StoredOutput[] = []
  try {
    const failure = await provider.render(
      ctx.env,
      await toSubmission(ctx, claim, offer, job),
      async (bytes) => {
        if (stored.length < job.indexes.length)
          stored.push(
            await storeOutput(ctx, claim, job, stored.length, bytes, { comesOnce: true, before: stored }),
          )
      },
      AbortSignal.any([held, AbortSignal.timeout(offer.timeout * 1000)]),
    )
    await report(ctx.env, offer, failure)
    if (stored.length === 0) {
      const { provider, model } = offer
      ctx.log({ level: 'warn', message: 'model failed', provider, model, jobId: job.id, ...failure })
      return { status: 'failed', failure: failure ?? { reason: 'provider_failed', detail: 'no picture' } }
    }
  } catch (thrown) {
    const failure = held.aborted ? undefined : failureOfCall(thrown)
    if (failure) await report(ctx.env, offer, failure)
    const changes = changesOf(ctx, job, thrown)
    if (stored.length === 0) {
      if (changes.status || held.aborted) return changes
      if (failure?.reason === 'provider_failed') return { status: 'failed', failure }
      // The call is over: whatever it made is lost.
      return {
        status: 'lost',
        failure: failure ?? { reason: 'unreachable', detail: redact(describeError(thrown)) },
      }
    }
  }
  return { status: 'succeeded', stored, cost: costOfMade(job, stored.length) }
}

/** What a call that lasts has died of; undefined if that says nothing of the offer: storage was away. */
const failureOfCall = (thrown: unknown): Failure | undefined => {
  if (thrown instanceof ProviderError) return thrown.failure
  const detail = redact(describeError(thrown))
  if (!(thrown instanceof AppError)) return { reason: 'unreachable', detail }
  // What storage refuses is no picture.
  return thrown.code === 'unavailable' ? undefined : { reason: 'provider_failed', detail }
}

/** Asks a provider that answers with the results, call after call. @throws {AppError} already_finished */
export const renderJobs = async (
  ctx: JobCtx,
  claim: ReadyClaim,
  offer: Offer,
  provider: AtOnceProvider,
  indexes: readonly number[],
  held: AbortSignal,
): Promise<Submitted[]> => {
  const done: Submitted[] = []
  for (const job of planCalls(claim, offer, indexes)) {
    await noteCalls(ctx, claim, [job])
    const known = { ...claim, jobs: [...claim.jobs, ...done.map((one) => one.job)] }
    const changes = await render(ctx, known, offer, provider, job, held)
    // At once, and whoever holds the job by now: what it made can't be fetched again.
    if (Object.keys(changes).length > 0) await keepResults(ctx, new Map([[job.id, changes]]))
    done.push({ job: { ...job, ...changes }, changes: {} })
    // What failed here fails again: the next step chooses anew.
    if (changes.status !== 'succeeded') break
  }
  return done
}
