/** PNG (W3C, third edition) row by row, read and written while it streams: a picture of any size holds a few rows of memory. */
import { crc32 } from 'node:zlib'
import { readChunks, toStream } from '../streams.ts'

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
/** Bytes of a chunk before its data, and after it. */
const BEFORE = 8
const AFTER = 4
/** Bytes of a chunk that is held whole; more is none that is read here. */
const LARGEST = 64 * 1024

class BrokenPng extends Error {}

/** Values a pixel, by colour type: grey, RGB, palette, grey with alpha, RGBA. */
const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }

interface Header {
  width: number
  height: number
  /** Bits a value. */
  depth: number
  colour: number
}

export interface Picture {
  width: number
  height: number
  /** Each of `width` pixels in RGBA of 8 bits, valid until the next. */
  rows: AsyncGenerator<Uint8Array>
}

const readHeader = (data: Buffer): Header => {
  const [width, height] = [data.readUInt32BE(0), data.readUInt32BE(4)]
  const [depth = 0, colour = 0, , , interlace] = data.subarray(8)
  if (!CHANNELS[colour] || ![1, 2, 4, 8, 16].includes(depth) || interlace !== 0 || !width || !height) {
    throw new BrokenPng(`depth ${depth}, colour type ${colour}, interlace ${interlace}`)
  }
  return { width, height, depth, colour }
}

/** Reads exactly so many bytes at a time. */
const openReader = (chunks: AsyncIterator<Uint8Array>) => {
  let rest: Uint8Array = new Uint8Array()
  const more = async () => {
    const { value, done } = await chunks.next()
    if (done) throw new BrokenPng('it ends too early')
    rest = value
  }
  return {
    /** A part of what comes next, at most so many bytes, valid until the next. */
    async some(length: number): Promise<Uint8Array> {
      if (rest.length === 0) await more()
      const part = rest.subarray(0, length)
      rest = rest.subarray(part.length)
      return part
    },
    async fill(target: Uint8Array): Promise<void> {
      for (let filled = 0; filled < target.length; ) {
        const part = await this.some(target.length - filled)
        target.set(part, filled)
        filled += part.length
      }
    },
  }
}
type Reader = ReturnType<typeof openReader>

/** Up to the pixels' first chunk. @returns its bytes, and what is said before it */
const readUntilPixels = async (reader: Reader) => {
  const found = new Map<string, Buffer>()
  const before = Buffer.alloc(BEFORE)
  await reader.fill(before)
  if (!before.equals(SIGNATURE)) throw new BrokenPng('it is no PNG')
  for (;;) {
    await reader.fill(before)
    const [length, type] = [before.readUInt32BE(0), before.toString('latin1', 4)]
    if (type === 'IDAT') return { length, found }
    if (length > LARGEST) throw new BrokenPng(`${type} of ${length} bytes`)
    const data = Buffer.alloc(length + AFTER)
    await reader.fill(data)
    found.set(type, data.subarray(0, length))
  }
}

/** The data of the pixels' chunks, which follow each other. */
const dataOf = async function* (reader: Reader, first: number): AsyncGenerator<Uint8Array> {
  const between = Buffer.alloc(AFTER + BEFORE)
  for (let length = first; ; length = between.readUInt32BE(AFTER)) {
    for (let left = length; left > 0; ) {
      const part = await reader.some(left)
      left -= part.length
      // Whoever inflates it may hold it for a while.
      yield part.slice()
    }
    await reader.fill(between)
    if (between.toString('latin1', AFTER + 4) !== 'IDAT') return
  }
}

/** Undoes a row's filter in place; `step` is the bytes of a pixel, and at least 1. */
const unfilter = (type: number, row: Uint8Array, above: Uint8Array, step: number): void => {
  const { length } = row
  // Each byte is there: `?? 0` is for the types.
  switch (type) {
    case 0:
      return
    case 1:
      for (let i = step; i < length; i++) row[i] = (row[i] ?? 0) + (row[i - step] ?? 0)
      return
    case 2:
      for (let i = 0; i < length; i++) row[i] = (row[i] ?? 0) + (above[i] ?? 0)
      return
    case 3:
      for (let i = 0; i < length; i++) {
        const left = i < step ? 0 : (row[i - step] ?? 0)
        row[i] = (row[i] ?? 0) + ((left + (above[i] ?? 0)) >> 1)
      }
      return
    case 4:
      for (let i = 0; i < length; i++) {
        const left = i < step ? 0 : (row[i - step] ?? 0)
        const corner = i < step ? 0 : (above[i - step] ?? 0)
        const up = above[i] ?? 0
        const toLeft = Math.abs(up - corner)
        const toUp = Math.abs(left - corner)
        const toCorner = Math.abs(left + up - 2 * corner)
        const nearest = toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner
        row[i] = (row[i] ?? 0) + nearest
      }
      return
    default:
      throw new BrokenPng(`filter ${type}`)
  }
}

