/** How long a film lasts, and how many pages a document has, as far as a few ranges of the file tell. */
import { headerOf, timesOf } from './boxes.ts'

/** Bytes from `offset` on, as many as there are of `length`. */
export type ReadRange = (offset: number, length: number) => Promise<Buffer>

export interface Measures {
  /** Of films. */
  durationSeconds: number | null
  /** Of documents. */
  pages: number | null
}

/** Bytes read at a time. */
const RANGE = 64 * 1024
/** Of a box and of what is read of its first child. */
const HEADERS = 64
/** Boxes beside each other that are looked at; a file of fragments has thousands. */
const MAX_BOXES = 24

/** The film's first box `moov`, wherever it lies, begins with the movie header. */
const mp4Duration = async (size: number, read: ReadRange): Promise<number | null> => {
  let [at, start, bytes] = [0, 0, await read(0, RANGE)]
  for (let boxes = 0; boxes < MAX_BOXES && at < size; boxes++) {
    if (at + HEADERS > start + bytes.length) [start, bytes] = [at, await read(at, RANGE)]
    const box = headerOf(bytes.subarray(at - start))
    if (!box) return null
    if (box.type === 'moov') {
      const content = bytes.subarray(at - start + box.header)
      const child = headerOf(content)
      const times = child?.type === 'mvhd' ? timesOf(content.subarray(child.header)) : undefined
      return times ? times.units / times.scale : null
    }
    at += box.size
  }
  return null
}

/** An element's variable-size number (RFC 8794), with its marker if `keep` says so. */
const vint = (bytes: Buffer, at: number, keep: boolean): { value: number; length: number } | undefined => {
  const first = bytes[at] ?? 0
  const length = Math.clz32(first) - 23
  if (length > 8 || bytes.length < at + length) return undefined
  let value = keep ? first : first & (0xff >> length)
  for (let i = 1; i < length; i++) value = value * 256 + (bytes[at + i] ?? 0)
  return { value, length }
}

const EBML = { header: 0x1a45dfa3, segment: 0x18538067, info: 0x1549a966, scale: 0x2ad7b1, duration: 0x4489 }

/** The element of that id among those from `at` on: where its content begins and ends. */
const element = (bytes: Buffer, at: number, end: number, wanted: number) => {
  for (let next = at; next < end; ) {
    const id = vint(bytes, next, true)
    const size = id && vint(bytes, next + id.length, false)
    if (!id || !size) return undefined
    const start = next + id.length + size.length
    if (id.value === wanted) return { start, end: Math.min(bytes.length, start + size.value) }
    next = start + size.value
  }
  return undefined
}

/** Of a segment's `Info` (RFC 9559), which comes before the pictures. */
const webmDuration = (head: Buffer): number | null => {
  const segment = element(head, 0, head.length, EBML.segment)
  const info = segment && element(head, segment.start, segment.end, EBML.info)
  const duration = info && element(head, info.start, info.end, EBML.duration)
  if (!info || !duration) return null
  const scale = element(head, info.start, info.end, EBML.scale)
  const nanoseconds = scale ? head.readUIntBE(scale.start, Math.min(6, scale.end - scale.start)) : 1_000_000
  const ticks =
    duration.end - duration.start === 4 ? head.readFloatBE(duration.start) : head.readDoubleBE(duration.start)
  return (ticks * nanoseconds) / 1e9
}

/** A whole number from 1 to 9,999,999, as PDF writes it; longer ones are no pages. */
const COUNT = '\\s+0*([1-9]\\d{0,6})(?![\\d.])'
const linearizedPages = new RegExp(`/Linearized\\b[^>]*?/N${COUNT}`)
const treePages = new RegExp(`/Count${COUNT}`)

/** Of a linearized file, or the root of the page tree (ISO 32000), where it is not compressed. */
const pdfPages = (head: Buffer, tail: Buffer): number | null => {
  const linearized = linearizedPages.exec(head.toString('latin1', 0, 2048))?.[1]
  if (linearized) return Number(linearized)
  const [first, last] = [head, tail].map((bytes) => bytes.toString('latin1').split('endobj'))
  // What is cut through may be no root: its parent stands in the other half.
  if (tail.length > 0) {
    first?.pop()
    if (!/\d\s+obj\b/.test(last?.[0] ?? '')) last?.shift()
  }
  const roots = [...(first ?? []), ...(last ?? [])]
    .filter((text) => /\/Type\s*\/Pages\b/.test(text) && !/\/Parent\b/.test(text))
    .map((text) => Number(treePages.exec(text)?.[1] ?? 0))
  // A file that was changed has the newest one last.
  return roots.at(-1) || null
}

/** Files lie: nothing lasts so short, or so long. */
const plausible = (seconds: number | null) =>
  seconds !== null && seconds >= 1e-3 && seconds <= 1e9 ? seconds : null

/** What cannot be told is null, also of files that lie. @throws what `read` throws */
export const measure = async (mimeType: string, size: number, read: ReadRange): Promise<Measures> => {
  const none = { durationSeconds: null, pages: null }
  try {
    if (mimeType === 'video/mp4')
      return { ...none, durationSeconds: plausible(await mp4Duration(size, read)) }
    if (mimeType === 'video/webm')
      return { ...none, durationSeconds: plausible(webmDuration(await read(0, RANGE))) }
    if (mimeType === 'application/pdf') {
      const tail = size > RANGE ? await read(Math.max(RANGE, size - RANGE), RANGE) : Buffer.alloc(0)
      return { ...none, pages: pdfPages(await read(0, RANGE), tail) }
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
  }
  return none
}
