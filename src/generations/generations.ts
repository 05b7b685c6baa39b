/** Generations as callers see them: find, list, cancel. */
import { and, desc, eq, getTableColumns, gte, inArray, lt, type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { settleCredits } from '../credits/ledger.ts'
import { type Database, ensure, transact } from '../db/client.ts'
import { assets, generationOutputs, generations } from '../db/schema.ts'
import { exists, first, idAt, inWorkspace, type Page } from '../db/sql.ts'
import { dispatch, RESEND_DELAY, settle } from '../outbox/outbox.ts'
import { unfinishedStatuses } from '../words.ts'
import { changeGeneration } from './changes.ts'

export type Generation = typeof generations.$inferSelect
type Output = { generationId: string; index: number; asset: typeof assets.$inferSelect }
/** With how many of the workspace stand before it in line, as far as they are counted; null once it is no longer queued. */
type GenerationRow = Generation & { position: number | null }
export type GenerationWithOutputs = GenerationRow & { outputs: Output[] }

/** Jobs that are counted before one in line. */
export const MAX_POSITION = 1000
/** SQL: the ids at the head of the line, in order. It depends on no row, so a statement reads it once for all of its rows. */
const headOfLine = sql`array(select ahead.id from generations ahead
  where ahead.workspace_id = (select app.workspace_id()) and ahead.status = 'queued' order by ahead.id limit ${MAX_POSITION}::int)`
/** SQL: how many stand before it in line, or MAX_POSITION if those are more. */
const positionInLine = sql<number | null>`case when generations.status = 'queued' then
  coalesce(array_position(${headOfLine}, generations.id) - 1, ${MAX_POSITION}::int) end`

const withPosition = { ...getTableColumns(generations), position: positionInLine.as('position') }

/** A step that is under way when its job ends may store outputs for so long. */
const LONGEST_STEP = sql`interval '10 minutes'`

export const oneGeneration = (id: string) => and(inWorkspace(generations), eq(generations.id, id))

/** The outputs of the generations that `where` selects, in order. */
const selectOutputs = (db: Database, where: SQL | undefined) =>
  db
    .select({ generationId: generationOutputs.generationId, index: generationOutputs.index, asset: assets })
    .from(generationOutputs)
    .innerJoin(
      assets,
      and(eq(assets.workspaceId, generationOutputs.workspaceId), eq(assets.id, generationOutputs.assetId)),
    )
    .where(
      and(
        inWorkspace(generationOutputs),
        inArray(
          generationOutputs.generationId,
          db.select({ id: generations.id }).from(generations).where(where),
        ),
      ),
    )
    .orderBy(generationOutputs.index)

export const getGeneration = async (ctx: Ctx, id: string): Promise<GenerationWithOutputs> => {
  const { rows, outputs } = await transact(ctx, (db) => ({
    rows: db.select(withPosition).from(generations).where(oneGeneration(id)),
    outputs: selectOutputs(db, oneGeneration(id)),
  }))
  return { ...first(rows), outputs }
}

export interface GenerationFilter extends Page {
  status?: Generation['status'] | undefined
  kind?: Generation['kind'] | undefined
  task?: Generation['task'] | undefined
  /** ISO 8601; from it on. */
  since?: string | undefined
  /** ISO 8601; before it. */
  until?: string | undefined
}

/** `limit + 1` rows, newest first. */
export const listGenerations = async (
  ctx: Ctx,
  filter: GenerationFilter,
): Promise<GenerationWithOutputs[]> => {
  const where = and(
    inWorkspace(generations),
    filter.cursor ? lt(generations.id, filter.cursor) : undefined,
    filter.status ? eq(generations.status, filter.status) : undefined,
    filter.kind ? eq(generations.kind, filter.kind) : undefined,
    filter.task ? eq(generations.task, filter.task) : undefined,
    filter.since ? gte(generations.id, idAt(filter.since)) : undefined,
    filter.until ? lt(generations.id, idAt(filter.until)) : undefined,
  )
  const { rows, outputs } = await transact(ctx, (db) => {
    const page = db
      .select(withPosition)
      .from(generations)
      .where(where)
      .orderBy(desc(generations.id))
      .limit(filter.limit + 1)
    return {
      rows: page,
      outputs: selectOutputs(db, sql`${generations.id} in (select id from ${page.as('page')})`),
    }
  })
  const byGeneration = Map.groupBy(outputs, (output) => output.generationId)
  return rows.map((row) => ({ ...row, outputs: byGeneration.get(row.id) ?? [] }))
}

/**
 * Stops a job and gives its credits back; canceling twice is the same as once. A result that arrives later is
 * thrown away by the fence, and the provider is told by a job of its own.
 * @throws {AppError} not_found, already_finished
 */
export const cancelGeneration = async (ctx: Ctx, id: string): Promise<GenerationWithOutputs> => {
  const canceledNow = sql`exists (select from generations where ${oneGeneration(id)} and status = 'canceled' and completed_at = now())`
  const { gate, rows } = await changeGeneration(ctx, id, (db) => ({
    found: ensure(db, exists(generations, oneGeneration(id), 'for update'), 'not_found'),
    canceled: db
      .update(generations)
      .set({ status: 'canceled', completedAt: sql`now()`, leaseExpiresAt: null, nextStepAt: null })
      .where(and(oneGeneration(id), inArray(generations.status, unfinishedStatuses))),
    unfinished: ensure(
      db,
      sql`exists (select from generations where ${oneGeneration(id)} and status = 'canceled')`,
      'already_finished',
    ),
    refunded: settleCredits(db, id, 0, canceledNow),
    settled: settle(db, 'generation', id),
    note: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      select 'prediction.cancel', id, now() + ${RESEND_DELAY} from generations
       where ${oneGeneration(id)} and ${canceledNow} and started_at is not null`),
    erasures: db.execute(sql`
      insert into outbox (kind, subject_id, available_at)
      select 'object.delete', unnest(asset_ids), now() + ${LONGEST_STEP} from provider_jobs
       where workspace_id = (select app.workspace_id()) and generation_id = ${id} and ${canceledNow}`),
    stopped: db.execute(sql`
      update provider_jobs set status = 'canceled', ended_at = now()
       where workspace_id = (select app.workspace_id()) and generation_id = ${id} and ${canceledNow}
         and status in ('submitting', 'running')`),
    rows: db.select(withPosition).from(generations).where(oneGeneration(id)),
  }))
  const generation = first(rows)
  const { workspaceId } = gate
  if (generation.startedAt) {
    await dispatch(ctx, [{ kind: 'prediction.cancel', workspaceId, subjectId: id }])
  }
  return { ...generation, outputs: [] }
}
