/** Events of generations: written by a trigger, read from their table, and told to the feed after the commit. */
import { and, asc, eq, gt, inArray, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { ensure, transact } from '../db/client.ts'
import { generationEvents, generations } from '../db/schema.ts'
import { exists, inWorkspace, rowOf } from '../db/sql.ts'
import { objectOf } from '../env.ts'
import { describeError } from '../errors.ts'
import { etaOf } from '../generations/estimates.ts'
import { dispatch } from '../outbox/outbox.ts'
import { endedStatuses } from '../words.ts'
import type { FeedEvent } from './feed.ts'

type EventRow = typeof generationEvents.$inferSelect

/** As `app.conclude` tells of it, with the webhook deliveries that its trigger made. */
export type NewEvent = Record<string, unknown> & { deliveries: string[] }

/** Events of one page. */
export const PAGE = 500
/** Times that the feed is told before its listeners have to find out by themselves. */
const PUBLISH_ATTEMPTS = 3

const toFeedEvent = (row: EventRow): FeedEvent => ({
  sequence: row.sequence,
  generationId: row.generationId,
  type: row.type,
  status: row.status,
  progress: row.progress,
  phase: row.phase,
  eta: etaOf(row),
  at: row.createdAt.toISOString(),
})

export const feedOf = ({ env }: Ctx, workspaceId: string) => objectOf(env, env.FEED, workspaceId)

/** Best effort: a listener that misses something sees the gap, or the table, later; what is owed, the sweeper sends. */
export const announce = async (ctx: Ctx, workspaceId: string, rows: readonly NewEvent[]): Promise<void> => {
  if (rows.length === 0) return
  const telling = tellFeed(
    ctx,
    (feed) => feed.publish(rows.map((row) => toFeedEvent(rowOf(generationEvents, row)))),
    workspaceId,
  )
  // However far the feed is, no answer and no step waits for it.
  ctx.waitUntil?.(telling)
  const deliveries = rows.flatMap((row) => row.deliveries)
  await dispatch(
    ctx,
    deliveries.map((subjectId) => ({ kind: 'webhook.deliver' as const, workspaceId, subjectId })),
  )
}

/** Ends the streams of users, sessions or API keys that may no longer listen; of whom none is named, all. */
export const dismissListeners = async (
  ctx: Ctx,
  workspaceIds: readonly string[],
  ...tags: (`user:${string}` | `session:${string}` | `key:${string}`)[]
): Promise<void> => {
  await Promise.all(workspaceIds.map((id) => tellFeed(ctx, (feed) => feed.dismiss(tags), id)))
}

const tellFeed = async (
  ctx: Ctx,
  tell: (feed: ReturnType<typeof feedOf>) => Promise<void>,
  workspaceId: string,
): Promise<void> => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tell(feedOf(ctx, workspaceId))
    } catch (error) {
      if (attempt < PUBLISH_ATTEMPTS) continue
      return ctx.log({ level: 'warn', message: 'feed unreachable', workspaceId, error: describeError(error) })
    }
  }
}

/**
 * A page of events after a known one, the workspace's last sequence, and whether the generation asked for has ended.
 * `after: 'now'` reads no events. Asks the gate, as everything does.
 * @param options.listens the feed is told from now on what the page does not have, for ten minutes
 * @throws {AppError} not_found
 */
export const readEvents = async (
  ctx: Ctx,
  after: number | 'now',
  generationId: string | undefined,
  { listens = false } = {},
) => {
  const isGeneration = and(inWorkspace(generations), eq(generations.id, generationId ?? ''))
  const { gate, rows, heads } = await transact(ctx, (db) => ({
    ...(generationId && { found: ensure(db, exists(generations, isGeneration), 'not_found') }),
    ...(listens && { listening: db.execute(sql`select app.listen()`) }),
    // Before the rows: what is committed in between would count as seen otherwise.
    heads: db
      .select({
        sequence: sql<string>`coalesce(max(${generationEvents.sequence}), 0)`,
        hasEnded: generationId
          ? sql<boolean>`(select ${inArray(generations.status, endedStatuses)} from generations where ${isGeneration})`
          : sql<boolean>`false`,
      })
      .from(generationEvents)
      .where(inWorkspace(generationEvents)),
    rows: db
      .select()
      .from(generationEvents)
      .where(
        and(
          inWorkspace(generationEvents),
          gt(generationEvents.sequence, after === 'now' ? Number.MAX_SAFE_INTEGER : after),
          generationId ? eq(generationEvents.generationId, generationId) : undefined,
        ),
      )
      .orderBy(asc(generationEvents.sequence))
      .limit(PAGE),
  }))
  const [head] = heads
  return {
    gate,
    events: rows.map(toFeedEvent),
    head: Number(head?.sequence),
    hasEnded: head?.hasEnded ?? false,
  }
}
