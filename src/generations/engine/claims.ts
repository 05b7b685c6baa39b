/** A consumer's hold on a job: taken with a lease and a fence, given back, or ended, each once. */
import { and, eq, inArray, isNotNull, type SQL, sql } from 'drizzle-orm'
import type { JobCtx } from '../../context.ts'
import { settleCredits } from '../../credits/ledger.ts'
import { change, type Database, ensure } from '../../db/client.ts'
import { assets, generationOutputs, generations, outbox, providerJobs } from '../../db/schema.ts'
import { exists, first, inWorkspace, rowOf } from '../../db/sql.ts'
import { dispatch, owe, RESEND_DELAY, settle } from '../../outbox/outbox.ts'
import { plansForSql } from '../../plans.ts'
import { type GenerationError, type StoredOutput, unfinishedStatuses } from '../../words.ts'
import { changeGeneration } from '../changes.ts'
import { etaUnderWay } from '../estimates.ts'
import { type Generation, LONGEST_STEP, oneGeneration } from '../generations.ts'
import {
  endJobs,
  isOpen,
  type JobChanges,
  type NewProviderJob,
  type ProviderJob,
  persist,
  writeJobs,
} from './jobs.ts'

/** As `app.claim` gives it. */
const LEASE = sql`interval '60 seconds'`
/** When a job whose next step is due, but was not taken, is sent again. */
const STEP_RESEND_DELAY = sql`interval '15 seconds'`
/** Milliseconds between two renewals of a claim. */
const RENEWAL = 20_000

type Asset = typeof assets.$inferSelect
export type Claim = Generation & { inputs: Asset[]; jobs: ProviderJob[] }

/** When the sweeper should look after the job, if nothing else does. */
const resendAfter = (db: Database, claimed: SQL | undefined, delay: SQL) =>
  db
    .update(outbox)
    .set({ availableAt: sql`now() + ${delay}`, sends: 0 })
    .where(
      and(
        inWorkspace(outbox),
        eq(outbox.kind, 'generation'),
        sql`${outbox.subjectId} in (select id from generations where ${claimed})`,
      ),
    )

const fenced = (claim: Claim) =>
  and(
    oneGeneration(claim.id),
    eq(generations.fence, claim.fence),
    inArray(generations.status, unfinishedStatuses),
  )

/** Refuses the transaction if another claim, or a cancellation, came in between. */
const holdsFence = (db: Database, claim: Claim) =>
  ensure(db, exists(generations, fenced(claim), 'for update'), 'already_finished')

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
export const startJobs = async (ctx: JobCtx, claim: Claim, jobs: NewProviderJob[]): Promise<void> => {
  await persist(() =>
    changeGeneration(ctx, claim.id, (db) => ({
      fence: holdsFence(db, claim),
      started: db.insert(providerJobs).values(jobs).onConflictDoNothing(),
      counted: db
        .update(generations)
        .set({
          attempts: sql`(select count(*)::int from provider_jobs j
            where j.workspace_id = generations.workspace_id and j.generation_id = generations.id)`,
          offer: sql`${jobs[0]?.provider}::text || ':' || ${jobs[0]?.model}::text`,
        })
        .where(fenced(claim)),
    })),
  )
}

