/** Which offer is asked next: the model's first that is set up, fits the job, has not refused it, and is not failing. */

import { findModel, usableOffers } from '../../catalogue/catalogue.ts'
import { misfitOf, takes, type Wish } from '../../catalogue/input.ts'
import type { Offer } from '../../catalogue/schema.ts'
import type { JobCtx } from '../../context.ts'
import { admits } from '../../providers/breakers.ts'
import { reasons } from '../../providers/failures.ts'
import { providerOf } from '../../providers/registry.ts'
import type { Claim } from './claims.ts'
import type { ReadyClaim } from './inputs.ts'
import { failed, type Outcome } from './outcome.ts'

/** Times that an offer may take an output on and fail, or leave us without an answer: either may have been paid. */
const MAX_FAILURES = 2
/** Seconds between two tries of the same offer, at most. */
const MAX_BACKOFF = 60

export const wishOf = (claim: Claim): Wish => ({
  task: claim.task,
  kind: claim.kind,
  prompt: claim.prompt,
  text: claim.text,
  style: claim.style,
  aspectRatio: claim.aspectRatio,
  count: claim.count,
  seed: claim.seed,
  duration: claim.duration,
  photos: claim.inputAssetIds.length,
})

const isOf =
  ({ provider, model }: Offer) =>
  (job: Claim['jobs'][number]) =>
    job.provider === provider && job.model === model

/** How often the output that failed most often has failed: calls for others at the same time are the same try. */
const timesOf = (past: Claim['jobs']): number => {
  const times = new Map<number, number>()
  for (const index of past.flatMap(({ indexes }) => indexes)) times.set(index, (times.get(index) ?? 0) + 1)
  return Math.max(0, ...times.values())
}

/** How this job fared at the offer so far. */
const recordOf = (claim: Claim, offer: Offer) => {
  const past = claim.jobs.filter(isOf(offer)).filter(({ status }) => status === 'failed' || status === 'lost')
  const kinds = past.map(({ failure }) => failure && reasons[failure.reason])
  return {
    failures: timesOf(past),
    isOut:
      kinds.some((kind) => kind?.ends === 'offer') ||
      timesOf(
        past.filter(
          ({ failure, status }) =>
            status === 'lost' || failure?.reason === 'provider_failed' || failure?.reason === 'canceled',
        ),
      ) >= MAX_FAILURES,
    isOperators: kinds.some((kind) => kind?.whoFixes === 'operator'),
    lastAt: Math.max(0, ...past.map(({ endedAt }) => endedAt?.getTime() ?? 0)),
    retryAfter: past.at(-1)?.failure?.retryAfter ?? 0,
  }
}

interface Moment {
  /** Calls that last can be made now. */
  lasting?: boolean
  /** The job is not claimed yet, and may never be: only what nothing is known against. */
  early?: boolean
}

const askingOf = ({ provider }: Offer, { lasting, early }: Moment) => ({
  plans: !providerOf(provider).keepsJobs && !lasting,
  early,
})

/** The offer to ask now, or what else the step comes to. */
export const chooseOffer = async (
  ctx: JobCtx,
  claim: ReadyClaim,
  moment: Moment,
): Promise<Offer | Outcome> => {
  const model = findModel(ctx.env, claim.task, claim.model)
  if (!model) return failed('model_unavailable')
  const able = usableOffers(ctx.env, model).filter((offer) => misfitOf(offer, wishOf(claim)) === undefined)
  const taking = able.filter((offer) => claim.inputs.every(({ prepared }) => takes(offer, prepared)))
  if (able.length > 0 && taking.length === 0) return failed('input_rejected')
  const fitting = taking.map((offer) => ({ offer, ...recordOf(claim, offer) }))
  const left = fitting.filter(({ isOut }) => !isOut)
  if (left.length === 0) {
    const isOperators = fitting.length === 0 || fitting.some((one) => one.isOperators)
    return failed(isOperators ? 'service_unavailable' : 'provider_failed')
  }
  let wait = 10
  for (const { offer, failures, lastAt, retryAfter } of left.toSorted((a, b) => a.failures - b.failures)) {
    const backoff = failures === 0 ? 0 : Math.max(retryAfter, Math.min(MAX_BACKOFF, 2 ** failures))
    const seconds = Math.ceil((lastAt + backoff * 1000 - Date.now()) / 1000)
    if (failures > 0 && seconds > 0) wait = Math.min(wait, seconds)
    else if (await admits(ctx.env, offer, askingOf(offer, moment))) return offer
    if (moment.early) break
  }
  return { is: 'again', after: Math.ceil(wait * (1 + Math.random() / 4)) }
}
