/** The credit ledger: reserved when a job is accepted, then charged or refunded; balances are the workspace's counters. */
import { and, desc, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { transact } from '../db/client.ts'
import { creditEntries } from '../db/schema.ts'
import { afterCursor, first, inWorkspace, type Page } from '../db/sql.ts'
import { allowances } from '../plans.ts'
import type { FreeCreditState } from '../words.ts'
import { counted, currentPeriod } from '../workspaces/quotas.ts'

export type CreditEntry = typeof creditEntries.$inferSelect

/** Plan, credits of this month and storage of the workspace. */
export const getUsage = async (ctx: Ctx) => {
  const { gate, counts } = await transact(ctx, (db) => ({
    counts: db.execute<{
      reserved: string
      charged: string
      renews_at: string
      stored: string
      copied: string
      free: FreeCreditState
      granted: number
    }>(sql`
      select ${counted.reserved} reserved, ${counted.charged} charged, ${counted.storedBytes} stored, ${counted.copiedBytes} copied,
             to_char(${currentPeriod} + interval '1 month', 'YYYY-MM-DD"T00:00:00.000Z"') renews_at,
             f.state free, f.granted from app.free_state(${allowances.free.credits}) f`),
  }))
  const row = first(counts.rows)
  const { credits, storage } = allowances[gate.plan]
  const isFree = gate.plan === 'free'
  const granted = isFree ? row.granted : credits
  const reserved = Number(row.reserved)
  const charged = Number(row.charged)
  return {
    plan: gate.plan,
    credits: {
      granted,
      reserved,
      charged,
      // A plan that has shrunk leaves nothing, not less.
      remaining: granted === null ? null : Math.max(0, granted - reserved - charged),
      renewsAt: row.renews_at,
      free: isFree ? { state: row.free } : null,
    },
    storage: { used: Number(row.stored), copies: Number(row.copied), quota: storage },
  }
}

/** `limit + 1` entries, newest first. */
export const listEntries = async (ctx: Ctx, page: Page): Promise<CreditEntry[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(creditEntries)
      .where(and(inWorkspace(creditEntries), afterCursor(creditEntries.id, page)))
      .orderBy(desc(creditEntries.id))
      .limit(page.limit + 1),
  }))
  return rows
}
