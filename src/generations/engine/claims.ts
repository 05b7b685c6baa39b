/** A consumer's hold on a job: taken with a lease and a fence, given back, or ended, each once. */
import { and, eq, inArray, isNotNull, sql } from 'drizzle-orm'
import type { JobCtx } from '../../context.ts'
import { change } from '../../db/client.ts'
import { assets, generations, outbox, providerJobs } from '../../db/schema.ts'
import { exists, first, inWorkspace, rowOf } from '../../db/sql.ts'
import { dispatch } from '../../outbox/outbox.ts'
import { plansForSql } from '../../plans.ts'
import { type GenerationError, type StoredOutput, unfinishedStatuses } from '../../words.ts'
import { changeGeneration } from '../changes.ts'
import { type Generation, oneGeneration } from '../generations.ts'
import { type JobChanges, type ProviderJob, persist, toJson } from './jobs.ts'

/** As `app.claim` gives it. */
const LEASE = sql`interval '60 seconds'`
/** Milliseconds between two renewals of a claim. */
const RENEWAL = 20_000

type Asset = typeof assets.$inferSelect
export type Claim = Generation & { inputs: Asset[]; jobs: ProviderJob[] }

type Json = Record<string, unknown>
/** A type and no interface, so that it fits what a statement's rows may be. */
type Claimed = {
  generation: Json | null
  inputs: Json[] | null
  jobs: Json[] | null
  heldFor: number | null
}

/**
 * Takes the job, if it may be taken now (`app.claim`); `early`: a provider has said that there is news.
 * @returns the claim, or the seconds until whoever holds the job must have given it back, or nothing
 */
export const claimGeneration = async (
  ctx: JobCtx,
  id: string,
  { early = false }: { early?: boolean | undefined } = {},
): Promise<{ claim?: Claim; heldFor?: number }> => {
  const { claimed } = await changeGeneration(ctx, id, (db) => ({
    claimed: db.execute<Claimed>(
      sql`select generation, inputs, jobs, held_for "heldFor" from app.claim(${id}, ${early}, ${plansForSql})`,
    ),
  }))
  const { generation, inputs, jobs, heldFor } = first(claimed.rows)
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
export const startJobs = async (ctx: JobCtx, { id, fence }: Claim, jobs: ProviderJob[]): Promise<void> => {
  const calls = jobs.map((job) => ({
    id: job.id,
    indexes: job.indexes,
    provider: job.provider,
    model: job.model,
    output: job.output,
    prompt: job.prompt,
    inputs: job.inputs,
    asset_ids: job.assetIds,
    cost: job.cost,
    expires_at: job.expiresAt,
  }))
  await persist(() =>
    changeGeneration(ctx, id, (db) => ({
      noted: db.execute(sql`select app.note_calls(${id}, ${fence}, ${JSON.stringify(calls)})`),
    })),
  )
}

/** Keeps the claim. @returns false if it is lost */
const renew = async (ctx: JobCtx, { id, fence }: Claim): Promise<boolean> => {
  const held = and(
    oneGeneration(id),
    eq(generations.fence, fence),
    inArray(generations.status, unfinishedStatuses),
    // What was given back meanwhile has no lease.
    isNotNull(generations.leaseExpiresAt),
  )
  const { renewed } = await change(ctx, (db) => ({
    renewed: db
      .update(generations)
      .set({ leaseExpiresAt: sql`now() + ${LEASE}` })
      .where(held)
      .returning({ id: generations.id }),
    resend: db
      .update(outbox)
      .set({ availableAt: sql`now() + ${LEASE} + interval '1 second'`, sends: 0 })
      // Not for a claim that is lost: whoever has the job by now says when to look after it.
      .where(
        and(
          inWorkspace(outbox),
          eq(outbox.kind, 'generation'),
          eq(outbox.subjectId, id),
          exists(generations, held),
        ),
      ),
  }))
  return renewed.length > 0
}

/** Keeps the claim for as long as the step lasts; the signal says that it is lost. */
export const hold = (ctx: JobCtx, claim: Claim): { signal: AbortSignal; stop(): void } => {
  const lost = new AbortController()
  const timer = setInterval(() => {
    // A database that stumbles is asked again before the lease ends.
    renew(ctx, claim)
      .then((renewed) => renewed || lost.abort(new Error('the claim is lost')))
      .catch(() => undefined)
  }, RENEWAL)
  return { signal: lost.signal, stop: () => clearInterval(timer) }
}

export type Changes = Partial<Pick<Generation, 'progress' | 'phase' | 'resultsAt'>>
type JobChangesById = ReadonlyMap<string, JobChanges>

/** Gives the lease back; the one message that goes on with the job comes after the delay. */
export const release = async (
  ctx: JobCtx,
  { id, fence }: Claim,
  jobs: JobChangesById,
  { delaySeconds, changes = {}, lasting }: { delaySeconds: number; changes?: Changes; lasting?: boolean },
): Promise<void> => {
  const { resultsAt, ...others } = changes
  const text = JSON.stringify({ ...others, results_at: resultsAt })
  const { released } = await changeGeneration(ctx, id, (db) => ({
    released: db.execute<{ held: boolean }>(
      sql`select app.release(${id}, ${fence}, ${delaySeconds}, ${text}, ${toJson(jobs)}) held`,
    ),
  }))
  if (!first(released.rows).held) return
  const message = { kind: 'generation' as const, workspaceId: ctx.workspaceId, subjectId: id, lasting }
  await dispatch(ctx, [message], delaySeconds)
}

const settle = async (
  ctx: JobCtx,
  { id, fence }: Claim,
  jobs: JobChangesById,
  end: { error: GenerationError } | { outputs: StoredOutput[] },
): Promise<void> => {
  const error = 'error' in end ? JSON.stringify(end.error) : null
  const outputs = JSON.stringify('outputs' in end ? end.outputs : [])
  const { settled } = await changeGeneration(ctx, id, (db) => ({
    settled: db.execute<{ stops: boolean }>(
      sql`select app.settle(${id}, ${fence}, ${error}, ${outputs}, ${toJson(jobs)}) stops`,
    ),
  }))
  if (!first(settled.rows).stops) return
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
