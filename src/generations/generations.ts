/** Generations as callers see them: find, list, cancel. */
import { and, desc, eq, getTableColumns, gte, inArray, lt, type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { type Database, transact } from '../db/client.ts'
import { assets, generationOutputs, generations } from '../db/schema.ts'
import { first, idAt, inWorkspace, type Page, rowOf } from '../db/sql.ts'
import { dispatch } from '../outbox/outbox.ts'
import { plansForSql } from '../plans.ts'
import { changeGeneration, type Json } from './changes.ts'

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
  const { gate, generation, stops } = await changeGeneration<{ generation: Json; stops: boolean }>(
    ctx,
    sql`app.cancel(gate.workspace_id, ${id}, ${plansForSql})`,
  )
  if (stops) {
    await dispatch(ctx, [{ kind: 'prediction.cancel', workspaceId: gate.workspaceId, subjectId: id }])
  }
  return { ...rowOf(generations, generation), position: null, outputs: [] }
}
