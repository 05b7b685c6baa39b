/** Boxes of ISO's base media format (ISO/IEC 14496-12), which films and HEIC are made of. */

export interface BoxHeader {
  type: string
  /** Bytes of the whole box; Infinity up to the end of the file. */
  size: number
  /** Bytes of its header. */
  header: number
}

/** The header at the beginning of `bytes`; undefined if that is none. */
export const headerOf = (bytes: Buffer): BoxHeader | undefined => {
  if (bytes.length < 8) return undefined
  const [short, type] = [bytes.readUInt32BE(0), bytes.toString('latin1', 4, 8)]
  if (!/^[\x20-\x7e\xa9]{4}$/.test(type)) return undefined
  if (short === 0) return { type, size: Number.POSITIVE_INFINITY, header: 8 }
  if (short !== 1) return short < 8 ? undefined : { type, size: short, header: 8 }
  if (bytes.length < 16) return undefined
  const size = Number(bytes.readBigUInt64BE(8))
  return size < 16 ? undefined : { type, size, header: 16 }
}

/** The boxes in `bytes`, one after the other, as far as they are whole. */
export const boxesIn = function* (bytes: Buffer): Generator<{ type: string; data: Buffer; start: number }> {
  for (let at = 0; ; ) {
    const box = headerOf(bytes.subarray(at))
    if (!box) return
    const end = Math.min(bytes.length, at + box.size)
    if (Number.isFinite(box.size) && at + box.size > bytes.length) return
    yield { type: box.type, data: bytes.subarray(at + box.header, end), start: at }
    at = end
  }
}

/** The first box along a path of types. */
export const findBox = (bytes: Buffer, path: readonly string[]): Buffer | undefined => {
  const [type, ...rest] = path
  for (const box of boxesIn(bytes)) {
    if (box.type !== type) continue
    const found = rest.length === 0 ? box.data : findBox(box.data, rest)
    if (found) return found
  }
  return undefined
}

/** Bytes of version and flags, which full boxes begin with. */
export const FULL = 4

/** Of a full box with times (`mvhd`, `mdhd`), as far as they are known: units a second, and units. */
export const timesOf = (box: Buffer): { scale: number; units: number } | undefined => {
  const isLong = box[0] === 1
  if (box.length < (isLong ? 32 : 20)) return undefined
  const scale = box.readUInt32BE(isLong ? 20 : 12)
  const units = isLong ? Number(box.readBigUInt64BE(24)) : box.readUInt32BE(16)
  // All ones: nobody knew when it was written.
  return scale > 0 && units > 0 && units < (isLong ? 2 ** 63 : 0xffffffff) ? { scale, units } : undefined
}

/** Which properties an item has, as indexes from 1 (ISO/IEC 23008-12, 9.3). */
const propertiesOf = (ipma: Buffer, item: number): number[] => {
  const [idBytes, indexBytes] = [(ipma[0] ?? 0) < 1 ? 2 : 4, (ipma[3] ?? 0) & 1 ? 2 : 1]
  let at = FULL + 4
  for (let entry = ipma.readUInt32BE(FULL); entry > 0; entry--) {
    const id = ipma.readUIntBE(at, idBytes)
    const count = ipma[at + idBytes] ?? 0
    at += idBytes + 1
    if (id === item) {
      // The uppermost bit says only that readers must know the property.
      return Array.from({ length: count }, (_, i) => {
        const index = ipma.readUIntBE(at + i * indexBytes, indexBytes)
        return index & (2 ** (8 * indexBytes - 1) - 1)
      })
    }
    at += count * indexBytes
  }
  return []
}

/** What a HEIC or AVIF says of its primary picture, in order; undefined if its beginning does not tell. @throws {RangeError} */
const primaryProperties = (head: Buffer): { type: string; data: Buffer }[] | undefined => {
  const meta = findBox(head, ['meta'])?.subarray(FULL)
  const [pitm, ipco, ipma] = [['pitm'], ['iprp', 'ipco'], ['iprp', 'ipma']].map(
    (path) => meta && findBox(meta, path),
  )
  if (!pitm || !ipco || !ipma) return undefined
  const primary = pitm.readUIntBE(FULL, pitm[0] === 0 ? 2 : 4)
  const known = [...boxesIn(ipco)]
  return propertiesOf(ipma, primary).flatMap((index) => known[index - 1] ?? [])
}

/** The colours that it says: boxes `colr`. Undefined if its beginning does not tell. */
export const primaryColours = (head: Buffer): Buffer[] | undefined => {
  try {
    return primaryProperties(head)?.flatMap(({ type, data }) => (type === 'colr' ? [data] : []))
  } catch {
    return undefined
  }
}

/** Pixels of a HEIC's primary picture, as shown; undefined if its beginning does not tell. */
export const heicSize = (head: Buffer): { width: number; height: number } | undefined => {
  try {
    let size: { width: number; height: number } | undefined
    for (const property of primaryProperties(head) ?? []) {
      if (property.type === 'ispe') {
        size = { width: property.data.readUInt32BE(FULL), height: property.data.readUInt32BE(FULL + 4) }
      }
      if (property.type === 'clap' && size) {
        const [width, of, height, ofHeight] = [0, 4, 8, 12].map((at) => property.data.readUInt32BE(at))
        size = {
          width: Math.floor((width ?? 0) / (of || 1)),
          height: Math.floor((height ?? 0) / (ofHeight || 1)),
        }
      }
      if (property.type === 'irot' && size && (property.data[0] ?? 0) % 2 === 1) {
        size = { width: size.height, height: size.width }
      }
    }
    return size
  } catch {
    return undefined
  }
}
