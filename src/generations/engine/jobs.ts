/** The rows of a generation's jobs at providers: noted before a provider is asked, and kept whatever comes of it. */
import { and, getTableColumns, type SQL, sql } from 'drizzle-orm'
import type { JobCtx } from '../../context.ts'
import { call, type Database, persist, transact } from '../../db/client.ts'
import { providerJobs } from '../../db/schema.ts'
import { inWorkspace } from '../../db/sql.ts'
import { toAppError } from '../../errors.ts'
import { settle } from '../../outbox/outbox.ts'
import { ProviderError } from '../../providers/provider.ts'
import { providerOf } from '../../providers/registry.ts'
import type { Operation } from '../../words.ts'
import { oneGeneration } from '../generations.ts'

export type ProviderJob = typeof providerJobs.$inferSelect
/** What a step has found out about one. */
export type JobChanges = Partial<
  Pick<ProviderJob, 'operation' | 'status' | 'stored' | 'fetches' | 'failure' | 'cost'>
>

/** The provider may still answer. */
export const isOpen = ({ status }: ProviderJob) => status === 'submitting' || status === 'running'

/** Milliseconds for which a database that stumbles is asked again. */
export const PATIENCE = 40_000

/** What the provider takes for as many outputs as came of it. */
export const costOfMade = ({ cost, indexes }: ProviderJob, made: number) =>
  ((cost ?? 0) * made) / indexes.length

/** A generation's, in the order in which they were asked for. */
const selectJobs = (db: Database, of: SQL | undefined) =>
  db
    .select(getTableColumns(providerJobs))
    .from(providerJobs)
    .where(and(inWorkspace(providerJobs), of))
    .orderBy(providerJobs.id)

/** As `app.write_calls` takes them. */
export const toChanges = (changes: ReadonlyMap<string, JobChanges>) =>
  [...changes].map(([id, changed]) => ({ id, ...changed }))

/** As `app.claim` and `app.note_calls` take it. */
export const toCall = (job: ProviderJob) => ({
  id: job.id,
  indexes: job.indexes,
  provider: job.provider,
  model: job.model,
  output: job.output,
  prompt: job.prompt,
  inputs: job.inputs,
  object_ids: job.objectIds,
  cost: job.cost,
  expires_at: job.expiresAt,
})

/**
 * Keeps what the provider calls a job: an id that is lost is a job paid twice. Keeping twice is harmless.
 * @returns false if nobody waits for it any more
 */
export const keepOperation = async (ctx: JobCtx, id: string, operation: Operation): Promise<boolean> => {
  try {
    const { wanted } = await persist(PATIENCE, () =>
      call<{ wanted: boolean }>(ctx, 'keep_operation', { id, operation }),
    )
    return wanted
  } catch (error) {
    // The workspace is deleted: nobody waits for the job any more.
    if (toAppError(error).code === 'not_found') return false
    throw error
  }
}

/** Keeps what came of calls, whoever holds the generation by now. */
export const keepResults = async (ctx: JobCtx, changes: ReadonlyMap<string, JobChanges>): Promise<void> => {
  if (changes.size === 0) return
  const calls = toChanges(changes)
  await persist(PATIENCE, () => call(ctx, 'keep_calls', { calls }))
}

const jobsOf = (db: Database, generationId: string) =>
  selectJobs(
    db,
    sql`${providerJobs.generationId} in (select id from generations where ${oneGeneration(generationId)})`,
  )

/** Tells providers that nobody waits for what they may still have of a generation that has ended. */
export const cancelJobs = async (ctx: JobCtx, id: string): Promise<void> => {
  const { jobs } = await transact(ctx, (db) => ({ jobs: jobsOf(db, id) }))
  const told = await Promise.allSettled(
    jobs.map(async ({ provider, operation, status, expiresAt }) => {
      const asked = providerOf(provider)
      const mayRun =
        ['submitting', 'running', 'canceled'].includes(status) && expiresAt.getTime() > Date.now()
      if (!operation || !asked.keepsJobs || !mayRun) return
      try {
        await asked.cancel(ctx.env, operation)
      } catch (error) {
        if (!(error instanceof ProviderError) || !error.isRefusal) throw error
      }
    }),
  )
  // Later again, of all: to hear it twice is harmless.
  const fault = told.find((one) => one.status === 'rejected')
  if (fault) throw fault.reason
  // What has no name yet may get one: the sweeper comes again until nothing can come of it any more.
  const isUnnamed = (job: ProviderJob) =>
    !job.operation &&
    providerOf(job.provider).keepsJobs &&
    job.status !== 'failed' &&
    job.expiresAt.getTime() > Date.now()
  if (jobs.some(isUnnamed)) return
  await transact(ctx, (db) => ({ settled: settle(db, 'prediction.cancel', id) }))
}
