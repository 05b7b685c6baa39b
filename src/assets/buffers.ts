/**
 * How many parts of files an isolate holds at the same time, whoever's they are: all of its requests share its memory. No
 * request can wait for what another one does, so those that find no room look again.
 */
import { AppError } from '../errors.ts'

/** Bytes: S3's least size of a part, and what a buffer holds at most. */
export const PART_SIZE = 5 * 1024 * 1024
/** Bytes up to which a buffer counts for nothing: most pictures on their way for a page. */
const SMALL = 256 * 1024
/** Larger ones in an isolate, which has 128 MB. */
const PLACES = 8
/** Milliseconds between two looks. */
const PAUSE = 20
/** Milliseconds for which a place is held against those who wait: a part that takes longer to come gives way. */
const PATIENCE = 120_000
/** Milliseconds for which a file waits for a place. */
const LONGEST_WAIT = 45_000
/** Milliseconds after which a holder is taken for cancelled, together with its request; nothing is sent for longer. */
const LONGEST = 330_000

/** Since when each place is held for the part that is read or sent there. */
const held = new Set<{ since: number }>()
let lastWanted = 0

const tryPlace = () => {
  for (const place of held) if (Date.now() - place.since > LONGEST) held.delete(place)
  if (held.size >= PLACES) return undefined
  const place = { since: Date.now() }
  held.add(place)
  return place
}

const busy = (why: string) =>
  new AppError('unavailable', { headers: { 'retry-after': '10' }, cause: new Error(why) })

const waitForPlace = async () => {
  for (const started = Date.now(); ; ) {
    const place = tryPlace()
    if (place) return place
    lastWanted = Date.now()
    if (lastWanted - started > LONGEST_WAIT) throw busy('others hold all places')
    await scheduler.wait(PAUSE)
  }
}

/** For work that holds so many bytes at once, a part at most. @throws {AppError} unavailable: others hold all places */
export const inPlace = async <T>(length: number, work: () => Promise<T>): Promise<T> => {
  const place = length > SMALL ? await waitForPlace() : undefined
  try {
    return await work()
  } finally {
    if (place) held.delete(place)
  }
}

/** The buffers of one file: one that grows as it fills, and where there is room another, to fill while the first is sent. */
export const openBuffers = () => {
  let [buffer, spare] = [new Uint8Array(64 * 1024), new Uint8Array()]
  const places: { since: number }[] = []
  const [first, second] = [() => places[0], () => places[1]]
  return {
    /**
     * The one to fill, at least `length` bytes long.
     * @throws {AppError} unavailable: it fills too slowly while others wait, or others hold all places
     */
    async atLeast(length: number): Promise<Uint8Array<ArrayBuffer>> {
      const since = first()?.since ?? Date.now()
      const isInTheWay = Date.now() - since > PATIENCE && Date.now() - lastWanted < 10 * PAUSE
      if (isInTheWay || places.some((place) => !held.has(place))) throw busy('a slow file gave way to others')
      if (length <= buffer.length) return buffer
      if (length > SMALL && !first()) places.push(await waitForPlace())
      // The old one is free at once, and not when the collector comes.
      const size = Math.min(PART_SIZE, Math.max(buffer.length * 2, length))
      buffer = new Uint8Array(buffer.buffer.transfer(size))
      return buffer
    },
    /** After it is full, and about to be `sent`: another one, or the same once that is over. */
    async next(sent: Promise<unknown>): Promise<void> {
      if (!second()) {
        const place = tryPlace()
        if (place) {
          places.push(place)
          spare = new Uint8Array(PART_SIZE)
        }
      }
      if (second()) [buffer, spare] = [spare, buffer]
      else await sent
      for (const place of places) place.since = Date.now()
    },
    free() {
      for (const place of places) held.delete(place)
      for (const one of [buffer, spare]) one.buffer.transfer(0)
    },
  }
}
