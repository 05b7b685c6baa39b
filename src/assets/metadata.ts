/** What a picture's file says of itself beside its pixels: colours and their profile, its marking; and a JPEG without it. */
import { inflateSync } from 'node:zlib'
import type { Env } from '../env.ts'
import { unavailable } from '../errors.ts'
import { changeHead } from '../streams.ts'
import type { Asset } from './assets.ts'
import { primaryColours } from './boxes.ts'
import { inPlace, PART_SIZE } from './buffers.ts'
import { isSourceType } from './provenance.ts'
import { originalOf, readRange } from './storage.ts'

/** Bytes of the beginning, and of the end, that it is looked for in; of a JPEG's where what comes before its pixels is longer. */
const METADATA_HEAD = 256 * 1024
const LONG_HEAD = PART_SIZE
const METADATA_TAIL = 64 * 1024
/** Bytes of a colour profile that are read. */
const MAX_PROFILE = 1024 * 1024

export interface Metadata {
  /** As the file has them; null where it does not tell. */
  colours: 'grey' | 'rgb' | 'cmyk' | null
  /** The name of its colour profile; null where it has none. */
  profile: string | null
  /** Whether that has the primaries of sRGB, or says so where it has none. */
  isStandard: boolean
  /** The last word of IPTC's `DigitalSourceType`; null where it has none. */
  sourceType: string | null
  /** Whether it carries C2PA's signed manifest. */
  hasManifest: boolean
}

/** Markers of JPEG (ITU-T T.81): start of a frame, of a scan. */
const isFrame = (marker: number) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)
const SCAN = 0xda

/** The segments before the pixels that are in `head` whole. */
const segmentsOf = (head: Buffer) => {
  const segments: { marker: number; start: number; data: Buffer }[] = []
  for (let at = 2; at + 4 <= head.length && head[at] === 0xff; ) {
    const marker = head[at + 1] ?? 0
    if (marker === SCAN) break
    const end = at + 2 + head.readUInt16BE(at + 2)
    if (end > head.length) break
    segments.push({ marker, start: at, data: head.subarray(at + 4, end) })
    at = end
  }
  return segments
}

const ICC_MARK = 'ICC_PROFILE\0'

/** The chunks of PNG, or of RIFF, as far as they are in `head`. */
const chunksOf = function* (head: Buffer, kind: 'png' | 'riff') {
  const isPng = kind === 'png'
  for (let at = isPng ? 8 : 12; at + 8 <= head.length; ) {
    const length = isPng ? head.readUInt32BE(at) : head.readUInt32LE(at + 4)
    const type = head.toString('latin1', isPng ? at + 4 : at, isPng ? at + 8 : at + 4)
    yield { type, data: head.subarray(at + 8, at + 8 + length) }
    at += isPng ? length + 12 : 8 + length + (length % 2)
  }
}

/** Numbers of ITU-T H.273; 2 says nothing. */
const primariesName = (primaries: number | undefined) =>
  primaries === undefined || primaries === 2
    ? {}
    : { name: { 1: 'sRGB', 9: 'BT.2020', 12: 'Display P3' }[primaries] ?? `primaries ${primaries}` }

/** A profile that is there and can't be read is none that passes for sRGB. */
const UNREADABLE = 'a profile that cannot be read'

/** The profile of a PNG's iCCP: its name, a method, and what is compressed. */
const inflateProfile = (data: Buffer): { profile: Buffer } | { name: string } => {
  try {
    const compressed = data.subarray(data.indexOf(0) + 2)
    return { profile: inflateSync(compressed, { maxOutputLength: MAX_PROFILE }) }
  } catch {
    return { name: UNREADABLE }
  }
}

/** The colours of ISO/IEC 14496-12's `colr`: a profile, or the numbers of ITU-T H.273. */
const colourBox = (head: Buffer): { colours: 'rgb' | null; profile?: Buffer; name?: string } => {
  const boxes = primaryColours(head)
  if (!boxes) return { colours: null }
  const typed = boxes.map((data) => ({ type: data.toString('latin1', 0, 4), data: data.subarray(4) }))
  const profile = typed.find(({ type }) => type === 'prof' || type === 'rICC')?.data
  if (profile) return { colours: 'rgb', profile }
  const numbers = typed.find(({ type, data }) => type === 'nclx' && data.length >= 2)?.data
  return { colours: 'rgb', ...primariesName(numbers?.readUInt16BE(0)) }
}

