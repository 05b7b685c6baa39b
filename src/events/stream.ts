/** Live progress as server-sent events (WHATWG): replayed from the table, then passed on from the feed. */
import type { Ctx } from '../context.ts'
import { hasEnded, phaseOf } from '../words.ts'
import { feedOf, PAGE, readEvents } from './events.ts'
import type { FeedEvent, FeedMessage } from './feed.ts'

/** Milliseconds between comments that keep proxies from closing an idle stream. */
const HEARTBEAT = 15_000
/** Milliseconds after which a client that lost its stream should come back. */
const RETRY = 2000
/** Milliseconds; then the stream ends, and the client that comes back passes the gate again. */
const LIFETIME = 600_000
/** Milliseconds that an event may arrive after its successor before the table is asked for it. */
const REORDERING = 500
/** Pages that one stream replays; the client that wants more comes back with the id of its last event. */
const MAX_PAGES = 10
/** Events that may wait for the client to read them. */
const MAX_UNREAD = 2 * PAGE
/** Milliseconds after which the table is asked, should nobody have told of the last event. */
const LOOK = 60_000

const encode = (event: FeedEvent) => {
  const { sequence, type, generationId, status, progress, eta, at } = event
  const phase = phaseOf(status, event.phase)
  return `id: ${sequence}\nevent: ${type}\ndata: ${JSON.stringify({ generationId, status, phase, progress, eta, at })}\n\n`
}

/** On whose behalf a stream listens: what the feed is told when that right ends. */
const tagsOf = ({ principal }: Ctx, userId: string | null): string[] => {
  if (principal.type === 'api_key') return [`key:${principal.hash}`]
  return [`user:${userId}`, ...(principal.type === 'session' ? [`session:${principal.id}`] : [])]
}

/**
 * Puts a workspace's events in order, whatever order they come in, and passes each on once. `missing` is called when
 * one has not come for a while.
 */
const createSequencer = (start: number, emit: (event: FeedEvent) => void, missing: () => void) => {
  let last = start
  let timer: ReturnType<typeof setTimeout> | undefined
  const early = new Map<number, FeedEvent>()
  const drain = () => {
    for (let next = early.get(last + 1); next; next = early.get(last + 1)) {
      early.delete(next.sequence)
      last = next.sequence
      emit(next)
    }
    clearTimeout(timer)
    if (early.size > 0) timer = setTimeout(missing, REORDERING)
  }
  return {
    /** From the feed. */
    take(events: readonly FeedEvent[]) {
      for (const event of events) if (event.sequence > last) early.set(event.sequence, event)
      drain()
    },
    /** From the table, up to `head`, of which what is not among the events does not matter here. */
    skipTo(head: number, events: readonly FeedEvent[]) {
      for (const event of events) {
        if (event.sequence > last) {
          last = event.sequence
          emit(event)
        }
      }
      last = Math.max(last, head)
      for (const sequence of early.keys()) if (sequence <= last) early.delete(sequence)
      drain()
    },
    last: () => last,
    stop: () => clearTimeout(timer),
  }
}

/**
 * Streams events: of one generation until its last one, or of the whole workspace for as long as the client stays.
 * After a known event (`Last-Event-ID`) it goes on from there; a workspace's stream otherwise begins now. An id that
 * was never given out counts as none.
 * @returns undefined if there is nothing more to come
 * @throws {AppError} not_found
 */
