/** A consumer's hold on a job: taken with a lease and a fence, given back, or ended, each once. */
import type { JobCtx } from '../../context.ts'
import { call, persist } from '../../db/client.ts'
import { assets, generations, providerJobs } from '../../db/schema.ts'
import { rowOf } from '../../db/sql.ts'
import { toAppError } from '../../errors.ts'
import { dispatch } from '../../outbox/outbox.ts'
import type { GenerationError, Operation, StoredOutput } from '../../words.ts'
import { changeGeneration, type Json } from '../changes.ts'
import type { Generation } from '../generations.ts'
import { type JobChanges, PATIENCE, type ProviderJob, toCall, toChanges } from './jobs.ts'

/** Milliseconds between two renewals of a claim, which lasts a minute. */
const RENEWAL = 20_000

type Asset = typeof assets.$inferSelect
export type Claim = Generation & { inputs: Asset[]; jobs: ProviderJob[] }

/** A type and no interface, so that it fits what a statement's rows may be. */
type Claimed = {
  generation: Json | null
  inputs: Json[] | null
  jobs: Json[] | null
  held_for: number | null
}

export interface News {
  /** A provider has news. */
  early?: boolean | undefined
  /** What a provider calls a job whose answer may have been lost. */
  told?: { jobId: string; operation: Operation } | undefined
}

/**
 * Takes the job, if it may be taken now (`app.claim`); `calls` are noted with a job's first claim; what was `told` is kept in any
 * case.
 * @returns the claim, or the seconds until whoever holds the job must have given it back, or nothing
 */
export const claimGeneration = async (
  ctx: JobCtx,
  id: string,
  { early = false, calls = [], told }: News & { calls?: ProviderJob[] | undefined } = {},
): Promise<{ claim?: Claim; heldFor?: number }> => {
  const claiming = () =>
    changeGeneration<Claimed>(ctx, 'claim', { id, early, calls: calls.map(toCall), told })
  // A note without a call would keep others from calling until its time is over, and a lost id is a job paid twice.
  const claimed = await (calls.length > 0 || told ? persist(PATIENCE, claiming) : claiming())
  const { generation, inputs, jobs, held_for: heldFor } = claimed
  if (!generation) return heldFor === null ? {} : { heldFor }
  return {
    claim: {
      ...rowOf(generations, generation),
      inputs: (inputs ?? []).map((row) => rowOf(assets, row)),
      jobs: (jobs ?? []).map((row) => rowOf(providerJobs, row)),
    },
  }
}

/**
 * Notes what providers are about to be asked, while the claim holds. Noting twice is harmless, so a database that stumbles
 * is asked again: a note without a call would keep others from calling until its time is over.
 * @throws {AppError} already_finished
 */
export const noteCalls = async (ctx: JobCtx, { id, fence }: Claim, jobs: ProviderJob[]): Promise<void> => {
  await persist(PATIENCE, () => changeGeneration(ctx, 'note_calls', { id, fence, calls: jobs.map(toCall) }))
}

/** Keeps the claim, if it is not lost. @returns whether anybody still waits for the job */
const renew = async (ctx: JobCtx, { id, fence }: Claim): Promise<boolean> => {
  const { is_open: isOpen } = await call<{ is_open: boolean }>(ctx, 'renew', { id, fence })
  return isOpen
}

/**
 * Keeps the claim for as long as the step lasts; the signal says that the job has ended. A claim that is lost, as when the database
 * was away, ends no call: it is noted and paid, so that nobody else makes it, and what comes of it is kept.
 */
export const hold = (ctx: JobCtx, claim: Claim): { signal: AbortSignal; stop(): void } => {
  const over = new AbortController()
  const timer = setInterval(() => {
    void renew(ctx, claim)
      // A database that stumbles is asked again before the lease ends; of a deleted workspace nobody holds anything.
      .catch((error: unknown) => toAppError(error).code !== 'not_found')
      .then((isOpen) => isOpen || over.abort(new Error('the job has ended')))
  }, RENEWAL)
  return { signal: over.signal, stop: () => clearInterval(timer) }
}

export type Changes = Partial<Pick<Generation, 'progress' | 'phase' | 'resultsAt'>>
type JobChangesById = ReadonlyMap<string, JobChanges>

/** Gives the lease back; the one message that goes on with the job comes after the delay. */
export const release = async (
  ctx: JobCtx,
  { id, fence }: Claim,
  jobs: JobChangesById,
  {
    delaySeconds,
    changes = {},
    lasting = false,
  }: { delaySeconds: number; changes?: Changes; lasting?: boolean },
): Promise<void> => {
  const { resultsAt, ...others } = changes
  const { held } = await changeGeneration<{ held: boolean }>(ctx, 'release', {
    id,
    fence,
    delay: delaySeconds,
    lasting,
    changes: { ...others, results_at: resultsAt },
    calls: toChanges(jobs),
  })
  if (!held) return
  const message = {
    kind: 'generation' as const,
    workspaceId: ctx.workspaceId,
    subjectId: id,
    ...(lasting && { lasting }),
  }
  await dispatch(ctx, [message], delaySeconds)
}

const settle = async (
  ctx: JobCtx,
  { id, fence }: Claim,
  jobs: JobChangesById,
  end: { error: GenerationError } | { outputs: StoredOutput[] },
): Promise<void> => {
  const { stops } = await changeGeneration<{ stops: boolean }>(ctx, 'settle', {
    id,
    fence,
    outputs: [],
    ...end,
    calls: toChanges(jobs),
  })
  if (!stops) return
  await dispatch(ctx, [{ kind: 'prediction.cancel', workspaceId: ctx.workspaceId, subjectId: id }])
}

/**
 * Charges for what arrived; the rest of the reservation goes back, and what may still run is stopped.
 * @throws {AppError} already_finished
 */
export const succeed = (ctx: JobCtx, claim: Claim, jobs: JobChangesById, outputs: StoredOutput[]) =>
  settle({ ...ctx, action: 'generation.succeed' }, claim, jobs, { outputs })

/** Gives the reservation back, and has stopped what may still run. @throws {AppError} already_finished */
export const fail = (ctx: JobCtx, claim: Claim, jobs: JobChangesById, error: GenerationError) =>
  settle({ ...ctx, action: 'generation.fail' }, claim, jobs, { error })
