/**
 * How many parts of files an isolate holds at the same time, whoever's they are: all of its requests share its memory. No
 * request can wait for what another one does, so those that find no room look again.
 */
import { unavailable } from '../errors.ts'

/** Bytes: S3's least size of a part, and what a buffer holds at most. */
export const PART_SIZE = 5 * 1024 * 1024
/** Bytes up to which a buffer counts for nothing: most pictures on their way for a page. */
const SMALL = 256 * 1024
/** Larger ones in an isolate, which has 128 MB. */
const PLACES = 8
/** Milliseconds between two looks. */
const PAUSE = 20
/** Milliseconds that a part may take to come; of those that take longer the slowest gives way to whoever has waited for a while. */
const PATIENCE = 20_000
const WHILE = 2000
/** Milliseconds for which a file waits for a place. */
const LONGEST_WAIT = 45_000
/** Milliseconds after which a holder is taken for cancelled, together with its request; nothing is sent for longer. */
const LONGEST = 330_000

/** Milliseconds after which a client that sends nothing has gone, or soon will have. */
const SILENCE = 16_000

/** Since when a place is held for the part that is read or sent there; how much of that has come, and when, if a client fills it. */
interface Place {
  since: number
  filled?: number
  at?: number
}
const held = new Set<Place>()
/** When somebody last looked for a place in vain, and since when without a break. */
let lastWanted = 0
let wantedSince = 0

const note = (now: number) => {
  if (now - lastWanted > 10 * PAUSE) wantedSince = now
  lastWanted = now
}
const isWanted = (now: number) => now - lastWanted < 10 * PAUSE && now - wantedSince > WHILE

/** Bytes a millisecond; nobody is slow by what others take. */
const rateOf = ({ since, filled = Number.POSITIVE_INFINITY }: Place, now: number) => filled / (now - since)

const isInTheWay = (place: Place) => {
  const now = Date.now()
  if (now - place.since <= PATIENCE || !isWanted(now)) return false
  return [...held].every(
    (other) => rateOf(other, now) >= rateOf(place, now) || now - (other.at ?? now) > SILENCE,
  )
}

const tryPlace = () => {
  for (const place of held) if (Date.now() - place.since > LONGEST) held.delete(place)
  if (held.size >= PLACES) return undefined
  const place: Place = { since: Date.now() }
  held.add(place)
  return place
}

const busy = (why: string) => unavailable(new Error(why), 10)

const waitForPlace = async () => {
  for (const started = Date.now(); ; ) {
    const place = tryPlace()
    if (place) return place
    note(Date.now())
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
  const places: Place[] = []
  const [first, second] = [() => places[0], () => places[1]]
  return {
    /**
     * The one to fill, at least `length` bytes long.
     * @throws {AppError} unavailable: of those that fill slowly while others wait it is the slowest, or others hold all places
     */
    async atLeast(length: number): Promise<Uint8Array<ArrayBuffer>> {
      for (const place of places) Object.assign(place, { filled: length, at: Date.now() })
      const [place] = places
      if ((place && isInTheWay(place)) || places.some((one) => !held.has(one))) {
        throw busy('a slow file gave way to others')
      }
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
      for (const place of places) Object.assign(place, { since: Date.now(), filled: 0 })
    },
    free() {
      for (const place of places) held.delete(place)
      for (const one of [buffer, spare]) one.buffer.transfer(0)
    },
  }
}
