/** Credits: reserved when a job is accepted, then charged or refunded; balances are sums over the ledger. */
import { and, desc, lt, type SQL, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { type Database, ensure, transact } from '../db/client.ts'
import { creditEntries } from '../db/schema.ts'
import { inWorkspace } from '../db/sql.ts'
import { grantedCredits, plans, storageQuota } from '../plans.ts'

/** SQL: first day of the current month, UTC. */
const currentPeriod = sql`date_trunc('month', now() at time zone 'utc')::date`

/** SQL: credits of the period that are charged or still reserved. */
const usedCredits = sql`(select coalesce(sum(case kind when 'reserve' then credits when 'refund' then -credits else 0 end), 0)
  from credit_entries where workspace_id = app.workspace_id() and period = ${currentPeriod})`

const isNew = (generationId: string) =>
  sql`exists (select from generations where workspace_id = app.workspace_id() and id = ${generationId})`

/** Makes everything that spends or fills a quota in this workspace wait for its turn; refuses if it is deleted by then. */
export const lockWorkspace = (db: Database) =>
  db.execute(sql`
    select app.require(deleted_at is null, 404, 'not_found') from workspaces where id = app.workspace_id() for no key update`)

/** Statements that reserve for a generation if it was really inserted, and refuse if that overdraws the month. */
export const reserve = (db: Database, generationId: string) => ({
  reserved: db.execute(sql`
    insert into credit_entries (generation_id, kind, credits, period)
    select id, 'reserve', credits_reserved, ${currentPeriod} from generations
     where workspace_id = app.workspace_id() and id = ${generationId}`),
  affordable: ensure(
    db,
    sql`not ${isNew(generationId)} or ${grantedCredits} is null or ${usedCredits} <= ${grantedCredits}`,
    'insufficient_credits',
  ),
})

/** Charges for a generation and gives the rest of its reservation back; the reservation's month pays. */
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
  const {
    gate,
    usage: {
      rows: [row],
    },
  } = await transact(ctx, (db) => ({
    usage: db.execute<{ reserved: string; charged: string; renews_at: string; stored: string }>(sql`
      select coalesce(sum(case kind when 'reserve' then credits else -credits end), 0) reserved,
             coalesce(sum(credits) filter (where kind = 'charge'), 0) charged,
             to_char(${currentPeriod} + interval '1 month', 'YYYY-MM-DD"T00:00:00.000Z"') renews_at,
             (select coalesce(sum(size), 0) from assets where workspace_id = app.workspace_id()) stored
        from credit_entries where workspace_id = app.workspace_id() and period = ${currentPeriod}`),
  }))
  const { credits: granted, storage } = plans[gate.plan]
  const reserved = Number(row?.reserved)
  const charged = Number(row?.charged)
  return {
    plan: gate.plan,
    credits: {
      granted,
      reserved,
      charged,
      remaining: granted === null ? null : granted - reserved - charged,
      renewsAt: String(row?.renews_at),
    },
    storage: { used: Number(row?.stored), quota: storage },
  }
}

/** SQL condition: the workspace's files, and `more` bytes, fit its plan. */
export const fitsStorage = (more: number) =>
  sql`(select coalesce(sum(size), 0) + ${more}::bigint from assets where workspace_id = app.workspace_id()) <= ${storageQuota}`

/** `limit + 1` entries, newest first. */
export const listEntries = async (ctx: Ctx, page: { limit: number; cursor?: string | undefined }) => {
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
