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

/** The client's end: what it is sent, until one of both closes it, and whether it has read that. */
const createSink = () => {
  const encoder = new TextEncoder()
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  let resume = () => {}
  // Each text is one chunk, and the runtime asks for one ahead.
  const unread = () => 1 - (controller?.desiredSize ?? 1)
  /** @returns whether it was open */
  const leave = () => {
    const wasOpen = controller !== undefined
    controller = undefined
    resume()
    return wasOpen
  }
  return {
    open(own: ReadableStreamDefaultController<Uint8Array>) {
      controller = own
    },
    isOpen: () => controller !== undefined,
    send(text: string) {
      controller?.enqueue(encoder.encode(text))
    },
    unread,
    pull: () => resume(),
    /** Resolves when the client has read what it was sent, or the stream is over. */
    whenRead: () =>
      new Promise<void>((resolve) => {
        if (unread() === 0) resolve()
        else resume = resolve
      }),
    /** The client has gone: there is nothing left to close. */
    leave,
    close() {
      controller?.close()
      return leave()
    },
  }
}

/**
 * Reads pages when it is asked to, one after the other, each when the client has read the one before; what is asked for
 * meanwhile is read by the same loop. `passPage` reads and passes one on, and says whether it was the last.
 */
const createCatchUp = (
  sink: ReturnType<typeof createSink>,
  passPage: () => Promise<boolean>,
  stop: () => void,
) => {
  let isReading = false
  let isAsked = false
  let pages = 1
  return async (): Promise<void> => {
    isAsked = true
    if (isReading) return
    isReading = true
    try {
      while (isAsked) {
        await sink.whenRead()
        if (!sink.isOpen()) return
        isAsked = false
        if (await passPage()) continue
        if (++pages >= MAX_PAGES) return stop()
        isAsked = true
      }
    } catch {
      // Signed out, removed, or the database is away: the client asks again and hears it.
      stop()
    } finally {
      isReading = false
    }
  }
}

/** Listens to a workspace's feed for whoever was let in at `since` (milliseconds). */
const listen = async (
  ctx: Ctx,
  { workspaceId, userId }: { workspaceId: string; userId: string | null },
  since: number,
  { hear, lose }: { hear: (message: FeedMessage) => void; lose: () => void },
): Promise<WebSocket | null> => {
  const query = new URLSearchParams(tagsOf(ctx, userId).map((tag) => ['tag', tag]))
  query.set('since', String(since))
  const { webSocket } = await feedOf(ctx, workspaceId).fetch(`https://feed/?${query}`, {
    headers: { upgrade: 'websocket' },
  })
  // What `Feed` sent.
  webSocket?.addEventListener('message', ({ data }) => hear(JSON.parse(String(data)) as FeedMessage))
  webSocket?.addEventListener('close', lose)
  webSocket?.accept()
  return webSocket
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

  const timers: ReturnType<typeof setInterval>[] = []
  let socket: WebSocket | null = null
  const sink = createSink()
  const release = () => {
    for (const timer of timers) clearInterval(timer)
    sequencer.stop()
    socket?.close()
  }
  const stop = () => {
    if (sink.close()) release()
  }
  const sequencer = createSequencer(
    generationId ? (isUnknown ? 0 : Number(start)) : start === 'now' || isUnknown ? first.head : start,
    (event) => {
      if (generationId && event.generationId !== generationId) return
      sink.send(encode(event))
      if (sink.unread() > MAX_UNREAD) return stop()
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
  const catchUp = createCatchUp(
    sink,
    async () => passPage(await readEvents(ctx, sequencer.last(), generationId)),
    stop,
  )
  const hear = (message: FeedMessage) => {
    if ('events' in message) sequencer.take(message.events)
    // The first message: events that were published before this listener came are in the table.
    else if (message.head === null || message.head > sequencer.last()) void catchUp()
  }

  return new ReadableStream({
    async start(controller) {
      sink.open(controller)
      sink.send(`retry: ${RETRY}\n\n`)
      if (!passPage(first)) void catchUp()
      if (!sink.isOpen()) return
      timers.push(
        setInterval(() => sink.send(': still here\n\n'), HEARTBEAT),
        setTimeout(stop, LIFETIME),
        // A workspace's stream goes on anyway, and there the next event shows what is missing.
        ...(generationId ? [setInterval(() => void catchUp(), LOOK)] : []),
      )
      try {
        socket = await listen(ctx, first.gate, admittedAt, { hear, lose: stop })
        if (!sink.isOpen()) socket?.close()
      } catch (error) {
        ctx.log({ level: 'warn', message: 'feed unreachable', error: String(error) })
        stop()
      }
    },
    pull: sink.pull,
    cancel() {
      if (sink.leave()) release()
    },
  })
}
