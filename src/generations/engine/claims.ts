/** A consumer's hold on a job: taken with a lease and a fence, given back, or ended, each once. */
import { and, eq, inArray, isNotNull, isNull, lte, or, type SQL, sql } from 'drizzle-orm'
import type { JobCtx } from '../../context.ts'
import { settleCredits } from '../../credits/ledger.ts'
import { type Database, ensure } from '../../db/client.ts'
import { assets, generationOutputs, generations, outbox } from '../../db/schema.ts'
import { exists, inWorkspace } from '../../db/sql.ts'
import { dispatch, owe, RESEND_DELAY, settle } from '../../outbox/outbox.ts'
import { type GenerationError, type StoredOutput, unfinishedStatuses } from '../../words.ts'
import { changeGeneration } from '../changes.ts'
import { type Generation, LONGEST_STEP, oneGeneration } from '../generations.ts'
import { hasPlace, STEP_RESEND_DELAY } from '../places.ts'

/** Longer than a step at a provider that keeps jobs takes; after it another consumer may claim the job. */
const LEASE = sql`interval '60 seconds'`
/** The queue may deliver a delayed message this early. */
const EARLY = sql`interval '1 second'`

type Asset = typeof assets.$inferSelect
export type Claim = Generation & { inputs: Asset[] }

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

/** SQL: it has stood in line for as long as a job may. */
const outOfTime = and(eq(generations.status, 'queued'), lte(generations.deadlineAt, sql`now()`))

/**
 * Takes the lease and a new fence. Refused while somebody holds the job, after its end, before its next step is due
 * (unless `early`: a provider has said that there is news), and in line while the workspace has no place.
 * @returns the claim, or the seconds until whoever holds the job must have given it back, or nothing
 */
export const claimGeneration = async (
  ctx: JobCtx,
  id: string,
  { early = false }: { early?: boolean | undefined } = {},
): Promise<{ claim?: Claim; heldFor?: number }> => {
  const isClaimed = and(oneGeneration(id), eq(generations.leaseExpiresAt, sql`now() + ${LEASE}`))
  const {
    claimed: [row],
    inputs,
    held: [held],
  } = await changeGeneration(ctx, id, (db) => ({
    held: db
      .select({ seconds: sql<number>`ceil(extract(epoch from ${generations.leaseExpiresAt} - now()))::int` })
      .from(generations)
      .where(
        and(oneGeneration(id), eq(generations.status, 'running'), sql`${generations.leaseExpiresAt} > now()`),
      ),
    claimed: db
      .update(generations)
      .set({
        status: sql`case when ${outOfTime} then 'queued' else 'running' end`,
        fence: sql`${generations.fence} + 1`,
        // A claim without a provider's job is going to submit one; if it does not, it says so when it ends.
        attempts: sql`${generations.attempts} + (${generations.providerJobId} is null and not (${outOfTime}))::int`,
        startedAt: sql`case when ${outOfTime} then null else coalesce(${generations.startedAt}, now()) end`,
        // The time in line doesn't count.
        deadlineAt: sql`case when ${generations.startedAt} is null and not (${outOfTime})
          then now() + make_interval(secs => ${generations.deadline}) else ${generations.deadlineAt} end`,
        leaseExpiresAt: sql`now() + ${LEASE}`,
        nextStepAt: null,
        wokenAt: null,
      })
      .where(
        and(
          oneGeneration(id),
          inArray(generations.status, unfinishedStatuses),
          or(isNull(generations.leaseExpiresAt), lte(generations.leaseExpiresAt, sql`now()`)),
          early
            ? undefined
            : or(isNull(generations.nextStepAt), lte(generations.nextStepAt, sql`now() + ${EARLY}`)),
          or(eq(generations.status, 'running'), hasPlace, outOfTime),
        ),
      )
      .returning(),
    // In line without a place: whoever ends tells it again.
    refused: db
      .update(generations)
      .set({ wokenAt: null })
      .where(and(oneGeneration(id), eq(generations.status, 'queued'), isNotNull(generations.wokenAt))),
    resend: resendAfter(db, isClaimed, sql`${LEASE} + interval '1 second'`),
    inputs: db
      .select()
      .from(assets)
      .where(
        and(
          inWorkspace(assets),
          sql`${assets.id} = any(select unnest(input_asset_ids) from generations where ${isClaimed})`,
        ),
      ),
  }))
  if (row) return { claim: { ...row, inputs } }
  return held ? { heldFor: held.seconds } : {}
}

