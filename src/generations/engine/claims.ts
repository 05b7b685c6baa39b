/** A consumer's hold on a job: taken with a lease and a fence, given back, or ended, each once. */
import { and, eq, inArray, isNull, lte, or, sql } from 'drizzle-orm'
import type { StoredObject } from '../../assets/storage.ts'
import type { JobCtx } from '../../context.ts'
import { settleCredits } from '../../credits/ledger.ts'
import { type Database, ensure, transact } from '../../db/client.ts'
import { assets, generationOutputs, generations, outbox } from '../../db/schema.ts'
import { exists, inWorkspace } from '../../db/sql.ts'
import { announce, newEvents } from '../../events/events.ts'
import { dispatch, owe, settle } from '../../outbox/outbox.ts'
import type { GenerationError } from '../../words.ts'
import { lockWorkspace, runningLimit } from '../../workspaces/quotas.ts'
import { type Generation, nextInLine, oneGeneration } from '../generations.ts'

/** Longer than one step usually takes; after it another consumer may claim the job. */
const LEASE = sql`interval '60 seconds'`

type Asset = typeof assets.$inferSelect
export type Claim = Generation & { inputs: Asset[] }
export interface StoredOutput {
  index: number
  assetId: string
  object: StoredObject
}

/** When the sweeper should look after the job, if nothing else does. */
const wakeAfter = (db: Database, id: string, delay: ReturnType<typeof sql>) =>
  db
    .update(outbox)
    .set({ availableAt: sql`now() + ${delay}`, sends: 0 })
    .where(and(eq(outbox.kind, 'generation'), eq(outbox.subjectId, id)))

const fenced = (claim: Claim) =>
  and(oneGeneration(claim.id), eq(generations.fence, claim.fence), eq(generations.status, 'running'))

/** Refuses the transaction if another claim, or a cancellation, came in between. */
const holdsFence = (db: Database, claim: Claim) =>
  ensure(db, exists(generations, fenced(claim), 'for update'), 'already_finished')

/**
 * Takes the lease and a new fence, unless the job has finished, somebody holds it, or the workspace has as many
 * running as its plan allows: then it waits until one of those ends.
 */
export const claimGeneration = async (ctx: JobCtx, id: string): Promise<Claim | undefined> => {
  const {
    claimed: [row],
    inputs,
    events,
  } = await transact(ctx, (db) => ({
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
          sql`(${generations.status} = 'running' or coalesce((select count(*) from generations r
            where r.workspace_id = app.workspace_id() and r.status = 'running') < ${runningLimit}, true))`,
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
    events: newEvents(db, id),
  }))
  await announce(ctx, ctx.workspaceId, events)
  return row && { ...row, inputs }
}

/** Stores what the provider calls the job; false if the job was canceled meanwhile. */
export const keepProviderJob = async (
  ctx: JobCtx,
  claim: Claim,
  job: { providerIndex: number; providerJobId: string },
): Promise<boolean> => {
  const {
    kept: [kept],
    events,
  } = await transact(ctx, (db) => ({
    kept: db.update(generations).set(job).where(fenced(claim)).returning({ id: generations.id }),
    events: newEvents(db, claim.id),
  }))
  await announce(ctx, ctx.workspaceId, events)
  return kept !== undefined
}

/** Gives the lease back and asks to be woken. */
export const release = async (
  ctx: JobCtx,
  claim: Claim,
  delaySeconds: number,
  changes: Partial<Pick<Generation, 'progress' | 'outputAttempts' | 'providerIndex'>> = {},
): Promise<void> => {
  const { events } = await transact(ctx, (db) => ({
    released: db
      .update(generations)
      .set({ leaseExpiresAt: sql`now()`, ...changes })
      .where(fenced(claim)),
    patience: wakeAfter(db, claim.id, sql`make_interval(secs => ${delaySeconds + 30})`),
    events: newEvents(db, claim.id),
  }))
  await announce(ctx, ctx.workspaceId, events)
  const message = { kind: 'generation' as const, workspaceId: ctx.workspaceId, subjectId: claim.id }
  await dispatch(ctx, [message], delaySeconds)
}

/** Tells the feed, and wakes who waited for the place that is free now. */
const afterEnd = async (
  ctx: JobCtx,
  ended: { events: Parameters<typeof announce>[2]; next: { id: string }[] },
): Promise<void> => {
  await announce(ctx, ctx.workspaceId, ended.events)
  const messages = ended.next.map(({ id }) => ({
    kind: 'generation' as const,
    workspaceId: ctx.workspaceId,
    subjectId: id,
  }))
  if (messages.length > 0) await dispatch(ctx, messages)
}

/** What a step may have stored, or still be storing, under keys that no output will have. */
const eraseLater = (db: Database, assetIds: string[]) =>
  Object.fromEntries(assetIds.map((id) => [id, owe(db, 'object.delete', id, sql`interval '2 minutes'`)]))

export const succeed = async (
  ctx: JobCtx,
  claim: Claim,
  outputs: (StoredOutput & { name: string })[],
): Promise<void> => {
  const charged = Math.ceil((claim.creditsReserved * outputs.length) / claim.count)
  const ended = await transact({ ...ctx, action: 'generation.succeed' }, (db) => ({
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
    ...eraseLater(
      db,
      claim.outputAssetIds.filter((id) => !outputs.some(({ assetId }) => assetId === id)),
    ),
    events: newEvents(db, claim.id),
    next: nextInLine(db),
  }))
  await afterEnd(ctx, ended)
}

export const fail = async (ctx: JobCtx, claim: Claim, error: GenerationError): Promise<void> => {
  const ended = await transact({ ...ctx, action: 'generation.fail' }, (db) => ({
    fence: holdsFence(db, claim),
    failed: db
      .update(generations)
      .set({ status: 'failed', error, completedAt: sql`now()`, leaseExpiresAt: null })
      .where(fenced(claim)),
    refunded: settleCredits(db, claim.id, 0),
    settled: settle(db, 'generation', claim.id),
    ...eraseLater(db, claim.outputAssetIds),
    events: newEvents(db, claim.id),
    next: nextInLine(db),
  }))
  await afterEnd(ctx, ended)
}