/** Keeps the claim. @returns false if it is lost */
const renew = async (ctx: JobCtx, claim: Claim): Promise<boolean> => {
  // What was given back meanwhile has no lease.
  const held = and(fenced(claim), isNotNull(generations.leaseExpiresAt))
  const { renewed } = await change(ctx, (db) => ({
    renewed: db
      .update(generations)
      .set({ leaseExpiresAt: sql`now() + ${LEASE}` })
      .where(held)
      .returning({ id: generations.id }),
    resend: resendAfter(db, held, sql`${LEASE} + interval '1 second'`),
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
  claim: Claim,
  jobs: JobChangesById,
  { delaySeconds, changes = {}, lasting }: { delaySeconds: number; changes?: Changes; lasting?: boolean },
): Promise<void> => {
  const { released } = await changeGeneration(ctx, claim.id, (db) => ({
    released: db
      .update(generations)
      .set({
        leaseExpiresAt: null,
        nextStepAt: sql`now() + make_interval(secs => ${delaySeconds})`,
        eta: etaUnderWay,
        ...changes,
      })
      .where(fenced(claim))
      .returning({ id: generations.id }),
    ...writeJobs(db, jobs),
    resend: resendAfter(
      db,
      fenced(claim),
      sql`make_interval(secs => ${delaySeconds}) + ${STEP_RESEND_DELAY}`,
    ),
  }))
  if (released.length === 0) return
  const message = { kind: 'generation' as const, workspaceId: ctx.workspaceId, subjectId: claim.id, lasting }
  await dispatch(ctx, [message], delaySeconds)
}

/** Notes that objects which no output needs are to be deleted, once a step that may still store them is over. */
const eraseUnused = (db: Database, claim: Claim, used: readonly string[]) =>
  owe(
    db,
    'object.delete',
    claim.jobs.flatMap(({ assetIds }) => assetIds).filter((id) => !used.includes(id)),
    LONGEST_STEP,
  )

const ended = { completedAt: sql`now()`, leaseExpiresAt: null, nextStepAt: null }

/**
 * Charges for what arrived; the rest of the reservation goes back, and what may still run is stopped.
 * @throws {AppError} already_finished
 */
export const succeed = async (
  ctx: JobCtx,
  claim: Claim,
  jobs: JobChangesById,
  outputs: StoredOutput[],
): Promise<void> => {
  const charged = Math.ceil((claim.creditsReserved * outputs.length) / claim.count)
  const stops = claim.jobs.some(isOpen)
  await changeGeneration({ ...ctx, action: 'generation.succeed' }, claim.id, (db) => ({
    fence: holdsFence(db, claim),
    succeeded: db
      .update(generations)
      .set({ status: 'succeeded', progress: 100, creditsCharged: charged, ...ended })
      .where(fenced(claim)),
    assets: db.insert(assets).values(
      outputs.map(({ assetId, name, object }) => ({
        id: assetId,
        name,
        ...object,
        source: 'generation' as const,
        status: 'ready' as const,
        createdBy: claim.createdBy,
      })),
    ),
    outputs: db
      .insert(generationOutputs)
      .values(outputs.map(({ assetId, index }) => ({ generationId: claim.id, index, assetId }))),
    ...writeJobs(db, jobs),
    credits: db.execute(sql`
      update provider_jobs set credits = round(${charged}::numeric * jsonb_array_length(stored) / ${outputs.length})
       where workspace_id = (select app.workspace_id()) and generation_id = ${claim.id} and status = 'succeeded'`),
    ...stopJobs(db, claim, stops),
    charged: settleCredits(db, claim.id, charged),
    settled: settle(db, 'generation', claim.id),
    erasures: eraseUnused(
      db,
      claim,
      outputs.map(({ assetId }) => assetId),
    ),
  }))
  if (stops) await tellStop(ctx, claim)
}

/** Providers are owed the word that nobody waits for what they still have. */
const stopJobs = (db: Database, claim: Claim, stops: boolean) => ({
  stopped: endJobs(db, claim.id),
  stop: owe(db, 'prediction.cancel', stops ? [claim.id] : [], RESEND_DELAY),
})

const tellStop = (ctx: JobCtx, claim: Claim) =>
  dispatch(ctx, [{ kind: 'prediction.cancel', workspaceId: ctx.workspaceId, subjectId: claim.id }])

/** Gives the reservation back, and has stopped what may still run. @throws {AppError} already_finished */
export const fail = async (
  ctx: JobCtx,
  claim: Claim,
  jobs: JobChangesById,
  error: GenerationError,
): Promise<void> => {
  const stops = claim.jobs.some(isOpen)
  await changeGeneration({ ...ctx, action: 'generation.fail' }, claim.id, (db) => ({
    fence: holdsFence(db, claim),
    failed: db
      .update(generations)
      .set({ status: 'failed', error, ...ended })
      .where(fenced(claim)),
    refunded: settleCredits(db, claim.id, 0),
    settled: settle(db, 'generation', claim.id),
    ...writeJobs(db, jobs),
    ...stopJobs(db, claim, stops),
    erasures: eraseUnused(db, claim, []),
  }))
  if (stops) await tellStop(ctx, claim)
}