export const streamEvents = async (
  ctx: Ctx,
  options: { generationId?: string; lastEventId?: number | undefined },
): Promise<ReadableStream<Uint8Array> | undefined> => {
  const { generationId } = options
  const admittedAt = Date.now()
  const start = options.lastEventId ?? (generationId ? 0 : 'now')
  let first = await readEvents(ctx, start, generationId, { listens: true })
  const isUnknown = typeof start === 'number' && start > first.head
  if (isUnknown && generationId) first = await readEvents(ctx, 0, generationId)
  if (first.hasEnded && first.events.length === 0) return undefined

  const { workspaceId, userId } = first.gate
  const encoder = new TextEncoder()
  const timers: ReturnType<typeof setInterval>[] = []
  let socket: WebSocket | undefined
  let isOver = false
  let finish = () => {}
  let resume = () => {}

  const stop = () => {
    if (isOver) return
    isOver = true
    for (const timer of timers) clearInterval(timer)
    sequencer.stop()
    socket?.close()
    resume()
    finish()
  }
  let send = (_text: string) => {}
  /** How much the client has not read yet. */
  let unread = () => 0
  /** Resolves when the client has read what it was sent, or the stream is over. */
  const whenRead = () =>
    new Promise<void>((resolve) => {
      if (isOver || unread() === 0) resolve()
      else resume = resolve
    })
  const sequencer = createSequencer(
    generationId ? (isUnknown ? 0 : Number(start)) : start === 'now' || isUnknown ? first.head : start,
    (event) => {
      if (isOver || (generationId && event.generationId !== generationId)) return
      send(encode(event))
      if (unread() > MAX_UNREAD) return stop()
      if (generationId && hasEnded(event.status)) stop()
    },
    () => void catchUp(),
  )

  /** Passes a page on. @returns whether it was the last */
  const passPage = ({ events, head }: Pick<typeof first, 'events' | 'head'>): boolean => {
    const isWhole = events.length < PAGE
    sequencer.skipTo(isWhole ? head : (events.at(-1)?.sequence ?? head), events)
    return isWhole
  }

  /**
   * Reads what the feed may have missed, a page when the one before it has been read; what is asked for meanwhile is read
   * by the same loop.
   */
  let reading = false
  let readAgain = false
  let pages = 1
  const catchUp = async () => {
    readAgain = true
    if (reading) return
    reading = true
    try {
      while (readAgain && !isOver) {
        await whenRead()
        if (isOver) return
        readAgain = false
        if (passPage(await readEvents(ctx, sequencer.last(), generationId))) continue
        if (++pages >= MAX_PAGES) return stop()
        readAgain = true
      }
    } catch {
      // Signed out, removed, or the database is away: the client asks again and hears it.
      stop()
    } finally {
      reading = false
    }
  }

  const connect = async () => {
    const query = new URLSearchParams(tagsOf(ctx, userId).map((tag) => ['tag', tag]))
    query.set('since', String(admittedAt))
    const response = await feedOf(ctx, workspaceId).fetch(`https://feed/?${query}`, {
      headers: { upgrade: 'websocket' },
    })
    socket = response.webSocket ?? undefined
    socket?.addEventListener('message', ({ data }) => {
      // What `Feed` sent.
      const message = JSON.parse(String(data)) as FeedMessage
      if ('events' in message) sequencer.take(message.events)
      // The first message: events that were published before this listener came are in the table.
      else if (message.head === null || message.head > sequencer.last()) void catchUp()
    })
    socket?.addEventListener('close', stop)
    socket?.accept()
    if (isOver) socket?.close()
  }

  return new ReadableStream({
    async start(controller) {
      send = (text) => {
        if (!isOver) controller.enqueue(encoder.encode(text))
      }
      // Each text is one chunk, and the runtime asks for one ahead.
      unread = () => 1 - (controller.desiredSize ?? 1)
      finish = () => controller.close()
      send(`retry: ${RETRY}\n\n`)
      if (!passPage(first)) void catchUp()
      if (isOver) return
      timers.push(
        setInterval(() => send(': still here\n\n'), HEARTBEAT),
        setTimeout(stop, LIFETIME),
        // A workspace's stream goes on anyway, and there the next event shows what is missing.
        ...(generationId ? [setInterval(() => void catchUp(), LOOK)] : []),
      )
      try {
        await connect()
      } catch (error) {
        ctx.log({ level: 'warn', message: 'feed unreachable', error: String(error) })
        stop()
      }
    },
    pull() {
      resume()
    },
    cancel() {
      // The client has gone: there is nothing left to close.
      finish = () => {}
      stop()
    },
  })
}