/** A tag of an ICC profile; undefined if it has none. @throws {RangeError} */
const tagOf = (profile: Buffer, wanted: string): Buffer | undefined => {
  for (let tag = 0; tag < Math.min(100, profile.readUInt32BE(128)); tag++) {
    const entry = 132 + 12 * tag
    if (profile.toString('latin1', entry, entry + 4) === wanted) {
      return profile.subarray(profile.readUInt32BE(entry + 4))
    }
  }
  return undefined
}

/** Letters of a name that anybody may have made up. */
const MAX_NAME = 80

/** An ICC profile's description (ICC.1:2022, 9.2.41; version 2 has it in ASCII). */
const nameOf = (profile: Buffer): string => {
  try {
    const tag = tagOf(profile, 'desc')
    if (!tag) return 'unnamed'
    if (tag.toString('latin1', 0, 4) === 'desc') {
      return plain(
        tag.toString('latin1', 12, 12 + Math.min(MAX_NAME, tag.readUInt32BE(8))).replace(/\0.*/s, ''),
      )
    }
    const [length, offset] = [Math.min(2 * MAX_NAME, tag.readUInt32BE(20)), tag.readUInt32BE(24)]
    return plain(
      Buffer.from(tag.subarray(offset, offset + length))
        .swap16()
        .toString('utf16le'),
    )
  } catch {
    return 'unnamed'
  }
}
const plain = (name: string) =>
  name
    .toWellFormed()
    .replace(/\p{Cc}/gu, '')
    .trim() || 'unnamed'

/** Of sRGB (IEC 61966-2-1), as profiles have them: adapted to D50, X and Y and Z of red, green and blue. */
const SRGB = [0.4361, 0.2225, 0.0139, 0.3851, 0.7169, 0.0971, 0.1431, 0.0606, 0.7139]
/** By so much profiles that mean the same differ. */
const NEAR = 0.01

/** By its numbers, whatever it calls itself; undefined where it has none. */
const hasPrimariesOfSrgb = (profile: Buffer): boolean | undefined => {
  try {
    const tags = ['rXYZ', 'gXYZ', 'bXYZ'].map((name) => tagOf(profile, name))
    if (tags.some((tag) => tag === undefined)) return undefined
    // s15Fixed16 numbers, after the type's eight bytes.
    const found = tags.flatMap((tag) => [8, 12, 16].map((at) => (tag?.readInt32BE(at) ?? 0) / 65_536))
    return SRGB.every((wanted, i) => Math.abs(wanted - (found[i] ?? 0)) <= NEAR)
  } catch {
    return undefined
  }
}
const SAYS_SRGB = /srgb|^c2$/i

const SPACES: Record<string, Metadata['colours']> = { 'RGB ': 'rgb', CMYK: 'cmyk', GRAY: 'grey' }

const coloursOf = (
  mimeType: string,
  head: Buffer,
): Pick<Metadata, 'colours'> & { profile?: Buffer; name?: string } => {
  switch (mimeType) {
    case 'image/jpeg': {
      const segments = segmentsOf(head)
      const frame = segments.find(({ marker }) => isFrame(marker))
      const profile = segments
        .filter(({ marker, data }) => marker === 0xe2 && data.toString('latin1', 0, 12) === ICC_MARK)
        // Each says which of them it is.
        .toSorted((a, b) => (a.data[12] ?? 0) - (b.data[12] ?? 0))
        .map(({ data }) => data.subarray(14))
      const components = frame?.data[5] ?? 0
      return {
        colours: ({ 1: 'grey', 3: 'rgb', 4: 'cmyk' } as const)[components] ?? null,
        ...(profile.length > 0 && { profile: Buffer.concat(profile) }),
      }
    }
    case 'image/png': {
      // What counts is the first of its kind, before the pixels.
      const chunks = new Map<string, Buffer>()
      for (const { type, data } of chunksOf(head, 'png')) {
        if (type === 'IDAT') break
        if (!chunks.has(type)) chunks.set(type, data)
      }
      const colours = [0, 4].includes(chunks.get('IHDR')?.[9] ?? 2) ? 'grey' : 'rgb'
      const [code, compressed] = [chunks.get('cICP'), chunks.get('iCCP')]
      if (code) return { colours, ...primariesName(code[0]) }
      if (compressed) return { colours, ...inflateProfile(compressed) }
      return { colours, ...(chunks.has('sRGB') && { name: 'sRGB' }) }
    }
    case 'image/webp': {
      const profile = [...chunksOf(head, 'riff')].find(({ type }) => type === 'ICCP')?.data
      return { colours: 'rgb', ...(profile && { profile }) }
    }
    case 'image/avif':
    case 'image/heic':
      return colourBox(head)
    case 'image/gif':
      return { colours: 'rgb' }
    default:
      return { colours: null }
  }
}

