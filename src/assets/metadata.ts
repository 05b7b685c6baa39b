/** What a picture's file says of itself beside its pixels: colours and their profile, its marking; and a JPEG without it. */
import { inflateSync } from 'node:zlib'
import type { Env } from '../env.ts'
import type { Asset } from './assets.ts'
import { originalOf, readRange } from './storage.ts'

/** Bytes of the beginning, and of the end, that it is looked for in. */
const METADATA_HEAD = 256 * 1024
const METADATA_TAIL = 64 * 1024
/** Bytes of a colour profile that are read. */
const MAX_PROFILE = 1024 * 1024

export interface Metadata {
  /** As the file has them; null where it does not tell. */
  colours: 'grey' | 'rgb' | 'cmyk' | null
  /** The name of its colour profile; null where it has none. */
  profile: string | null
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

/** The chunks of PNG, or of RIFF, that are in `head` whole. */
const chunksOf = function* (head: Buffer, kind: 'png' | 'riff') {
  const isPng = kind === 'png'
  for (let at = isPng ? 8 : 12; at + 8 <= head.length; ) {
    const length = isPng ? head.readUInt32BE(at) : head.readUInt32LE(at + 4)
    const type = head.toString('latin1', isPng ? at + 4 : at, isPng ? at + 8 : at + 4)
    yield { type, data: head.subarray(at + 8, at + 8 + length) }
    at += isPng ? length + 12 : 8 + length + (length % 2)
  }
}

/** The profile of a PNG's iCCP: its name, a method, and what is compressed. */
const inflateProfile = (data: Buffer): Buffer | undefined => {
  try {
    return inflateSync(data.subarray(data.indexOf(0) + 2), { maxOutputLength: MAX_PROFILE })
  } catch {
    return undefined
  }
}

/** The colours of ISO/IEC 14496-12's `colr`: a profile, or the numbers of ITU-T H.273. */
const colourBox = (head: Buffer): { profile?: Buffer; name?: string } => {
  const at = head.indexOf('colr')
  if (at < 4) return {}
  const data = head.subarray(at + 4, at - 4 + head.readUInt32BE(at - 4))
  const type = data.toString('latin1', 0, 4)
  if (type === 'prof' || type === 'rICC') return { profile: data.subarray(4) }
  if (type !== 'nclx' || data.length < 6) return {}
  const primaries = data.readUInt16BE(4)
  return { name: { 1: 'sRGB', 9: 'BT.2020', 12: 'Display P3' }[primaries] ?? `primaries ${primaries}` }
}

/** An ICC profile's description (ICC.1:2022, 9.2.41; version 2 has it in ASCII). */
const nameOf = (profile: Buffer): string => {
  try {
    for (let tag = 0; tag < Math.min(100, profile.readUInt32BE(128)); tag++) {
      const entry = 132 + 12 * tag
      if (profile.toString('latin1', entry, entry + 4) !== 'desc') continue
      const at = profile.readUInt32BE(entry + 4)
      if (profile.toString('latin1', at, at + 4) === 'desc') {
        return profile
          .toString('latin1', at + 12, at + 12 + profile.readUInt32BE(at + 8))
          .replace(/\0.*/s, '')
      }
      const [length, offset] = [profile.readUInt32BE(at + 20), profile.readUInt32BE(at + 24)]
      return Buffer.from(profile.subarray(at + offset, at + offset + length))
        .swap16()
        .toString('utf16le')
    }
  } catch {}
  return 'unnamed'
}

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
        .map(({ data }) => data.subarray(14))
      const components = frame?.data[5] ?? 0
      return {
        colours: ({ 1: 'grey', 3: 'rgb', 4: 'cmyk' } as const)[components] ?? null,
        ...(profile.length > 0 && { profile: Buffer.concat(profile) }),
      }
    }
    case 'image/png': {
      const chunks = new Map([...chunksOf(head, 'png')].map(({ type, data }) => [type, data]))
      const compressed = chunks.get('iCCP')
      const profile = compressed && inflateProfile(compressed)
      const colours = [0, 4].includes(chunks.get('IHDR')?.[9] ?? 2) ? 'grey' : 'rgb'
      return { colours, ...(profile && { profile }), ...(chunks.has('sRGB') && { name: 'sRGB' }) }
    }
    case 'image/webp': {
      const profile = [...chunksOf(head, 'riff')].find(({ type }) => type === 'ICCP')?.data
      return { colours: 'rgb', ...(profile && { profile }) }
    }
    case 'image/avif':
    case 'image/heic':
      return { colours: 'rgb', ...colourBox(head) }
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
  return {
    colours: colours && (space ?? colours),
    profile: profile ? nameOf(profile) : (name ?? null),
    sourceType: /digitalsourcetype\/(\w+)/.exec(text)?.[1] ?? null,
    hasManifest: /jumbc2pa|caBX|urn:(uuid|c2pa):/.test(text) && text.includes('c2pa'),
  }
}

/** The same of an asset, by its two ends. @throws {AppError} unavailable */
export const metadataOf = async (env: Env, asset: Asset): Promise<Metadata> => {
  const original = originalOf(env, asset)
  const head = await readRange(...original, 0, Math.min(asset.size, METADATA_HEAD))
  const rest = Math.min(asset.size - head.length, METADATA_TAIL)
  const tail = rest > 0 ? await readRange(...original, asset.size - rest, rest) : Buffer.alloc(0)
  return readMetadata(asset.mimeType, head, tail)
}

/** Segments that pixels are read by: those of JPEG itself, JFIF, a profile, Adobe's colour transform. */
const isNeeded = ({ marker, data }: { marker: number; data: Buffer }) =>
  marker < 0xe0 ||
  (marker === 0xe0 && data.toString('latin1', 0, 4) === 'JFIF') ||
  (marker === 0xe2 && data.toString('latin1', 0, 12) === ICC_MARK) ||
  marker === 0xee

/**
 * A picture of Cloudflare Images without EXIF, of which it keeps a JPEG's copyright; it discards other formats' by itself.
 * What is not within the first bytes passes: it is more than there is of it.
 */
export const withoutMetadata = async function* (
  mimeType: string,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let head: Buffer | undefined = mimeType === 'image/jpeg' ? Buffer.alloc(0) : undefined
  const strip = function* (bytes: Buffer) {
    const segments = segmentsOf(bytes)
    yield bytes.subarray(0, 2)
    for (const { marker, start, data } of segments) {
      if (isNeeded({ marker, data })) yield bytes.subarray(start, start + 4 + data.length)
    }
    const last = segments.at(-1)
    yield bytes.subarray(last ? last.start + 4 + last.data.length : 2)
  }
  for await (const chunk of chunks) {
    if (!head) {
      yield chunk
      continue
    }
    const bytes: Buffer = Buffer.concat([head, chunk])
    head = bytes
    if (bytes.length < METADATA_HEAD) continue
    head = undefined
    yield* strip(bytes)
  }
  if (head) yield* strip(head)
}
