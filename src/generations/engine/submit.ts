/** Hands a job to a provider: the model's first that is set up, fits, and is not failing. */
import { presignDownload } from '../../assets/storage.ts'
import type { JobCtx } from '../../context.ts'
import { type Job, ProviderError } from '../../providers/provider.ts'
import { type ProviderName, providerOf } from '../../providers/registry.ts'
import { findModel, type Offer } from '../models.ts'
import { type Claim, fail, keepProviderJob, release } from './claims.ts'

const MAX_ATTEMPTS = 6
const KEEP_ATTEMPTS = 3

const breakerOf = (ctx: JobCtx, provider: ProviderName) =>
  ctx.env.BREAKER.get(ctx.env.BREAKER.idFromName(provider))

/** The offer at or after the claim's place in the list that can be asked now. */
const chooseOffer = async (ctx: JobCtx, claim: Claim, offers: readonly Offer[]) => {
  for (let i = 0; i < offers.length; i++) {
    const index = (claim.providerIndex + i) % offers.length
    const offer = offers[index] as Offer
    const fits = offer.takesImages || claim.inputAssetIds.length === 0
    if (!fits || !providerOf(offer.provider).isConfigured(ctx.env)) continue
    if (await breakerOf(ctx, offer.provider).admits()) return { index, offer }
  }
  return undefined
}

/** Which provider has the job, for asking and canceling. */
export const currentProvider = (job: Pick<Claim, 'kind' | 'model' | 'providerIndex'>) => {
  const offer = findModel(job.kind, job.model)?.offers[job.providerIndex]
  return offer && providerOf(offer.provider)
}

/**
 * Submits once, and stores the provider's id before anything else. Undefined when the job goes on in another step:
 * at the next provider, later, or not at all.
 */
export const submit = async (ctx: JobCtx, claim: Claim): Promise<{ claim: Claim; job: Job } | undefined> => {
  const model = findModel(claim.kind, claim.model)
  const inputs = claim.inputAssetIds.flatMap((id) => claim.inputs.find((asset) => asset.id === id) ?? [])
  if (!model) {
    await fail(ctx, claim, {
      code: 'model_unavailable',
      message: 'The model is no longer offered.',
      retryable: false,
    })
    return undefined
  }
  if (inputs.length < claim.inputAssetIds.length) {
    const message = 'An input was deleted before the job started.'
    await fail(ctx, claim, { code: 'input_deleted', message, retryable: false })
    return undefined
  }
  if (claim.attempts > MAX_ATTEMPTS) {
    const message = 'The model could not be reached.'
    await fail(ctx, claim, { code: 'provider_unavailable', message, retryable: true })
    return undefined
  }
  const chosen = await chooseOffer(ctx, claim, model.offers)
  if (!chosen) {
    await release(ctx, claim, 10)
    return undefined
  }
  const { index, offer } = chosen
  const breaker = breakerOf(ctx, offer.provider)
  let job: Job
  try {
    job = await providerOf(offer.provider).submit(ctx.env, {
      kind: claim.kind,
      model: offer.model,
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
  } catch (error) {
    if (!(error instanceof ProviderError) || !error.retryable) throw error
    await breaker.report(false)
    await passOver(ctx, claim, model.offers, index, error)
    return undefined
  }
  const held = { providerIndex: index, providerJobId: job.id }
  const kept = job.status === 'running' && (await keepPaidJob(ctx, claim, held))
  // Only a hint for other jobs: it must not cost this one.
  await breaker.report(true).catch(() => undefined)
  if (job.status !== 'running') return { claim, job }
  if (kept) return { claim: { ...claim, ...held }, job }
  await providerOf(offer.provider).cancel?.(ctx.env, job.id)
  return undefined
}

/** A lost id is a job paid twice, so a database that stumbles is asked again at once; keeping twice is harmless. */
const keepPaidJob: typeof keepProviderJob = async (ctx, claim, job) => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await keepProviderJob(ctx, claim, job)
    } catch (error) {
      if (attempt === KEEP_ATTEMPTS) throw error
      await scheduler.wait(100 * 2 ** attempt)
    }
  }
}

/** On to the next provider at once; after the last one, from the first again, with patience. */
const passOver = async (
  ctx: JobCtx,
  claim: Claim,
  offers: readonly Offer[],
  failed: number,
  error: ProviderError,
): Promise<void> => {
  ctx.log({ level: 'warn', message: 'provider passed over', generationId: claim.id, error: error.message })
  const isUsable = ({ provider, takesImages }: Offer) =>
    providerOf(provider).isConfigured(ctx.env) && (takesImages || claim.inputAssetIds.length === 0)
  const next = offers.findIndex((offer, i) => i > failed && isUsable(offer))
  if (next > 0) return release(ctx, claim, 0, { providerIndex: next })
  const backoff = Math.min(2 ** claim.attempts, 60) * (0.75 + Math.random() / 2)
  const delay = Math.min(Math.ceil(error.retryAfter ?? backoff), 3600)
  await release(ctx, claim, delay, { providerIndex: offers.findIndex(isUsable) })
}
