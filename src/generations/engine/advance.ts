/** The next step of a generation, whatever woke it; safe to call twice, at once, late or for nothing. */
import type { Offer } from '../../catalogue/schema.ts'
import type { JobCtx } from '../../context.ts'
import { generations } from '../../db/schema.ts'
import { rowOf } from '../../db/sql.ts'
import { describeError, toAppError } from '../../errors.ts'
import { reasons } from '../../providers/failures.ts'
import { type JobProvider, ProviderError, type Standing } from '../../providers/provider.ts'
import { providerOf } from '../../providers/registry.ts'
import type { GenerationPhase } from '../../words.ts'
import type { Json } from '../changes.ts'
import { progressByTime } from '../estimates.ts'
import type { Generation } from '../generations.ts'
import { type Claim, claimGeneration, fail, hold, type News, noteCalls, release, succeed } from './claims.ts'
import { prepareInputs, type ReadyClaim } from './inputs.ts'
import { isOpen, keepResults, type ProviderJob } from './jobs.ts'
import { chooseOffer } from './offers.ts'
import { failed, type Outcome } from './outcome.ts'
import { createProgress, type Progress, pollJobs, unsettled } from './poll.ts'
import { planCalls, renderJobs, submitJobs } from './submit.ts'

/** Milliseconds that a step waits for a picture before it hands over to a delayed message. */
const MAX_WAIT = 2500
/** Seconds until a job at the provider is polled again, at first. */
const POLL_DELAY = { image: 2, video: 5 }
/** The most seconds between two polls; webhooks make them a safety net. */
const MAX_POLL_DELAY = { polling: 10, webhooks: 60 }
/** Steps that a job may take. A healthy one takes far fewer: more means a loop, which costs money until it ends. */
const MAX_STEPS = 1000
/** Milliseconds that results wait for storage at most: their place and credits wait with them. */
const MAX_STORING = 6 * 3600 * 1000

interface Wake extends News {
  /** A fresh generation without photos, as it was accepted. */
  row?: Json | undefined
  /** Calls that last are made here. */
  lasting?: boolean
}

/** @returns the seconds until whoever holds the job must have given it back, if it is held */
export const advance = async (ctx: JobCtx, id: string, wake: Wake = {}): Promise<number | undefined> => {
  const plan = wake.row && (await planFirst(ctx, rowOf(generations, wake.row)))
  const { claim, heldFor } = await claimGeneration(ctx, id, { ...wake, calls: plan?.calls })
  if (!claim) return heldFor
  const progress = createProgress(claim)
  const held = hold(ctx, claim)
  try {
    await conclude(ctx, claim, progress, await step(ctx, claim, progress, held.signal, wake, plan))
  } catch (thrown) {
    if (toAppError(thrown).code === 'already_finished') return undefined
    ctx.log({ level: 'warn', message: 'step failed', generationId: claim.id, error: describeError(thrown) })
    // What is known of calls may be known nowhere else.
    await keepResults(ctx, progress.changes)
    await conclude(ctx, claim, progress, outcomeOfFault(claim, progress, thrown))
  } finally {
    held.stop()
  }
  return undefined
}

interface Plan {
  offer: Offer
  provider: JobProvider
  calls: ProviderJob[]
}

/** Whom a fresh job asks first, if that can be said before it is claimed: its calls are then noted with the claim. */
const planFirst = async (ctx: JobCtx, row: Generation): Promise<Plan | undefined> => {
  const claim = { ...row, inputs: [], jobs: [] }
  const offer = await chooseOffer(ctx, claim, { early: true })
  if ('is' in offer) return undefined
  const provider = providerOf(offer.provider)
  if (!provider.keepsJobs) return undefined
  return { offer, provider, calls: planCalls(claim, offer, [...Array(row.count).keys()]) }
}

/** The only place that writes how a step ended. @throws {AppError} already_finished, if the fence is lost */
const conclude = async (ctx: JobCtx, before: Claim, progress: Progress, outcome: Outcome): Promise<void> => {
  const claim = { ...before, jobs: progress.jobs() }
  const { changes } = progress
  switch (outcome.is) {
    case 'running':
      return release(ctx, claim, changes, {
        delaySeconds: untilDeadline(claim, pollDelay(ctx, claim)),
        changes: { phase: outcome.phase, progress: Math.max(claim.progress, outcome.progress) },
      })
    case 'stored':
      return succeed(ctx, claim, changes, outcome.outputs)
    case 'storing':
      return release(ctx, claim, changes, {
        delaySeconds: outcome.after,
        changes: { phase: 'storing', resultsAt: claim.resultsAt ?? new Date() },
      })
    case 'failed':
      return fail(ctx, claim, changes, outcome.error)
    case 'again':
      return release(ctx, claim, changes, { delaySeconds: untilDeadline(claim, outcome.after) })
    case 'handed over':
      return release(ctx, claim, changes, { delaySeconds: 0, lasting: true })
  }
}

