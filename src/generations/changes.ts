/**
 * A change of one generation: the workspace's turn comes first, its events and whom it makes room for belong to the
 * same transaction, and both are announced after the commit.
 */
import type { BatchItem } from 'drizzle-orm/batch'
import type { Ctx } from '../context.ts'
import { change, type Database } from '../db/client.ts'
import { announce, newEvents } from '../events/events.ts'
import { dispatchWoken, fillPlaces } from './places.ts'

export const changeGeneration = async <T extends Record<string, BatchItem<'pg'>>>(
  ctx: Ctx,
  id: string,
  build: (db: Database) => T,
) => {
  const changed = await change(ctx, (db) => ({
    ...build(db),
    events: newEvents(db, id),
    woken: fillPlaces(db),
  }))
  const { workspaceId } = changed.gate
  await announce(ctx, workspaceId, changed.events)
  await dispatchWoken(ctx, workspaceId, changed.woken)
  return changed
}
