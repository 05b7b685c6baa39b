/** Hands a job to a provider: the model's first that is set up, fits, and is not failing. */
import { presignDownload } from '../../assets/storage.ts'
import type { JobCtx } from '../../context.ts'
import { toAppError } from '../../errors.ts'
import { type Job, ProviderError, type Submission } from '../../providers/provider.ts'
import { type ProviderName, providerOf } from '../../providers/registry.ts'
import { findModel, type Offer } from '../models.ts'
import { type Claim, keepProviderJob } from './claims.ts'
import { failed, type Outcome } from './outcome.ts'

/** Times that storing a provider's id is tried. */
const KEEP_ATTEMPTS = 3

const breakerOf = (ctx: JobCtx, provider: ProviderName) =>
  ctx.env.BREAKER.get(ctx.env.BREAKER.idFromName(provider))

/** Only a hint: where it can't be reached, the provider is asked. */
const admits = async (ctx: JobCtx, provider: ProviderName): Promise<boolean> => {
  try {
    return await breakerOf(ctx, provider).admits()
  } catch {
    return true
  }
}

/** How a call went, for other jobs; it must not cost this one. */
const report = async (ctx: JobCtx, provider: ProviderName, succeeded: boolean): Promise<void> => {
  await breakerOf(ctx, provider)
    .report(succeeded)
    .catch(() => undefined)
}

const isUsable = (ctx: JobCtx, claim: Claim, { provider, takesImages }: Offer) =>
  providerOf(provider).isConfigured(ctx.env) && (takesImages || claim.inputAssetIds.length === 0)

/** The offer at or after the claim's place in the list that can be asked now. */
const chooseOffer = async (ctx: JobCtx, claim: Claim, offers: readonly Offer[]) => {
  const start = claim.providerIndex % offers.length
  const inTurn = [...offers.entries()].map(([index, offer]) => ({ index, offer }))
  for (const choice of [...inTurn.slice(start), ...inTurn.slice(0, start)]) {
    if (!isUsable(ctx, claim, choice.offer)) continue
    if (await admits(ctx, choice.offer.provider)) return choice
  }
  return undefined
}

/** Which provider has the job, for asking and canceling. */
export const currentProvider = (job: Pick<Claim, 'kind' | 'model' | 'providerIndex'>) => {
  const offer = findModel(job.kind, job.model)?.offers[job.providerIndex]
  return offer && providerOf(offer.provider)
}

/** What the provider is asked for. */
const toSubmission = async (
  ctx: JobCtx,
  claim: Claim,
  model: string,
  inputs: Claim['inputs'],
): Promise<Submission> => ({
  kind: claim.kind,
  model,
  prompt: claim.prompt,
  style: claim.style,
  images: await Promise.all(
    inputs.map(async (asset) => ({
      url: await presignDownload(ctx.env, asset),
      mimeType: asset.mimeType,
    })),
  ),
  aspectRatio: claim.aspectRatio,
  count: claim.count,
  duration: claim.duration,
  seed: claim.seed,
  webhookUrl: `${ctx.env.PUBLIC_URL}/api/v1/providers/replicate/webhook?workspaceId=${ctx.workspaceId}&generationId=${claim.id}`,
})

type Held = { providerIndex: number; providerJobId: string }

/**
 * Submits once. A provider that keeps jobs has its id stored before anything else can fail; one that answers at once
 * leaves nothing to store. @throws {ProviderError} for a refusal that would come again
 */
export const submit = async (ctx: JobCtx, claim: Claim): Promise<{ job: Job; held?: Held } | Outcome> => {
  const model = findModel(claim.kind, claim.model)
  const inputs = claim.inputAssetIds.flatMap((id) => claim.inputs.find((asset) => asset.id === id) ?? [])
  if (!model) return failed('model_unavailable')
  if (inputs.length < claim.inputAssetIds.length) return failed('input_deleted')
  const chosen = await chooseOffer(ctx, claim, model.offers)
  if (!chosen) return { is: 'again', after: 10, changes: { attempts: claim.attempts - 1 } }
  const { index, offer } = chosen
  const isOurs =
    index === claim.providerIndex || (await keepProviderJob(ctx, claim, { providerIndex: index }))
  if (!isOurs) return { is: 'lost' }
  const provider = providerOf(offer.provider)
  let job: Job
  try {
    job = await provider.submit(ctx.env, await toSubmission(ctx, claim, offer.model, inputs))
  } catch (error) {
    if (!(error instanceof ProviderError) || !error.retryable) throw error
    // Too many requests slow us down; they say nothing of the provider's health.
    if (error.status !== 429) await report(ctx, offer.provider, false)
    return fallBack(ctx, claim, model.offers, index, error)
  }
  const held = { providerIndex: index, providerJobId: job.id }
  const kept = job.status !== 'running' || (await keepPaidJob(ctx, claim, held))
  await report(ctx, offer.provider, true)
  if (!kept) {
    await provider.cancel?.(ctx.env, job.id)
    return { is: 'lost' }
  }
  return job.status === 'running' ? { job, held } : { job }
}

/** A lost id is a job paid twice, so a database that stumbles is asked again at once; keeping twice is harmless. */
const keepPaidJob: typeof keepProviderJob = async (ctx, claim, job) => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await keepProviderJob(ctx, claim, job)
    } catch (error) {
      // The workspace is deleted: nobody waits for the job any more.
      if (toAppError(error).code === 'not_found') return false
      if (attempt === KEEP_ATTEMPTS) throw error
      await scheduler.wait(100 * 2 ** attempt)
    }
  }
}

/** On to the next provider at once; after the last one, to the first again, with backoff. */
const fallBack = (
  ctx: JobCtx,
  claim: Claim,
  offers: readonly Offer[],
  failedIndex: number,
  error: ProviderError,
): Outcome => {
  ctx.log({ level: 'warn', message: 'provider failed', generationId: claim.id, error: error.message })
  const next = offers.findIndex((offer, i) => i > failedIndex && isUsable(ctx, claim, offer))
  if (next > 0) return { is: 'again', after: 0, changes: { providerIndex: next } }
  const backoff = Math.min(2 ** claim.attempts, 60) * (0.75 + Math.random() / 2)
  return {
    is: 'again',
    after: Math.ceil(error.retryAfter ?? backoff),
    changes: { providerIndex: offers.findIndex((offer) => isUsable(ctx, claim, offer)) },
  }
}