/** The longer a job runs, the less a second matters. */
const pollDelay = ({ env }: JobCtx, { kind, startedAt, jobs }: Claim): number => {
  const tells = jobs.filter(isOpen).every(({ provider }) => {
    const asked = providerOf(provider)
    return asked.keepsJobs && asked.tells(env)
  })
  const elapsed = startedAt ? (Date.now() - startedAt.getTime()) / 1000 : 0
  return Math.ceil(
    Math.min(
      tells ? MAX_POLL_DELAY.webhooks : MAX_POLL_DELAY.polling,
      Math.max(POLL_DELAY[kind], elapsed / 2),
    ),
  )
}

/** Nothing waits past its deadline: the last step comes right after it. */
const untilDeadline = ({ deadlineAt }: Claim, seconds: number) =>
  Math.min(seconds, Math.max(1, Math.ceil((deadlineAt.getTime() - Date.now()) / 1000) + 1))

/** No time is left; what is claimed in line was claimed to end there, whatever this machine's clock says. */
const isLate = ({ status, deadlineAt }: Claim) => status === 'queued' || deadlineAt.getTime() < Date.now()

/** Whether results that storage has not taken yet are still waited for. */
const mayStore = ({ resultsAt }: Claim) =>
  resultsAt === null || Date.now() - resultsAt.getTime() < MAX_STORING

const step = async (
  ctx: JobCtx,
  claim: Claim,
  progress: Progress,
  held: AbortSignal,
  { lasting = false }: Wake,
  plan: Plan | undefined,
): Promise<Outcome> => {
  if (claim.fence > MAX_STEPS) {
    ctx.log({ level: 'error', message: 'job exceeds its steps', generationId: claim.id, steps: claim.fence })
    return giveUp(progress, failed('internal_error'))
  }
  if (plan && claim.jobs.some(({ id }) => id === plan.calls[0]?.id)) {
    return submit(ctx, { ...claim, inputs: [] }, progress, plan)
  }
  await pollJobs(ctx, claim, progress)
  const missing = missingOutputs(claim, progress)
  if (missing.length > 0 && !isLate(claim)) {
    if (claim.inputs.length < claim.inputAssetIds.length) return giveUp(progress, failed('input_deleted'))
    const ready = await prepareInputs(ctx, claim)
    if ('is' in ready) return giveUp(progress, ready)
    const offer = await chooseOffer(ctx, { ...ready, jobs: progress.jobs() }, { lasting })
    // Others are under way, and may yet come to something.
    if ('is' in offer)
      return progress.jobs().some(isOpen) ? standingOf(claim, progress) : giveUp(progress, offer)
    const provider = providerOf(offer.provider)
    if (!provider.keepsJobs && !lasting) return { is: 'handed over' }
    if (provider.keepsJobs) {
      const calls = planCalls(ready, offer, missing)
      await noteCalls(ctx, ready, calls)
      return submit(ctx, ready, progress, { offer, provider, calls })
    }
    for (const one of await renderJobs(ctx, ready, offer, provider, missing, held)) progress.add(one)
  }
  return standingOf(claim, progress)
}

/** Makes the calls, which are noted, and waits a little for what comes of them. */
const submit = async (
  ctx: JobCtx,
  claim: ReadyClaim,
  progress: Progress,
  { offer, provider, calls }: Plan,
): Promise<Outcome> => {
  const submitted = await submitJobs(ctx, claim, offer, provider, calls)
  for (const one of submitted) progress.add(one)
  const over = submitted.flatMap(({ job, standing }) =>
    standing && standing.status !== 'running' ? [[job.id, standing] as const] : [],
  )
  await pollJobs(ctx, claim, progress, new Map(over))
  await awaitPictures(ctx, claim, progress)
  return standingOf(claim, progress)
}

/** Waits a little for pictures that were just asked for; nobody waits for a film that has just begun. */
const awaitPictures = async (ctx: JobCtx, claim: Claim, progress: Progress): Promise<void> => {
  if (claim.kind !== 'image') return
  const started = Date.now()
  for (let pause = 100; unsettled(progress).length > 0; pause = Math.min(pause * 1.5, 1000)) {
    if (Date.now() - started > MAX_WAIT) return
    await scheduler.wait(pause)
    await pollJobs(ctx, claim, progress)
  }
}

