/** Generations as callers see them: find, list, cancel. */
import { and, eq, getTableColumns, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { defineRead } from '../db/client.ts'
import { assets, generations } from '../db/schema.ts'
import { beforeOf, first, fromOf, inWorkspace, type Page, rowOf } from '../db/sql.ts'
import { dispatch } from '../outbox/outbox.ts'
import { plansForSql } from '../plans.ts'
import { generationStatuses, kindOf, tasks } from '../words.ts'
import { changeGeneration, type Json } from './changes.ts'

export type Generation = typeof generations.$inferSelect
type Output = typeof assets.$inferSelect
/** With how many of the workspace stand before it in line, as far as they are counted; null once it is no longer queued. */
export type GenerationWithOutputs = Generation & { position: number | null; outputs: Output[] }

/** Jobs that are counted before one in line. */
export const MAX_POSITION = 1000

export const oneGeneration = (id: string) => and(inWorkspace(generations), eq(generations.id, id))

/** What the functions answer, of rows that are called `page`. */
const shown = {
  ...Object.fromEntries(
    Object.entries(getTableColumns(generations)).map(([name, column]) => [
      name,
      sql`(page.generation).${sql.identifier(column.name)}`.mapWith(column),
    ]),
  ),
  position: sql`page.position`,
  outputs: sql`page.outputs`,
}
type Shown = Generation & { position: number | null; outputs: Record<string, unknown>[] | null }
const key = sql`(page.generation).id`

const fromShown = ({ outputs, ...row }: Shown): GenerationWithOutputs => ({
  ...row,
  outputs: (outputs ?? []).map((output) => rowOf(assets, output)),
})

const readOne = defineRead<Shown>(
  shown,
  key,
  sql`app.show_generations(gate.workspace_id, array[${sql.placeholder('id')}::uuid], ${MAX_POSITION}::int) page`,
)

/** @throws {AppError} not_found */
export const getGeneration = async (ctx: Ctx, id: string): Promise<GenerationWithOutputs> =>
  fromShown(first((await readOne(ctx, { id })).rows))

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
  { limit, cursor, status, kind, task, since, until }: GenerationFilter,
): Promise<GenerationWithOutputs[]> => {
  const fitting = tasks.filter((one) => (task ?? one) === one && (kind ?? kindOf(one)) === kindOf(one))
  const { rows } = await readList(ctx, {
    limit: limit + 1,
    cursor: cursor ?? null,
    since: since ?? null,
    until: until ?? null,
    tasks: task || kind ? fitting : null,
    statuses: status ? [status] : task || kind ? generationStatuses : null,
  })
  return rows.map(fromShown)
}

const readList = defineRead<Shown>(
  shown,
  key,
  sql`app.list_generations(gate.workspace_id, ${sql.placeholder('limit')}, ${beforeOf('cursor', 'until')}, ${fromOf('since')},
    ${sql.placeholder('tasks')}, ${sql.placeholder('statuses')}, ${MAX_POSITION}::int) page`,
)

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
