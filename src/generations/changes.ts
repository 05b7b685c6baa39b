/** A change of one generation: its events belong to the same transaction, and are announced after the commit. */
import type { BatchItem } from 'drizzle-orm/batch'
import type { Ctx } from '../context.ts'
import { type Database, transact } from '../db/client.ts'
import { announce, newEvents } from '../events/events.ts'

export const changeGeneration = async <T extends Record<string, BatchItem<'pg'>>>(
  ctx: Ctx,
  id: string,
  build: (db: Database) => T,
) => {
  const changed = await transact(ctx, (db) => ({ ...build(db), events: newEvents(db, id) }))
  await announce(ctx, changed.gate.workspaceId, changed.events)
  return changed
}
