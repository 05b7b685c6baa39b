/** Verifies an audit log: that every entry follows from the one before it, and that the whole is what was once signed. */
import { sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { ensure, transact } from '../db/client.ts'
import { first } from '../db/sql.ts'
import { insteadOf, invalidField } from '../errors.ts'
import { createVerifier } from './checkpoints.ts'

/** Entries, and checkpoints, of one request: whichever comes first ends it. */
const PAGE = 20_000
const PAGE_CHECKPOINTS = 200

/** What one statement finds out about a page of the chain. */
interface Findings extends Record<string, unknown> {
  entries: number
  /** The first entry that does not follow, or has another hash than its checkpoint. */
  broken_at: string | null
  verified_to: string
  /** The last entry of the page has successors. */
  has_more: boolean
  /** The head is the last entry of the page. */
  head_matches: boolean
  /** Null when there is none, or when what it covers is past its life. */
  given_matches: boolean | null
  /** The one that the page begins at, those within it, and the last of all, in order. */
  checkpoints: { sequence: number; hash: string; at: string; signature: string }[]
}

/**
 * SQL: a page of the caller's chain after the entry `since`. It begins after the newest checkpoint that is as old as
 * entries get, if there is one, since what comes before may have been pruned; else with the first entry.
 */
const findingsOf = (since: number, given: { sequence: number; hash: string } | undefined) => sql`
  with origin as (
    select coalesce(max(sequence), 0) as sequence from audit_checkpoints
     where workspace_id = (select app.workspace_id()) and created_at < now() - app.audit_life()),
  bounds as (
    select origin.sequence as origin, greatest(origin.sequence, ${since}::bigint) as start from origin),
  page_end as (
    select c.sequence from audit_checkpoints c, bounds
     where c.workspace_id = (select app.workspace_id()) and c.sequence > bounds.start
     order by c.sequence offset ${PAGE_CHECKPOINTS - 1} limit 1),
  previous as (
    select coalesce(
      (select hash from audit_checkpoints where workspace_id = (select app.workspace_id()) and sequence = bounds.start),
      (select hash from audit_logs where workspace_id = (select app.workspace_id()) and sequence = bounds.start),
      case when bounds.start = 0 then '' end) as hash from bounds),
  head as (select sequence, hash from audit_heads where workspace_id = (select app.workspace_id())),
  page as materialized (
    select l as entry, l.id, l.sequence, l.hash from audit_logs l
     where l.workspace_id = (select app.workspace_id()) and l.sequence > (select start from bounds)
       and l.sequence <= coalesce((select sequence from page_end), ${Number.MAX_SAFE_INTEGER}::bigint)
     order by l.sequence limit ${PAGE}),
  chain as (
    select p.id, p.sequence, p.hash, row_number() over w as position,
           p.sequence = (select start from bounds) + row_number() over w
           and p.sequence <= coalesce((select sequence from head), 0)
           and coalesce(p.hash = app.audit_hash(
             case when row_number() over w = 1 then (select hash from previous) else lag(p.hash) over w end, p.entry), false)
           and (c.hash is null or c.hash = p.hash) as holds
      from page p left join audit_checkpoints c on c.workspace_id = (select app.workspace_id()) and c.sequence = p.sequence
    window w as (order by p.sequence)),
  broken as (select id, position from chain where not holds order by position limit 1),
  -- Entries outside the chain: below its beginning, or without a place in it.
  stray as (
    select id from audit_logs where workspace_id = (select app.workspace_id()) and sequence is null
    union all select id from audit_logs where workspace_id = (select app.workspace_id()) and sequence < 1 limit 1),
  last as (
    select coalesce((select max(sequence) from chain), bounds.start) as sequence,
           coalesce((select hash from chain order by sequence desc limit 1), (select hash from previous)) as hash from bounds)
  select (select count(*)::int from chain) as entries,
         coalesce((select id from broken), (select id from stray)) as broken_at,
         coalesce((select start + broken.position - 1 from bounds, broken), last.sequence) as verified_to,
         exists (select from audit_logs where workspace_id = (select app.workspace_id()) and sequence > last.sequence) as has_more,
         coalesce((select sequence > 0 and (sequence, hash) is not distinct from (last.sequence, last.hash) from head), false)
           as head_matches,
         case when ${given?.sequence ?? null}::bigint is not null then coalesce(
           (select hash = ${given?.hash ?? null} from audit_logs
             where workspace_id = (select app.workspace_id()) and sequence = ${given?.sequence ?? null}::bigint),
           (select hash = ${given?.hash ?? null} from audit_checkpoints
             where workspace_id = (select app.workspace_id()) and sequence = ${given?.sequence ?? null}::bigint),
           case when ${given?.sequence ?? null}::bigint > bounds.origin then false end) end as given_matches,
         (select coalesce(json_agg(json_build_object(
             'sequence', sequence, 'hash', hash, 'at', created_at, 'signature', signature) order by sequence), '[]')
            from audit_checkpoints where workspace_id = (select app.workspace_id())
             and (sequence between bounds.start and last.sequence
               or sequence = (select max(sequence) from audit_checkpoints where workspace_id = (select app.workspace_id()))))
           as checkpoints
    from last, bounds`

/**
 * Verifies up to a page of the log after the entry `since`, and whether it still agrees with a checkpoint that the
 * customer has kept.
 * @throws {AppError} validation_failed, if that is none of this workspace
 */
export const verifyAuditLogs = async (
  ctx: Ctx,
  { since = 0, checkpoint }: { since?: number | undefined; checkpoint?: string | undefined },
) => {
  const verify = createVerifier(ctx.env)
  const given = checkpoint === undefined ? undefined : await verify(checkpoint)
  if (checkpoint !== undefined && !given) {
    throw invalidField('/query/checkpoint', 'is no checkpoint that was signed here')
  }
  const { gate, found } = await transact(ctx, (db) => ({
    // Before the log is looked at, which is the work.
    ...(given && {
      own: ensure(db, sql`app.workspace_id() = ${given.workspaceId}::uuid`, 'validation_failed'),
    }),
    found: db.execute<Findings>(findingsOf(since, given)),
  })).catch(
    insteadOf('validation_failed', () => invalidField('/query/checkpoint', 'is of another workspace')),
  )
  const page = first(found.rows)
  const genuine = await Promise.all(
    page.checkpoints.map(async ({ signature, sequence, hash, at }) => {
      const claim = await verify(signature)
      return (
        claim?.workspaceId === gate.workspaceId &&
        claim.sequence === sequence &&
        claim.hash === hash &&
        claim.at === new Date(at).toISOString()
      )
    }),
  )
  const forged = page.checkpoints.find((_, i) => !genuine[i])
  const verifiedTo = Number(page.verified_to)
  const last = page.checkpoints.at(-1)
  const isCut =
    page.broken_at === null && !page.has_more && !(page.head_matches && (last?.sequence ?? 0) <= verifiedTo)
  const valid = page.broken_at === null && !isCut && !forged && page.given_matches !== false
  return {
    valid,
    entries: page.entries,
    brokenAt: page.broken_at,
    truncated: isCut,
    verifiedTo,
    next: valid && page.has_more ? verifiedTo : null,
    forgedCheckpoint: forged?.sequence ?? null,
    checkpointMatches: page.given_matches,
  }
}
