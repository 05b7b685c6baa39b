/**
 * A change of one generation: a function of `migrations/0007_jobs.sql` that answers the events that it made and whom it
 * wakes, and both are announced after the commit.
 */
import type { Ctx } from '../context.ts'
import { type Callable, call } from '../db/client.ts'
import { announce, type NewEvent } from '../events/events.ts'
import { dispatch } from '../outbox/outbox.ts'
import { allowances } from '../plans.ts'
import { plans } from '../words.ts'

/** A row as JSON. */
export type Json = Record<string, unknown>

/** Types and no interfaces, so that they fit what a statement's rows may be. */
type Concluded = { events: NewEvent[] | null; woken: { id: string; row: Json | null }[] | null }

/** Generations of a workspace that may run at the same time, by its plan. */
const places = Object.fromEntries(plans.map((plan) => [plan, allowances[plan].running]))

/** @returns what else the function answers */
export const changeGeneration = async <Row extends Json>(ctx: Ctx, what: Callable, parameters: Json) => {
  const changed = await call<Row & Concluded>(ctx, what, { ...parameters, places })
  const { gate, events, woken } = changed
  const { workspaceId } = gate
  await announce(ctx, workspaceId, events ?? [])
  await dispatch(
    ctx,
    (woken ?? []).map(({ id, row }) => ({
      kind: 'generation',
      workspaceId,
      subjectId: id,
      ...(row && { row }),
    })),
  )
  return changed
}
