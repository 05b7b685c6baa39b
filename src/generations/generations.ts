/** Generations as callers see them: find, list, cancel. */
import { and, eq } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { read } from '../db/client.ts'
import { assets, generations } from '../db/schema.ts'
import { first, inWorkspace, type Page, rowOf, rowsOf } from '../db/sql.ts'
import { dispatch } from '../outbox/outbox.ts'
import { generationStatuses, kindOf, tasks } from '../words.ts'
import { changeGeneration, type Json } from './changes.ts'

export type Generation = typeof generations.$inferSelect
type Output = typeof assets.$inferSelect
/** With how many of the workspace stand before it in line, as far as they are counted; null once it is no longer queued. */
export type GenerationWithOutputs = Generation & { position: number | null; outputs: Output[] }

/** Jobs that are counted before one in line. */
export const MAX_POSITION = 1000

export const oneGeneration = (id: string) => and(inWorkspace(generations), eq(generations.id, id))

/** As `app.show_generations` has it. */
interface Shown {
  generation: Json
  position: number | null
  outputs: Json[] | null
}

const fromShown = ({ generation, position, outputs }: Shown): GenerationWithOutputs => ({
  ...rowOf(generations, generation),
  position,
  outputs: rowsOf(assets, outputs ?? []),
})

/** @throws {AppError} not_found */
export const getGeneration = async (ctx: Ctx, id: string): Promise<GenerationWithOutputs> =>
  fromShown(first(await read<Shown>(ctx, 'generation', { id, counted: MAX_POSITION })))

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
  const rows = await read<Shown>(ctx, 'generations', {
    limit: limit + 1,
    before: cursor,
    since,
    until,
    tasks: task || kind ? fitting : undefined,
    statuses: status ? [status] : task || kind ? generationStatuses : undefined,
    counted: MAX_POSITION,
  })
  return rows.map(fromShown)
}

/**
 * Stops a job and gives its credits back; canceling twice is the same as once. A result that arrives later is
 * thrown away by the fence, and the provider is told by a job of its own.
 * @throws {AppError} not_found, already_finished
 */
export const cancelGeneration = async (ctx: Ctx, id: string): Promise<GenerationWithOutputs> => {
  const { gate, generation, stops } = await changeGeneration<{ generation: Json; stops: boolean }>(
    ctx,
    'cancel',
    { id },
  )
  if (stops) {
    await dispatch(ctx, [{ kind: 'prediction.cancel', workspaceId: gate.workspaceId, subjectId: id }])
  }
  return { ...rowOf(generations, generation), position: null, outputs: [] }
}
