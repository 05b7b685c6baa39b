/**
 * A change of one generation: the workspace's turn comes first, its events and whom it makes room for belong to the
 * same transaction, and both are announced after the commit.
 */
import { sql } from 'drizzle-orm'
import type { BatchItem } from 'drizzle-orm/batch'
import type { Ctx } from '../context.ts'
import { change, type Database } from '../db/client.ts'
import { first } from '../db/sql.ts'
import { announce, type NewEvent } from '../events/events.ts'
import { dispatch } from '../outbox/outbox.ts'
import { plansForSql } from '../plans.ts'

/** A type and no interface, so that it fits what a statement's rows may be. */
type Concluded = { events: NewEvent[] | null; woken: string[] | null }

export const changeGeneration = async <T extends Record<string, BatchItem<'pg'>>>(
  ctx: Ctx,
  id: string,
  build: (db: Database) => T,
) => {
  const changed = await change(ctx, (db) => ({
    ...build(db),
    concluded: db.execute<Concluded>(sql`select events, woken from app.conclude(${id}, ${plansForSql})`),
  }))
  const { workspaceId } = changed.gate
  const { events, woken } = first<Concluded>(changed.concluded.rows)
  await announce(ctx, workspaceId, events ?? [])
  await dispatch(
    ctx,
    (woken ?? []).map((subjectId) => ({ kind: 'generation', workspaceId, subjectId })),
  )
  return changed
}