/** Makes RGBA of a row of any kind. */
const painter = ({ width, depth, colour }: Header, found: Map<string, Buffer>) => {
  const channels = CHANNELS[colour] ?? 1
  const palette = found.get('PLTE') ?? Buffer.alloc(0)
  const transparency = found.get('tRNS')
  /** A value of 8 bits, or the index into a palette; of 16 bits the upper half. */
  const valueAt = (row: Uint8Array, index: number): number => {
    if (depth === 8) return row[index] ?? 0
    if (depth === 16) return row[2 * index] ?? 0
    const bit = index * depth
    const value = ((row[bit >> 3] ?? 0) >> (8 - depth - (bit & 7))) & (2 ** depth - 1)
    return colour === 3 ? value : (value * 255) / (2 ** depth - 1)
  }
  /** The one colour that is transparent, where there is no alpha; exact for 8 bits and fewer. */
  const keyed = colour === 0 || colour === 2 ? transparency : undefined
  const key = keyed
    ? Array.from({ length: channels }, (_, i) => {
        const value = keyed.readUInt16BE(2 * i)
        return depth === 16 ? value >> 8 : depth === 8 ? value : (value * 255) / (2 ** depth - 1)
      })
    : undefined
  return (row: Uint8Array, target: Uint8Array): void => {
    for (let x = 0, at = 0; x < width; x++, at += 4) {
      const first = x * channels
      if (colour === 3) {
        const index = valueAt(row, x)
        for (let i = 0; i < 3; i++) target[at + i] = palette[3 * index + i] ?? 0
        target[at + 3] = transparency?.[index] ?? 255
        continue
      }
      const isGrey = channels < 3
      const red = valueAt(row, first)
      const green = isGrey ? red : valueAt(row, first + 1)
      const blue = isGrey ? red : valueAt(row, first + 2)
      target[at] = red
      target[at + 1] = green
      target[at + 2] = blue
      const isKey = key && red === key[0] && (isGrey || (green === key[1] && blue === key[2]))
      target[at + 3] = isKey ? 0 : channels % 2 === 0 ? valueAt(row, first + channels - 1) : 255
    }
  }
}

const readRows = async function* (
  header: Header,
  found: Map<string, Buffer>,
  data: ReadableStream<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { width, height, depth, colour } = header
  const bits = depth * (CHANNELS[colour] ?? 1)
  const paint = painter(header, found)
  const pixels = new Uint8Array(4 * width)
  const filter = new Uint8Array(1)
  let row = new Uint8Array(Math.ceil((bits * width) / 8))
  let above = new Uint8Array(row.length)
  const chunks = readChunks(data)
  const reader = openReader(chunks)
  try {
    for (let y = 0; y < height; y++) {
      await reader.fill(filter)
      await reader.fill(row)
      unfilter(filter[0] ?? 0, row, above, Math.max(1, bits >> 3))
      if (depth === 8 && colour === 6) yield row
      else {
        paint(row, pixels)
        yield pixels
      }
      ;[row, above] = [above, row]
    }
  } finally {
    await chunks.return(undefined)
  }
}

/** @throws {BrokenPng} also while rows are read; what the stream throws */
export const readPng = async (body: ReadableStream<Uint8Array>): Promise<Picture> => {
  const reader = openReader(readChunks(body))
  const { length, found } = await readUntilPixels(reader)
  const header = readHeader(found.get('IHDR') ?? Buffer.alloc(13))
  const inflated = toStream(dataOf(reader, length)).pipeThrough(new DecompressionStream('deflate'))
  return { width: header.width, height: header.height, rows: readRows(header, found, inflated) }
}

const chunkOf = (type: string, data: Uint8Array): Buffer => {
  const chunk = Buffer.alloc(BEFORE + data.length + AFTER)
  chunk.writeUInt32BE(data.length)
  chunk.write(type, 4, 'latin1')
  chunk.set(data, BEFORE)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, BEFORE + data.length)), BEFORE + data.length)
  return chunk
}

/** Bytes that are compressed at a time. */
const BATCH = 256 * 1024

/** Rows with the filter `up`, several at a time. */
const filtered = async function* (
  rows: AsyncIterable<Uint8Array>,
  length: number,
): AsyncGenerator<Uint8Array> {
  const perBatch = Math.max(1, Math.floor(BATCH / (length + 1)))
  const above = new Uint8Array(length)
  let batch = new Uint8Array(perBatch * (length + 1))
  let at = 0
  for await (const row of rows) {
    batch[at++] = 2
    for (let i = 0; i < length; i++) batch[at++] = (row[i] ?? 0) - (above[i] ?? 0)
    above.set(row)
    if (at < batch.length) continue
    yield batch
    batch = new Uint8Array(batch.length)
    at = 0
  }
  if (at > 0) yield batch.subarray(0, at)
}

/** The file of so many rows of RGB in 8 bits. */
export const writePng = async function* (
  width: number,
  height: number,
  rows: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width)
  header.writeUInt32BE(height, 4)
  header.set([8, 2], 8)
  yield SIGNATURE
  yield chunkOf('IHDR', header)
  const deflated = toStream(filtered(rows, 3 * width)).pipeThrough(new CompressionStream('deflate'))
  for await (const data of readChunks(deflated)) yield chunkOf('IDAT', data)
  yield chunkOf('IEND', new Uint8Array())
}
