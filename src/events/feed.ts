/**
 * The live feed of a workspace: what happens to its generations, passed on to whoever is connected. The object
 * sleeps between events (its WebSockets hibernate), and each connection costs the Worker an idle stream.
 */
import { DurableObject } from 'cloudflare:workers'
import type { generationEvents } from '../db/schema.ts'

export type FeedEvent = Pick<
  typeof generationEvents.$inferSelect,
  'sequence' | 'generationId' | 'type' | 'status' | 'progress' | 'phase'
> & { eta?: { p50: string; p90: string } | undefined; at: string }

/** What a listener gets: at first how far the feed has come, as far as it knows; then events as they are published. */
export type FeedMessage = { head: number | null } | { events: FeedEvent[] }

/** Milliseconds between the asking of the gate and the connection to the feed. */
const REMEMBERED = 60_000
/** Milliseconds that the clocks of the Worker and of this object may differ by. */
const CLOCK_SKEW = 1000

export class Feed extends DurableObject {
  // Lost with an eviction: then new listeners look at the table once more.
  private head: number | null = null
  /** When whose streams were ended, in milliseconds: who passed the gate before that is too late to connect. */
  private readonly dismissed = new Map<string, number>()

  /** Connects a listener. In the query: `tag`, on whose behalf, and `since`, when they asked the gate. */
  override async fetch(request: Request): Promise<Response> {
    const { searchParams } = new URL(request.url)
    const tags = searchParams.getAll('tag')
    const { 0: client, 1: server } = new WebSocketPair()
    this.ctx.acceptWebSocket(server, tags)
    const since = Number(searchParams.get('since'))
    if (['', ...tags].some((tag) => (this.dismissed.get(tag) ?? 0) > since - CLOCK_SKEW)) {
      server.close(1000, 'dismissed')
    } else server.send(JSON.stringify({ head: this.head } satisfies FeedMessage))
    return new Response(null, { status: 101, webSocket: client })
  }

  publish(events: FeedEvent[]): void {
    this.head = Math.max(this.head ?? 0, ...events.map(({ sequence }) => sequence))
    const message = JSON.stringify({ events } satisfies FeedMessage)
    for (const socket of this.ctx.getWebSockets()) {
      try {
        socket.send(message)
      } catch {
        // On its way out; its client comes back and reads from the table.
      }
    }
  }

  /** Ends the streams of whoever may no longer listen; without tags, all. */
  dismiss(tags: readonly string[]): void {
    const now = Date.now()
    for (const [known, at] of this.dismissed) if (now - at > REMEMBERED) this.dismissed.delete(known)
    for (const tag of tags.length > 0 ? tags : ['']) {
      this.dismissed.set(tag, now)
      for (const socket of this.ctx.getWebSockets(tag || undefined)) socket.close(1000, 'dismissed')
    }
  }

  override webSocketClose(socket: WebSocket): void {
    socket.close()
  }
}
