/** The same film with its index before its pictures, so that it plays while it loads (ISO/IEC 14496-12). */
import type { Asset } from '../assets/assets.ts'
import { boxesIn, FULL, findBox } from '../assets/boxes.ts'
import type { Film } from '../assets/film.ts'
import { originalOf, readRange } from '../assets/storage.ts'
import type { Env } from '../env.ts'

/** Bytes read at a time. */
const STEP = 4 * 1024 * 1024
const MAX_UINT32 = 2 ** 32 - 1

/** Where the chunks of a track lie in the file: adds `shift` to what lies before `end`. @returns false if one does not fit */
const shiftOffsets = (track: Buffer, shift: number, end: number): boolean => {
  const short = findBox(track, ['mdia', 'minf', 'stbl', 'stco'])
  const long = findBox(track, ['mdia', 'minf', 'stbl', 'co64'])
  for (let i = 0, count = short?.readUInt32BE(FULL) ?? 0; short && i < count; i++) {
    const offset = short.readUInt32BE(8 + 4 * i)
    if (offset >= end) continue
    if (offset + shift > MAX_UINT32) return false
    short.writeUInt32BE(offset + shift, 8 + 4 * i)
  }
  for (let i = 0, count = long?.readUInt32BE(FULL) ?? 0; long && i < count; i++) {
    const offset = long.readBigUInt64BE(8 + 8 * i)
    if (offset < BigInt(end)) long.writeBigUInt64BE(offset + BigInt(shift), 8 + 8 * i)
  }
  return true
}

const range = async function* (
  original: ReturnType<typeof originalOf>,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  for (let at = start; at < end; at += STEP) yield readRange(...original, at, Math.min(STEP, end - at))
}

/** @returns undefined if its index can't be moved. @throws {AppError} unavailable */
export const filmChunks = async (
  env: Env,
  asset: Asset,
  { boxes }: Film,
): Promise<AsyncGenerator<Uint8Array> | undefined> => {
  const original = originalOf(env, asset)
  const index = boxes.find(({ type }) => type === 'moov')
  const data = boxes.find(({ type }) => type === 'mdat')
  if (!index || !data || index.start < data.start) return range(original, 0, asset.size)
  const moov = await readRange(...original, index.start, index.size)
  const content = [...boxesIn(moov)][0]?.data
  // After what says which kind of file it is, and before everything else.
  const [type] = boxes
  const at = type?.type === 'ftyp' ? type.size : 0
  try {
    for (const { type, data: track } of content ? boxesIn(content) : []) {
      if (type === 'trak' && !shiftOffsets(track, index.size, index.start)) return undefined
    }
  } catch {
    return undefined
  }
  return (async function* () {
    yield* range(original, 0, at)
    yield moov
    yield* range(original, at, index.start)
    yield* range(original, index.start + index.size, asset.size)
  })()
}