/** Of the file's first and last bytes. */
const readMetadata = (mimeType: string, head: Buffer, tail: Buffer): Metadata => {
  const { colours, profile, name } = coloursOf(mimeType, head)
  const space = profile && SPACES[profile.toString('latin1', 16, 20)]
  const text = head.toString('latin1') + tail.toString('latin1')
  const marks = [...text.matchAll(/digitalsourcetype\/(\w{1,60})/g)].map(([, word = '']) => word)
  const called = profile ? nameOf(profile) : (name ?? null)
  return {
    // A profile of other colours than there are is one that nobody reads by.
    colours: colours === 'cmyk' ? colours : (space ?? colours),
    profile: called,
    isStandard: (profile && hasPrimariesOfSrgb(profile)) ?? (called === null || SAYS_SRGB.test(called)),
    // Any words may stand before the one that counts.
    sourceType: marks.find(isSourceType) ?? marks[0] ?? null,
    hasManifest: /jumbc2pa|caBX|urn:(uuid|c2pa):/.test(text) && text.includes('c2pa'),
  }
}

/** The same of an asset, by its two ends. @throws {AppError} unavailable */
export const metadataOf = async (env: Env, asset: Asset): Promise<Metadata> => {
  const original = originalOf(env, asset)
  const read = async (most: number) => {
    const head = await readRange(...original, 0, Math.min(asset.size, most))
    // What photo editors write, and profiles of printers, take more than most of it.
    const isShort = asset.mimeType === 'image/jpeg' && !segmentsOf(head).some(({ marker }) => isFrame(marker))
    if (isShort && head.length < Math.min(asset.size, LONG_HEAD)) return undefined
    const rest = Math.min(asset.size - head.length, METADATA_TAIL)
    const tail = rest > 0 ? await readRange(...original, asset.size - rest, rest) : Buffer.alloc(0)
    return readMetadata(asset.mimeType, head, tail)
  }
  const metadata = (await read(METADATA_HEAD)) ?? (await inPlace(LONG_HEAD, () => read(LONG_HEAD)))
  if (!metadata) throw unavailable(new Error('storage gave less than there is'))
  return metadata
}

/** Segments that pixels are read by: those of JPEG itself, JFIF, a profile, Adobe's colour transform. */
const isNeeded = ({ marker, data }: { marker: number; data: Buffer }) =>
  marker < 0xe0 ||
  (marker === 0xe0 && data.toString('latin1', 0, 4) === 'JFIF') ||
  (marker === 0xe2 && data.toString('latin1', 0, 12) === ICC_MARK) ||
  marker === 0xee

const stripJpeg = function* (bytes: Buffer) {
  const segments = segmentsOf(bytes)
  yield bytes.subarray(0, 2)
  for (const { marker, start, data } of segments) {
    if (isNeeded({ marker, data })) yield bytes.subarray(start, start + 4 + data.length)
  }
  const last = segments.at(-1)
  yield bytes.subarray(last ? last.start + 4 + last.data.length : 2)
}

/**
 * A picture of Cloudflare Images without EXIF, of which it keeps a JPEG's copyright; it discards other formats' by itself.
 * What is not within the first bytes passes: it is more than there is of it.
 */
export const withoutMetadata = (
  mimeType: string,
  chunks: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> =>
  mimeType === 'image/jpeg' ? changeHead(chunks, METADATA_HEAD, stripJpeg) : chunks
