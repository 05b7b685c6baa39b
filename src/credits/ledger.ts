/** The credit ledger: reserved when a job is accepted, then charged or refunded; balances are sums over it. */
import { and, desc, eq, lt, type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { type Database, ensure, transact } from '../db/client.ts'
import { creditEntries, generations } from '../db/schema.ts'
import { exists, first, inWorkspace, type Page } from '../db/sql.ts'
import { allowances } from '../plans.ts'
import { grantedCredits } from '../workspaces/quotas.ts'

export type CreditEntry = typeof creditEntries.$inferSelect

/** SQL: first day of the current month, UTC. */
const currentPeriod = sql`date_trunc('month', now() at time zone 'utc')::date`

/** SQL: credits of the current month that are charged or still reserved. */
const usedCredits = sql`(select coalesce(sum(case kind when 'reserve' then credits when 'refund' then -credits else 0 end), 0)
  from credit_entries where workspace_id = app.workspace_id() and period = ${currentPeriod})`

/**
 * Statements that reserve for a generation if this transaction has inserted it.
 * @throws {AppError} insufficient_credits, if that overdraws the month
 */
export const reserve = (db: Database, generationId: string) => {
  const isNew = exists(generations, and(inWorkspace(generations), eq(generations.id, generationId)))
  return {
    reserved: db.execute(sql`
      insert into credit_entries (generation_id, kind, credits, period)
      select id, 'reserve', credits_reserved, ${currentPeriod} from generations
       where workspace_id = app.workspace_id() and id = ${generationId}`),
    affordable: ensure(
      db,
      sql`not ${isNew} or ${grantedCredits} is null or ${usedCredits} <= ${grantedCredits}`,
      'insufficient_credits',
    ),
  }
}

/** Charges for a generation and refunds the rest of its reservation, both in the month of the reservation. */
export const settleCredits = (db: Database, generationId: string, charged: number, when: SQL = sql`true`) =>
  db.execute(sql`
    insert into credit_entries (generation_id, kind, credits, period)
    select reserved.generation_id, part.kind, part.credits, reserved.period
      from credit_entries reserved,
           lateral (values ('charge', ${charged}::int), ('refund', reserved.credits - ${charged}::int)) part (kind, credits)
     where reserved.workspace_id = app.workspace_id() and reserved.generation_id = ${generationId}
       and reserved.kind = 'reserve' and part.credits > 0 and ${when}`)

/** Plan, credits of this month and storage of the workspace. */
export const getUsage = async (ctx: Ctx) => {
  const { gate, sums } = await transact(ctx, (db) => ({
    sums: db.execute<{ reserved: string; charged: string; renews_at: string; stored: string }>(sql`
      select coalesce(sum(case kind when 'reserve' then credits else -credits end), 0) reserved,
             coalesce(sum(credits) filter (where kind = 'charge'), 0) charged,
             to_char(${currentPeriod} + interval '1 month', 'YYYY-MM-DD"T00:00:00.000Z"') renews_at,
             (select coalesce(sum(size), 0) from assets where workspace_id = app.workspace_id()) stored
        from credit_entries where workspace_id = app.workspace_id() and period = ${currentPeriod}`),
  }))
  const row = first(sums.rows)
  const { credits: granted, storage } = allowances[gate.plan]
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
    },
    storage: { used: Number(row.stored), quota: storage },
  }
}

/** `limit + 1` entries, newest first. */
export const listEntries = async (ctx: Ctx, page: Page): Promise<CreditEntry[]> => {
  const { rows } = await transact(ctx, (db) => ({
    rows: db
      .select()
      .from(creditEntries)
      .where(and(inWorkspace(creditEntries), page.cursor ? lt(creditEntries.id, page.cursor) : undefined))
      .orderBy(desc(creditEntries.id))
      .limit(page.limit + 1),
  }))
  return rows
}