/** Outputs that nobody makes, has made, or has refused to make for good. */
const missingOutputs = (claim: Claim, progress: Progress): number[] => {
  const settled = new Set(
    progress
      .jobs()
      .filter(
        (job) =>
          isOpen(job) ||
          job.status === 'succeeded' ||
          (job.failure !== null && reasons[job.failure.reason].ends === 'job'),
      )
      .flatMap(({ indexes }) => indexes),
  )
  return Array.from({ length: claim.count }, (_, index) => index).filter((index) => !settled.has(index))
}

/** What is in storage is kept, and charged; nothing at all is a failure. */
const giveUp = (progress: Progress, failure: Outcome): Outcome => {
  const outputs = progress.jobs().flatMap(({ stored }) => stored)
  return failure.is === 'failed' && outputs.length > 0 ? { is: 'stored', outputs } : failure
}

/** What the step comes to when everybody has been asked. */
const standingOf = (claim: Claim, progress: Progress): Outcome => {
  const jobs = progress.jobs()
  const open = jobs.filter(isOpen)
  const standings = open.map(({ id }) => progress.standings.get(id))
  if (standings.some((standing) => standing?.status === 'succeeded') && mayStore(claim)) {
    return { is: 'storing', after: storingDelay(claim, open) }
  }
  if (isLate(claim)) return giveUp(progress, failed('deadline_exceeded'))
  if (open.length > 0) return runningOf(claim, jobs, standings)
  if (missingOutputs(claim, progress).length > 0) return { is: 'again', after: 0 }
  return giveUp(progress, failed(refusalOf(jobs)))
}

/** Why nothing came of it: the last word of a provider. */
const refusalOf = (jobs: ProviderJob[]) => {
  const reason = jobs.findLast(({ failure }) => failure)?.failure?.reason
  return reason === 'content_rejected' || reason === 'input_rejected' ? reason : 'no_output'
}

/** Results that wait for storage, or for a source that does not answer, are tried again at growing intervals. */
const storingDelay = ({ resultsAt }: Claim, open: ProviderJob[]): number => {
  const fetches = Math.max(0, ...open.map((job) => job.fetches))
  const seconds = resultsAt ? (Date.now() - resultsAt.getTime()) / 1000 : 0
  return Math.ceil(Math.min(300, Math.max(fetches > 0 ? 2 ** fetches : 5, seconds / 10)))
}

const order = ['provider_line', 'booting', 'running'] as const

/** The slowest says where the whole is; the parts together say how far. */
const runningOf = (claim: Claim, jobs: ProviderJob[], standings: (Standing | undefined)[]): Outcome => {
  const phases = standings.map((one) => (one?.status === 'running' ? one.phase : 'provider_line'))
  const phase: GenerationPhase = order.find((one) => phases.includes(one)) ?? 'running'
  const made = jobs.reduce((sum, { stored }) => sum + stored.length, 0)
  const under = standings.reduce(
    (sum, one) => sum + (one?.status === 'running' ? (one.progress ?? 0) / 100 : 0),
    0,
  )
  const reported = Math.min(99, Math.round(((made + under) / claim.count) * 100))
  return { is: 'running', phase, progress: Math.max(reported, progressByTime(claim)) }
}

/** What a fault in a step comes to. */
const outcomeOfFault = (claim: Claim, progress: Progress, thrown: unknown): Outcome => {
  const asked = thrown instanceof ProviderError ? thrown.retryAfter : undefined
  return untilLater(claim, progress, asked ?? 2 + Math.ceil(Math.random() * 4))
}

/** What a step that has found out nothing comes to: time, while there is some or results wait for storage. */
const untilLater = (claim: Claim, progress: Progress, after: number): Outcome => {
  if (!isLate(claim)) return { is: 'again', after }
  const made = progress.jobs().filter((job) => isOpen(job) && job.operation !== null)
  return claim.resultsAt !== null && made.length > 0 && mayStore(claim)
    ? { is: 'storing', after: storingDelay(claim, made) }
    : giveUp(progress, failed('deadline_exceeded'))
}

/**
 * Messages about it were retried in vain. The row still knows what is owed, so this ends a job only when its time is
 * over; otherwise the sweeper wakes it again.
 */
export const abandon = async (ctx: JobCtx, id: string): Promise<void> => {
  const { claim } = await claimGeneration(ctx, id)
  if (!claim) return
  const progress = createProgress(claim)
  await conclude(ctx, claim, progress, untilLater(claim, progress, 5))
}