/** Stores which offer has the job, and what its provider calls it; false if the job was canceled meanwhile. */
export const keepProviderJob = async (
  ctx: JobCtx,
  claim: Claim,
  job: { providerIndex: number; providerJobId?: string },
): Promise<boolean> => {
  const { kept } = await changeGeneration(ctx, claim.id, (db) => ({
    kept: db.update(generations).set(job).where(fenced(claim)).returning({ id: generations.id }),
  }))
  return kept.length > 0
}

export type Changes = Partial<
  Pick<
    Generation,
    'progress' | 'attempts' | 'outputAttempts' | 'providerIndex' | 'resultsAt' | 'storedOutputs'
  >
>

/** Gives the lease back; the one message that goes on with the job comes after the delay. */
export const release = async (
  ctx: JobCtx,
  claim: Claim,
  delaySeconds: number,
  changes: Changes = {},
): Promise<void> => {
  const { released } = await changeGeneration(ctx, claim.id, (db) => ({
    released: db
      .update(generations)
      .set({
        leaseExpiresAt: null,
        nextStepAt: sql`now() + make_interval(secs => ${delaySeconds})`,
        ...changes,
      })
      .where(fenced(claim))
      .returning({ id: generations.id }),
    resend: resendAfter(
      db,
      fenced(claim),
      sql`make_interval(secs => ${delaySeconds}) + ${STEP_RESEND_DELAY}`,
    ),
  }))
  if (released.length === 0) return
  const message = { kind: 'generation' as const, workspaceId: ctx.workspaceId, subjectId: claim.id }
  await dispatch(ctx, [message], delaySeconds)
}

/** Notes that objects which no output needs are to be deleted, once a step that may still store them is over. */
const eraseUnused = (db: Database, claim: Claim, used: readonly string[]) =>
  owe(
    db,
    'object.delete',
    claim.outputAssetIds.filter((id) => !used.includes(id)),
    LONGEST_STEP,
  )

const ended = { completedAt: sql`now()`, leaseExpiresAt: null, nextStepAt: null }

/** Charges for what arrived; the rest of the reservation goes back. @throws {AppError} already_finished */
export const succeed = async (ctx: JobCtx, claim: Claim, outputs: StoredOutput[]): Promise<void> => {
  const charged = Math.ceil((claim.creditsReserved * outputs.length) / claim.count)
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
    charged: settleCredits(db, claim.id, charged),
    settled: settle(db, 'generation', claim.id),
    erasures: eraseUnused(
      db,
      claim,
      outputs.map(({ assetId }) => assetId),
    ),
  }))
}

/**
 * Gives the reservation back. A provider that still has the job is owed the word that nobody waits for it.
 * @throws {AppError} already_finished
 */
export const fail = async (ctx: JobCtx, claim: Claim, error: GenerationError): Promise<void> => {
  const stops = claim.providerJobId !== null && error.code === 'deadline_exceeded'
  await changeGeneration({ ...ctx, action: 'generation.fail' }, claim.id, (db) => ({
    fence: holdsFence(db, claim),
    failed: db
      .update(generations)
      .set({ status: 'failed', error, ...ended })
      .where(fenced(claim)),
    refunded: settleCredits(db, claim.id, 0),
    settled: settle(db, 'generation', claim.id),
    stop: owe(db, 'prediction.cancel', stops ? [claim.id] : [], RESEND_DELAY),
    erasures: eraseUnused(db, claim, []),
  }))
  const stop = { kind: 'prediction.cancel' as const, workspaceId: ctx.workspaceId, subjectId: claim.id }
  if (stops) await dispatch(ctx, [stop])
}
