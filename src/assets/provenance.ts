/**
 * Marks what a model made, in the file itself and while it streams: XMP with IPTC's `DigitalSourceType`, where PNG,
 * JPEG, WebP and MP4 have a place for it. A file that says so already, or carries C2PA's signed manifest, which any
 * change would break, stays as it is.
 */
import { crc32 } from 'node:zlib'
import { changeHead } from '../streams.ts'

/** https://cv.iptc.org/newscodes/digitalsourcetype/ */
const sourceTypes = [
  'trainedAlgorithmicMedia',
  'compositeWithTrainedAlgorithmicMedia',
  // Of tools elsewhere; copies keep them.
  'algorithmicMedia',
  'algorithmicallyEnhanced',
  'compositeSynthetic',
] as const
export type SourceType = (typeof sourceTypes)[number]
export const isSourceType = (word: string | null): word is SourceType =>
  sourceTypes.some((type) => type === word)

const xmpOf = (type: SourceType) =>
  [
    '<?xpacket begin="\uFEFF" id="W5M0MpCehiHzreSzNTczkc9d"?>',
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"',
    ` Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/${type}"/>`,
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>',
  ].join('')

/** Bytes of the file's beginning that are searched for what it says already: metadata comes first. */
const HEAD = 64 * 1024
/** Bytes that every header here has. */
const LEAST = 34

const MARKED = [
  // Of XMP, and of C2PA's boxes: in JPEG's APP11, PNG's caBX, WebP's C2PA and MP4's uuid.
  'DigitalSourceType',
  'jumbc2pa',
  'caBX',
  'C2PA',
]

const uint32 = (value: number, littleEndian = false) => {
  const bytes = Buffer.alloc(4)
  if (littleEndian) bytes.writeUInt32LE(value)
  else bytes.writeUInt32BE(value)
  return bytes
}

/** What is put where: bytes at the beginning that are replaced, and bytes after the end. */
interface Insertion {
  /** Bytes of the file that `begin` stands for. */
  replaces: number
  begin: Buffer
  end?: Buffer
}

const SIGNATURE = 8
const IHDR = 25

/** An iTXt chunk right after IHDR (PNG, third edition). */
const intoPng = (head: Buffer, xmp: string): Insertion => {
  const data = Buffer.from(`XML:com.adobe.xmp\0\0\0\0\0${xmp}`)
  const typed = Buffer.concat([Buffer.from('iTXt'), data])
  const chunk = Buffer.concat([uint32(data.length), typed, uint32(crc32(typed))])
  const replaces = SIGNATURE + IHDR
  return { replaces, begin: Buffer.concat([head.subarray(0, replaces), chunk]) }
}

/** An APP1 segment after SOI, and after JFIF's APP0, which must be the first. */
const intoJpeg = (head: Buffer, xmp: string): Insertion => {
  const data = Buffer.from(`http://ns.adobe.com/xap/1.0/\0${xmp}`)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(data.length + 2)
  const segment = Buffer.concat([Buffer.from([0xff, 0xe1]), length, data])
  const hasApp0 = head[2] === 0xff && head[3] === 0xe0
  const replaces = hasApp0 ? 4 + head.readUInt16BE(4) : 2
  return { replaces, begin: Buffer.concat([head.subarray(0, replaces), segment]) }
}

/** Width and height less one, and whether it has an alpha channel (RFC 9649); undefined for what is none of it. */
const canvasOf = (head: Buffer): { width: number; height: number; alpha: boolean } | undefined => {
  const kind = head.toString('latin1', 12, 16)
  const at = 20
  if (kind === 'VP8 ') {
    return {
      width: (head.readUInt16LE(at + 6) & 0x3fff) - 1,
      height: (head.readUInt16LE(at + 8) & 0x3fff) - 1,
      alpha: false,
    }
  }
  if (kind !== 'VP8L') return undefined
  const bits = head.readUInt32LE(at + 1)
  return { width: bits & 0x3fff, height: (bits >>> 14) & 0x3fff, alpha: ((bits >>> 28) & 1) === 1 }
}

const XMP_FLAG = 0b0100
const ALPHA_FLAG = 0b1_0000

/** An XMP chunk at the end, announced by VP8X at the beginning (RFC 9649), which simple files get. */
const intoWebp = (head: Buffer, xmp: string): Insertion | undefined => {
  const bytes = Buffer.byteLength(xmp)
  // Chunks have an even length; a blank at the end of XML means nothing.
  const data = Buffer.from(bytes % 2 === 0 ? xmp : `${xmp} `)
  const end = Buffer.concat([Buffer.from('XMP '), uint32(data.length, true), data])
  const riff = (grown: number) =>
    Buffer.concat([head.subarray(0, 4), uint32(head.readUInt32LE(4) + grown, true), head.subarray(8, 12)])
  if (head.toString('latin1', 12, 16) === 'VP8X') {
    const vp8x = Buffer.from(head.subarray(12, 30))
    vp8x[8] = (vp8x[8] ?? 0) | XMP_FLAG
    return { replaces: 30, begin: Buffer.concat([riff(end.length), vp8x]), end }
  }
  const canvas = canvasOf(head)
  if (!canvas) return undefined
  const vp8x = Buffer.alloc(18)
  vp8x.write('VP8X')
  vp8x.writeUInt32LE(10, 4)
  vp8x[8] = XMP_FLAG | (canvas.alpha ? ALPHA_FLAG : 0)
  vp8x.writeUIntLE(canvas.width, 12, 3)
  vp8x.writeUIntLE(canvas.height, 15, 3)
  return { replaces: 12, begin: Buffer.concat([riff(vp8x.length + end.length), vp8x]), end }
}

/** XMP's own box, at the end (XMP specification, part 3). */
const XMP_UUID = Buffer.from('be7acfcb97a942e89c71999491e3afac', 'hex')

const intoMp4 = (xmp: string): Insertion => {
  const data = Buffer.concat([Buffer.from('uuid'), XMP_UUID, Buffer.from(xmp)])
  return { replaces: 0, begin: Buffer.alloc(0), end: Buffer.concat([uint32(data.length + 4), data]) }
}

const insertionFor = (head: Buffer, type: SourceType): Insertion | undefined => {
  const text = head.toString('latin1')
  if (MARKED.some((mark) => text.includes(mark))) return undefined
  const xmp = xmpOf(type)
  if (text.startsWith('\x89PNG')) return intoPng(head, xmp)
  if (text.startsWith('\xff\xd8\xff')) return intoJpeg(head, xmp)
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') return intoWebp(head, xmp)
  if (text.slice(4, 8) === 'ftyp') return intoMp4(xmp)
  return undefined
}

/** The same file, marked; what is too short to have a head passes as it is. */
export const markAsGenerated = async function* (
  chunks: AsyncIterable<Uint8Array>,
  type: SourceType,
): AsyncGenerator<Uint8Array> {
  let end: Buffer | undefined
  yield* changeHead(chunks, HEAD, (bytes) => {
    if (bytes.length < LEAST) return [bytes]
    const insertion = insertionFor(bytes, type)
    if (!insertion) return [bytes]
    end = insertion.end
    return [insertion.begin, bytes.subarray(insertion.replaces)]
  })
  if (end) yield end
}
