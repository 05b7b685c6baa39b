/**
 * The live feed of a workspace: what happens to its generations, passed on to whoever is connected. The object
 * sleeps between events (its WebSockets hibernate), and each connection costs the Worker an idle stream.
 */
import { DurableObject } from 'cloudflare:workers'
import type { generationEvents } from '../db/schema.ts'

export type FeedEvent = Pick<
  typeof generationEvents.$inferSelect,
  'sequence' | 'generationId' | 'type' | 'status' | 'progress'
> & { at: string }

export class Feed extends DurableObject {
  override async fetch(): Promise<Response> {
    const { 0: client, 1: server } = new WebSocketPair()
    this.ctx.acceptWebSocket(server)
    return new Response(null, { status: 101, webSocket: client })
  }

  publish(events: FeedEvent[]): void {
    const message = JSON.stringify(events)
    for (const socket of this.ctx.getWebSockets()) {
      try {
        socket.send(message)
      } catch {
        // On its way out; its client comes back and reads from the table.
      }
    }
  }

  override webSocketClose(socket: WebSocket): void {
    socket.close()
  }
}
