/** How jobs at providers stand: asked, or told, and what has arrived is stored. */
import type { JobCtx } from '../../context.ts'
import { report } from '../../providers/breakers.ts'
import { reasons } from '../../providers/failures.ts'
import { type JobProvider, ProviderError, type Standing } from '../../providers/provider.ts'
import { providerOf } from '../../providers/registry.ts'
import type { Operation } from '../../words.ts'
import type { Claim } from './claims.ts'
import { costOfMade, isOpen, type JobChanges, type ProviderJob } from './jobs.ts'
import { storeUrls } from './outputs.ts'
import { MARGIN, type Submitted } from './submit.ts'

/** Times that a missing or broken output is fetched again before the job goes on without it. */
const MAX_FETCHES = 3

/** What a step knows of the jobs at providers, and what of it is not written down yet. */
export const createProgress = (claim: Claim) => {
  const jobs = new Map(claim.jobs.map((job) => [job.id, job]))
  const changes = new Map<string, JobChanges>()
  const standings = new Map<string, Standing>()
  return {
    jobs: () => [...jobs.values()],
    changes,
    standings,
    change(job: ProviderJob, changed: JobChanges) {
      jobs.set(job.id, { ...job, ...changed, ...(changed.status && { endedAt: new Date() }) })
      if (Object.keys(changed).length > 0) changes.set(job.id, { ...changes.get(job.id), ...changed })
    },
    add({ job, changes: changed, standing }: Submitted) {
      jobs.set(job.id, job)
      if (Object.keys(changed).length > 0) changes.set(job.id, changed)
      // What is over already is stored first.
      if (standing?.status === 'running') standings.set(job.id, standing)
    },
  }
}
export type Progress = ReturnType<typeof createProgress>

/** Jobs at providers of which this step does not know the end yet. */
export const unsettled = (progress: Progress) =>
  progress.jobs().filter((job) => isOpen(job) && progress.standings.get(job.id)?.status !== 'succeeded')

/**
 * Asks providers how their jobs stand, or takes what they have `told`, and stores what has arrived; what goes wrong with one
 * keeps nothing of the others from being stored and written down.
 */
export const pollJobs = async (
  ctx: JobCtx,
  claim: Claim,
  progress: Progress,
  told?: ReadonlyMap<string, Standing>,
): Promise<void> => {
  const jobs = unsettled(progress).filter(({ id }) => !told || told.has(id))
  const polls = await Promise.allSettled(
    jobs.map(async (job) => {
      if (!job.operation) {
        // Asked, and the answer was lost: a webhook may still name it, until nothing can come of it any more.
        if (job.expiresAt.getTime() < Date.now()) progress.change(job, { status: 'lost' })
        return
      }
      const provider = providerOf(job.provider)
      if (!provider.keepsJobs) return
      const standing = told?.get(job.id) ?? (await standingAt(ctx, provider, job, job.operation))
      progress.standings.set(job.id, standing)
      progress.change(job, await changesOf(ctx, claim, job, standing))
    }),
  )
  const fault = polls.find((one) => one.status === 'rejected')
  if (fault) throw fault.reason
}

/** The truth about a job that a provider has. @throws {ProviderError} */
const standingAt = async (
  ctx: JobCtx,
  provider: JobProvider,
  job: ProviderJob,
  operation: Operation,
): Promise<Standing> => {
  try {
    return await provider.get(ctx.env, operation, job.output)
  } catch (thrown) {
    if (!(thrown instanceof ProviderError)) throw thrown
    const { failure } = thrown
    // Not the model, but the job is gone: another may have to make it.
    if (failure.reason === 'model_gone') {
      return { status: 'failed', failure: { reason: 'provider_failed', detail: failure.detail } }
    }
    const { ends, whoFixes } = reasons[failure.reason]
    if (ends === 'time') throw thrown
    // Who does not let us ask still makes it, and it is paid: until nothing can come of it, the operator may mend that.
    if (whoFixes === 'operator' && job.expiresAt.getTime() > Date.now()) {
      await report(ctx.env, job, failure)
      throw thrown
    }
    return { status: 'failed', failure }
  }
}

const changesOf = async (
  ctx: JobCtx,
  claim: Claim,
  job: ProviderJob,
  standing: Standing,
): Promise<JobChanges> => {
  if (standing.status === 'running') return {}
  if (standing.status === 'failed') {
    const { failure } = standing
    const { provider, model } = job
    ctx.log({ level: 'warn', message: 'model failed', provider, model, jobId: job.id, ...failure })
    // Before its deadline it is we who cancel, which says nothing of the offer.
    const isOurs = failure.reason === 'canceled' && Date.now() < job.expiresAt.getTime() - MARGIN
    if (!isOurs) await report(ctx.env, job, failure)
    // What it has made before counts, and nobody makes it again.
    if (job.stored.length > 0)
      return { status: 'succeeded', failure, cost: costOfMade(job, job.stored.length) }
    return { status: 'failed', failure, cost: 0 }
  }
  const { stored, broken, waiting } = await storeUrls(ctx, claim, job, standing.urls)
  if (waiting) return { stored }
  // What broke may work in a moment; what never does is not charged.
  const fetches = job.fetches + 1
  if (broken && fetches < MAX_FETCHES) return { stored, fetches }
  if (stored.length === 0) {
    return {
      status: 'failed',
      fetches,
      failure: { reason: 'no_output', detail: 'no output could be stored' },
    }
  }
  return { status: 'succeeded', stored, fetches, cost: costOfMade(job, stored.length) }
}
