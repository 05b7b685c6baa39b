/** A consumer's hold on a job: taken with a lease and a fence, given back, or ended, each once. */
import { and, eq, inArray, isNull, lte, or, type SQL, sql } from 'drizzle-orm'
import type { StoredObject } from '../../assets/storage.ts'
import type { JobCtx } from '../../context.ts'
import { settleCredits } from '../../credits/ledger.ts'
import { type Database, ensure } from '../../db/client.ts'
import { assets, generationOutputs, generations, outbox } from '../../db/schema.ts'
import { exists, inWorkspace } from '../../db/sql.ts'
import { dispatch, owe, settle } from '../../outbox/outbox.ts'
import type { GenerationError } from '../../words.ts'
import { lockWorkspace, runningLimit } from '../../workspaces/quotas.ts'
import { changeGeneration } from '../changes.ts'
import { type Generation, nextInLine, oneGeneration, wake } from '../generations.ts'

/** Longer than one step usually takes; after it another consumer may claim the job. */
const LEASE = sql`interval '60 seconds'`

type Asset = typeof assets.$inferSelect
export type Claim = Generation & { inputs: Asset[] }
export interface StoredOutput {
  index: number
  assetId: string
  name: string
  object: StoredObject
}

/** When the sweeper should look after the job, if nothing else does. */
const wakeAfter = (db: Database, id: string, delay: SQL) =>
  db
    .update(outbox)
    .set({ availableAt: sql`now() + ${delay}`, sends: 0 })
    .where(and(eq(outbox.kind, 'generation'), eq(outbox.subjectId, id)))

const fenced = (claim: Claim) =>
  and(oneGeneration(claim.id), eq(generations.fence, claim.fence), eq(generations.status, 'running'))

/** Refuses the transaction if another claim, or a cancellation, came in between. */
const holdsFence = (db: Database, claim: Claim) =>
  ensure(db, exists(generations, fenced(claim), 'for update'), 'already_finished')

/** SQL: the workspace runs fewer jobs than its plan allows. */
const hasPlace = sql`coalesce((select count(*) from generations r
  where r.workspace_id = app.workspace_id() and r.status = 'running') < ${runningLimit}, true)`

/**
 * Takes the lease and a new fence, unless the job has finished, somebody holds it, or the workspace has as many
 * running as its plan allows: then it waits until one of those ends.
 */
export const claimGeneration = async (ctx: JobCtx, id: string): Promise<Claim | undefined> => {
  const {
    claimed: [row],
    inputs,
  } = await changeGeneration(ctx, id, (db) => ({
    lock: lockWorkspace(db),
    claimed: db
      .update(generations)
      .set({
        status: 'running',
        fence: sql`${generations.fence} + 1`,
        // A claim without a provider's job is going to submit one.
        attempts: sql`${generations.attempts} + (${generations.providerJobId} is null)::int`,
        startedAt: sql`coalesce(${generations.startedAt}, now())`,
        // The time in line doesn't count.
        deadlineAt: sql`case when ${generations.startedAt} is null
          then now() + make_interval(secs => ${generations.deadline}) else ${generations.deadlineAt} end`,
        leaseExpiresAt: sql`now() + ${LEASE}`,
      })
      .where(
        and(
          oneGeneration(id),
          inArray(generations.status, ['queued', 'running']),
          or(isNull(generations.leaseExpiresAt), lte(generations.leaseExpiresAt, sql`now()`)),
          or(eq(generations.status, 'running'), hasPlace),
        ),
      )
      .returning(),
    patience: wakeAfter(db, id, sql`${LEASE} + interval '1 second'`),
    inputs: db
      .select()
      .from(assets)
      .where(
        and(
          inWorkspace(assets),
          sql`${assets.id} = any(select unnest(input_asset_ids) from generations where ${oneGeneration(id)})`,
        ),
      ),
  }))
  return row && { ...row, inputs }
}

/** Stores what the provider calls the job; false if the job was canceled meanwhile. */
export const keepProviderJob = async (
  ctx: JobCtx,
  claim: Claim,
  job: { providerIndex: number; providerJobId: string },
): Promise<boolean> => {
  const { kept } = await changeGeneration(ctx, claim.id, (db) => ({
    kept: db.update(generations).set(job).where(fenced(claim)).returning({ id: generations.id }),
  }))
  return kept.length > 0
}

/** Gives the lease back and asks to be woken. */
export const release = async (
  ctx: JobCtx,
  claim: Claim,
  delaySeconds: number,
  changes: Partial<Pick<Generation, 'progress' | 'outputAttempts' | 'providerIndex'>> = {},
): Promise<void> => {
  await changeGeneration(ctx, claim.id, (db) => ({
    released: db
      .update(generations)
      .set({ leaseExpiresAt: sql`now()`, ...changes })
      .where(fenced(claim)),
    patience: wakeAfter(db, claim.id, sql`make_interval(secs => ${delaySeconds + 30})`),
  }))
  const message = { kind: 'generation' as const, workspaceId: ctx.workspaceId, subjectId: claim.id }
  await dispatch(ctx, [message], delaySeconds)
}

/** Notes that objects which no output needs are to be deleted, once a step that may still store them is over. */
const eraseUnused = (db: Database, claim: Claim, used: readonly string[]) =>
  owe(
    db,
    'object.delete',
    claim.outputAssetIds.filter((id) => !used.includes(id)),
    sql`interval '2 minutes'`,
  )

/** Charges for what arrived; the rest of the reservation goes back. @throws {AppError} already_finished */
export const succeed = async (ctx: JobCtx, claim: Claim, outputs: StoredOutput[]): Promise<void> => {
  const charged = Math.ceil((claim.creditsReserved * outputs.length) / claim.count)
  const { next } = await changeGeneration({ ...ctx, action: 'generation.succeed' }, claim.id, (db) => ({
    fence: holdsFence(db, claim),
    succeeded: db
      .update(generations)
      .set({
        status: 'succeeded',
        progress: 100,
        creditsCharged: charged,
        completedAt: sql`now()`,
        leaseExpiresAt: null,
      })
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
    next: nextInLine(db),
  }))
  await wake(ctx, ctx.workspaceId, next)
}

/** Gives the reservation back. @throws {AppError} already_finished */
export const fail = async (ctx: JobCtx, claim: Claim, error: GenerationError): Promise<void> => {
  const { next } = await changeGeneration({ ...ctx, action: 'generation.fail' }, claim.id, (db) => ({
    fence: holdsFence(db, claim),
    failed: db
      .update(generations)
      .set({ status: 'failed', error, completedAt: sql`now()`, leaseExpiresAt: null })
      .where(fenced(claim)),
    refunded: settleCredits(db, claim.id, 0),
    settled: settle(db, 'generation', claim.id),
    erasures: eraseUnused(db, claim, []),
    next: nextInLine(db),
  }))
  await wake(ctx, ctx.workspaceId, next)
}
