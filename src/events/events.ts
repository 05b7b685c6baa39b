/** Events of generations: told to the feed after the commit that wrote them, and streamed to clients (SSE). */
import { and, asc, eq, getTableColumns, gt, sql } from 'drizzle-orm'
import type { Ctx } from '../context.ts'
import { type Database, ensure, transact } from '../db/client.ts'
import { generationEvents } from '../db/schema.ts'
import { inWorkspace } from '../db/sql.ts'
import { describeError } from '../errors.ts'
import { dispatch } from '../outbox/outbox.ts'
import type { FeedEvent } from './feed.ts'

type EventRow = typeof generationEvents.$inferSelect

/** With the webhook deliveries that the event's trigger made of it. */
const withDeliveries = {
  ...getTableColumns(generationEvents),
  deliveries: sql<string[]>`array(select d.id::text from webhook_deliveries d
    where d.workspace_id = generation_events.workspace_id and d.sequence = generation_events.sequence)`.as(
    'deliveries',
  ),
}

type NewEvent = EventRow & { deliveries: string[] }

/** Milliseconds between comments that keep proxies from closing an idle stream. */
const HEARTBEAT = 15_000
/** Heartbeats between looks at the table, which also ask the gate whether the caller may still listen. */
const LOOKS = 8
/** Milliseconds after which a client that lost its stream should come back. */
const RETRY = 2000
/** Events of one look. */
const PAGE = 500

const toFeedEvent = (row: EventRow): FeedEvent => ({
  sequence: row.sequence,
  generationId: row.generationId,
  type: row.type,
  status: row.status,
  progress: row.progress,
  at: row.createdAt.toISOString(),
})

/** The events that this very transaction wrote about a generation. */
export const newEvents = (db: Database, generationId: string) =>
  db
    .select(withDeliveries)
    .from(generationEvents)
    .where(
      and(
        inWorkspace(generationEvents),
        eq(generationEvents.generationId, generationId),
        eq(generationEvents.createdAt, sql`now()`),
      ),
    )
    .orderBy(asc(generationEvents.sequence))

/** Best effort: a stream that misses a message sees the gap, or the table, later; what is owed, the sweeper sends. */
export const announce = async (ctx: Ctx, workspaceId: string, rows: readonly NewEvent[]): Promise<void> => {
  if (rows.length === 0) return
  const deliveries = rows.flatMap((row) => row.deliveries)
  await dispatch(
    ctx,
    deliveries.map((subjectId) => ({ kind: 'webhook.deliver' as const, workspaceId, subjectId })),
  )
  try {
    await ctx.env.FEED.get(ctx.env.FEED.idFromName(workspaceId)).publish(rows.map(toFeedEvent))
  } catch (error) {
    ctx.log({ level: 'warn', message: 'feed unreachable', error: describeError(error) })
  }
}

const readEvents = (ctx: Ctx, after: number, generationId: string | undefined) =>
  transact(ctx, (db) => ({
    ...(generationId && {
      found: ensure(
        db,
        sql`exists (select from generations where workspace_id = app.workspace_id() and id = ${generationId})`,
        'not_found',
      ),
    }),
    rows: db
      .select()
      .from(generationEvents)
      .where(
        and(
          inWorkspace(generationEvents),
          gt(generationEvents.sequence, after),
          generationId ? eq(generationEvents.generationId, generationId) : undefined,
        ),
      )
      .orderBy(asc(generationEvents.sequence))
      .limit(PAGE),
    heads: db
      .select({ sequence: sql<string>`coalesce(max(${generationEvents.sequence}), 0)` })
      .from(generationEvents)
      .where(inWorkspace(generationEvents)),
  }))

const isLast = (event: FeedEvent) => ['succeeded', 'failed', 'canceled'].includes(event.status)

/** WHATWG server-sent events. */
const encode = (event: FeedEvent) => {
  const { generationId, status, progress, at } = event
  return `id: ${event.sequence}\nevent: ${event.type}\ndata: ${JSON.stringify({ generationId, status, progress, at })}\n\n`
}

/**
 * Streams events: of one generation until its last one, or of the whole workspace for as long as the client stays.
 * After a known event (`Last-Event-ID`) it goes on from there; a workspace's stream otherwise begins now.
 * @throws {AppError} not_found
 */
export const streamEvents = async (
  ctx: Ctx,
  options: { generationId?: string; lastEventId?: number | undefined },
): Promise<ReadableStream<Uint8Array>> => {
  const { generationId, lastEventId } = options
  const first = await readEvents(ctx, lastEventId ?? 0, generationId)
  const startsNow = generationId === undefined && lastEventId === undefined
  let last = startsNow ? Number(first.heads[0]?.sequence) : (lastEventId ?? 0)
  const pending = startsNow ? [] : first.rows.map(toFeedEvent)
  const encoder = new TextEncoder()
  let socket: WebSocket | undefined
  let timer: ReturnType<typeof setInterval> | undefined

  const stop = () => {
    clearInterval(timer)
    socket?.close()
  }

  return new ReadableStream({
    async start(controller) {
      let closed = false
      const close = () => {
        if (closed) return
        closed = true
        stop()
        controller.close()
      }
      const send = (text: string) => {
        if (!closed) controller.enqueue(encoder.encode(text))
      }
      const pass = (events: readonly FeedEvent[]) => {
        for (const event of events) {
          if (event.sequence <= last) continue
          last = event.sequence
          if (generationId && event.generationId !== generationId) continue
          send(encode(event))
          if (generationId && isLast(event)) close()
        }
      }
      /** From the table, whatever the feed may have missed. */
      const look = async () => {
        try {
          for (let full = true; full && !closed; ) {
            const { rows } = await readEvents(ctx, last, generationId)
            pass(rows.map(toFeedEvent))
            full = rows.length === PAGE
          }
        } catch {
          // Signed out, removed, or the database is away: the client asks again and hears it.
          close()
        }
      }

      send(`retry: ${RETRY}\n\n`)
      pass(pending)
      if (closed) return
      const feed = ctx.env.FEED.get(ctx.env.FEED.idFromName(first.gate.workspaceId))
      const response = await feed.fetch('https://feed/', { headers: { upgrade: 'websocket' } })
      socket = response.webSocket ?? undefined
      socket?.addEventListener('message', ({ data }) => {
        // What `Feed.publish` sent.
        const events = JSON.parse(String(data)) as FeedEvent[]
        const [next] = events
        // Something was missed in between: the table has it.
        if (next && next.sequence > last + 1) void look()
        else pass(events)
      })
      socket?.addEventListener('close', close)
      socket?.accept()
      // What happened between the first look and now.
      await look()
      let beats = 0
      timer = setInterval(() => {
        send(': still here\n\n')
        if (++beats % LOOKS === 0) void look()
      }, HEARTBEAT)
      if (closed) stop()
    },
    cancel: stop,
  })
}
