/** Tells by a file's first bytes whether a picture may be transparent somewhere. */

/** Bytes that tell it. */
export const HEAD = 64 * 1024

/** The first Graphic Control Extension, behind the global colour table (GIF89a). */
const isGifTransparent = (head: Buffer): boolean => {
  const flags = head[10] ?? 0
  const table = flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0
  const at = head.indexOf(Buffer.from([0x21, 0xf9, 0x04]), 13 + table)
  return at >= 0 && ((head[at + 3] ?? 0) & 1) === 1
}

/** By the colour type, or a chunk that gives colours of a palette their transparency (PNG, W3C). */
const isPngTransparent = (head: Buffer): boolean => {
  const data = head.indexOf('IDAT')
  const transparency = head.indexOf('tRNS')
  return ((head[25] ?? 0) & 4) === 4 || (transparency >= 0 && (data < 0 || transparency < data))
}

/** By the flags of the extended form, or the header of the lossless one (RFC 9649). */
const isWebpTransparent = (head: Buffer): boolean => {
  const form = head.toString('latin1', 12, 16)
  const flags = { VP8X: head[20], VP8L: head[24] }[form] ?? 0
  return (flags & 0x10) !== 0
}

/** `head`: the first bytes, at most HEAD of them. */
export const isTransparent = (mimeType: string, head: Buffer): boolean => {
  switch (mimeType) {
    case 'image/png':
      return isPngTransparent(head)
    case 'image/webp':
      return isWebpTransparent(head)
    case 'image/gif':
      return isGifTransparent(head)
    case 'image/avif':
      // The picture of its transparency is named by a URN (MIAF, ISO/IEC 23000-22).
      return head.includes('auxiliary:alpha') || head.includes('auxid:1')
    default:
      return false
  }
}
