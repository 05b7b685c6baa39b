/** Reads what a film is from its boxes (ISO/IEC 14496-12), by ranges: never the film itself. */
import type { Env } from '../env.ts'
import type { Asset } from './assets.ts'
import { boxesIn, FULL, findBox, headerOf, timesOf } from './boxes.ts'
import { originalOf, readRange } from './storage.ts'

/** Bytes that are read first: of most films all but the pictures. */
const HEAD = 64 * 1024
/** Boxes of the uppermost level that are looked at. */
const MAX_BOXES = 64
/** Bytes of an index that is held; that of an hour has some three million. */
const MAX_INDEX = 16 * 1024 * 1024

interface Place {
  type: string
  start: number
  size: number
}

export interface Film {
  boxes: Place[]
  /** Bytes that its boxes say it has. */
  claimed: number
  durationSeconds: number | null
  /** Pixels, as shown. */
  width: number | null
  height: number | null
  videoCodec: string | null
  audioCodec: string | null
  /** Frames a second. */
  frameRate: number | null
}

const CODECS: Record<string, string> = {
  avc1: 'H.264',
  avc3: 'H.264',
  hvc1: 'HEVC',
  hev1: 'HEVC',
  vp09: 'VP9',
  av01: 'AV1',
  mp4a: 'AAC',
  Opus: 'Opus',
}

/** The boxes of the uppermost level, as far as they can be followed. */
const placesOf = async (env: Env, asset: Asset): Promise<Place[]> => {
  const original = originalOf(env, asset)
  const head = await readRange(...original, 0, Math.min(HEAD, asset.size))
  const places: Place[] = []
  for (let start = 0; start + 8 <= asset.size && places.length < MAX_BOXES; ) {
    const bytes =
      start + 16 <= head.length ? head.subarray(start, start + 16) : await readRange(...original, start, 16)
    const box = headerOf(bytes)
    if (!box) break
    const size = Number.isFinite(box.size) ? box.size : asset.size - start
    places.push({ type: box.type, start, size })
    start += size
  }
  return places
}

/** How many samples the table of a track's times has. */
const samplesOf = (track: Buffer): number => {
  const stts = findBox(track, ['mdia', 'minf', 'stbl', 'stts'])
  if (!stts) return 0
  let samples = 0
  const entries = Math.min(stts.readUInt32BE(FULL), Math.floor((stts.length - 8) / 8))
  for (let entry = 0; entry < entries; entry++) samples += stts.readUInt32BE(8 + 8 * entry)
  return samples
}

/** Pixels of a track as shown: its header's matrix may turn it by a quarter. */
const sizeOf = (track: Buffer): { width: number; height: number } | undefined => {
  const tkhd = findBox(track, ['tkhd'])
  if (!tkhd) return undefined
  const at = tkhd.length - 8
  const [width, height] = [tkhd.readUInt32BE(at) / 65536, tkhd.readUInt32BE(at + 4) / 65536]
  const isTurned = tkhd.readInt32BE(at - 36) === 0
  return isTurned ? { width: height, height: width } : { width, height }
}

/** What the index says of the film. @throws {RangeError} if it is cut off or forged */
const readIndex = (moov: Buffer): Omit<Film, 'boxes' | 'claimed'> => {
  const film: Omit<Film, 'boxes' | 'claimed'> = {
    durationSeconds: null,
    width: null,
    height: null,
    videoCodec: null,
    audioCodec: null,
    frameRate: null,
  }
  const header = findBox(moov, ['mvhd'])
  const whole = header && timesOf(header)
  if (whole) film.durationSeconds = whole.units / whole.scale
  for (const { type, data: track } of boxesIn(moov)) {
    if (type !== 'trak') continue
    const handler = findBox(track, ['mdia', 'hdlr'])?.toString('latin1', 8, 12)
    const entry = findBox(track, ['mdia', 'minf', 'stbl', 'stsd'])?.toString('latin1', 12, 16) ?? ''
    const codec = CODECS[entry] ?? (entry || null)
    if (handler === 'soun') film.audioCodec ??= codec
    if (handler !== 'vide' || film.videoCodec !== null) continue
    film.videoCodec = codec
    Object.assign(film, sizeOf(track))
    const media = findBox(track, ['mdia', 'mdhd'])
    const times = media && timesOf(media)
    if (times) film.frameRate = (samplesOf(track) * times.scale) / times.units
  }
  return film
}

/** @returns undefined if it can't be read: cut off before its index, or no film. @throws {AppError} unavailable */
export const readFilm = async (env: Env, asset: Asset): Promise<Film | undefined> => {
  const boxes = await placesOf(env, asset)
  const index = boxes.find(({ type }) => type === 'moov')
  const last = boxes.at(-1)
  if (!index || !last || index.size > MAX_INDEX || index.start + index.size > asset.size) return undefined
  const bytes = await readRange(...originalOf(env, asset), index.start, index.size)
  const moov = [...boxesIn(bytes)][0]?.data
  if (!moov) return undefined
  try {
    return { boxes, claimed: last.start + last.size, ...readIndex(moov) }
  } catch {
    return undefined
  }
}
