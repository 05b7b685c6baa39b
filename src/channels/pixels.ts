/** Measures a picture by its pixels, row by row: what lies around the product, how much it fills, and what frames it. */
import type { Picture } from '../assets/png.ts'

/** Pixels, from the left and the top; right and bottom are outside. */
export interface Box {
  left: number
  top: number
  right: number
  bottom: number
}

export interface PixelMeasures {
  width: number
  height: number
  /** Whether any pixel is transparent, however little. */
  transparent: boolean
  /** The outline of what is not transparent; null if all of it is. */
  opaque: Box | null
  /** The colour that most of the uppermost row has, as #rrggbb; what is transparent is looked at on white. */
  ground: string
  /** The outline of what differs from that colour; null if nothing does, or if most of the edge is of other colours. */
  product: Box | null
  /** The background: pixels that are farther from what is not nearly white than a JPEG smears it. */
  background: { pixels: number; notWhite: number; darkest: number }
  /** Of one colour, on each side. */
  frame: { left: number; top: number; right: number; bottom: number }
}

/** Of 255: less is no other colour, and the noise of a JPEG. */
const DIFFERENT = 12
/** Of 255, of the darkest value of a pixel: less is the product. */
const NEARLY_WHITE = 250
/** Of 255: less is dust that a cutout left. */
const OPAQUE = 16
/** Pixels a side of the blocks in which JPEG codes colours at half size, and smears them. */
const BLOCK = 16
/** Of the edge: with more of other colours the background is none. */
const PLAIN = 0.25
/** Of a line: with more of other colours a frame ends there, with less the line belongs to it. */
const ENDS = 0.8
const BELONGS = 0.01

const hex = (red: number, green: number, blue: number) =>
  `#${[red, green, blue].map((value) => value.toString(16).padStart(2, '0')).join('')}`

/** The most frequent colour of a row, as the mean of those that are nearly the same. */
const groundOf = (row: Uint8Array): [number, number, number] => {
  const bins = new Map<number, [count: number, red: number, green: number, blue: number]>()
  for (let at = 0; at < row.length; at += 4) {
    const alpha = (row[at + 3] ?? 0) / 255
    const onWhite = (colour = 0) => 255 + (colour - 255) * alpha
    const [red, green, blue] = [onWhite(row[at]), onWhite(row[at + 1]), onWhite(row[at + 2])]
    const key = ((red >> 4) << 8) | ((green >> 4) << 4) | (blue >> 4)
    const bin = bins.get(key) ?? [0, 0, 0, 0]
    bins.set(key, [bin[0] + 1, bin[1] + red, bin[2] + green, bin[3] + blue])
  }
  const [count, red, green, blue] = [...bins.values()].reduce((most, bin) => (bin[0] > most[0] ? bin : most))
  return [Math.round(red / count), Math.round(green / count), Math.round(blue / count)]
}

/** The first and the last of the counts that are not 0. */
const spanOf = (counts: Uint32Array): [number, number] | null => {
  const first = counts.findIndex((count) => count > 0)
  return first < 0 ? null : [first, counts.findLastIndex((count) => count > 0) + 1]
}

const boxOf = (columns: Uint32Array, rows: Uint32Array): Box | null => {
  const [across, down] = [spanOf(columns), spanOf(rows)]
  return across && down && { left: across[0], top: down[0], right: across[1], bottom: down[1] }
}

/** Lines of the frame's colour before `counts` begins to differ on nearly all of a line. */
const stripOf = (counts: Uint32Array, length: number): number => {
  const strip = counts.findIndex((count) => count > length * BELONGS)
  // A line between may be of both.
  const next = counts.subarray(strip, strip + 3)
  return strip > 0 && next.some((count) => count >= length * ENDS) ? strip : 0
}

/** Counts what is not white far from what is not nearly white, by blocks. */
const backgroundOf = (product: Uint8Array, notWhite: Uint32Array, darkest: Uint8Array, size: Size) => {
  const { width, height } = size
  const [across, down] = [Math.ceil(width / BLOCK), Math.ceil(height / BLOCK)]
  const result = { pixels: 0, notWhite: 0, darkest: 255 }
  const isNear = (x: number, y: number) => {
    for (let row = Math.max(0, y - 1); row <= Math.min(down - 1, y + 1); row++)
      for (let column = Math.max(0, x - 1); column <= Math.min(across - 1, x + 1); column++)
        if (product[row * across + column]) return true
    return false
  }
  for (let y = 0; y < down; y++) {
    for (let x = 0; x < across; x++) {
      if (isNear(x, y)) continue
      const block = y * across + x
      result.pixels += Math.min(BLOCK, width - x * BLOCK) * Math.min(BLOCK, height - y * BLOCK)
      result.notWhite += notWhite[block] ?? 0
      result.darkest = Math.min(result.darkest, darkest[block] ?? 255)
    }
  }
  return result
}

type Size = Pick<Picture, 'width' | 'height'>

/** Exact: every pixel is looked at. What it holds grows with width plus height, and by a few bytes each block. */
export const measurePixels = async ({ width, height, rows }: Picture): Promise<PixelMeasures> => {
  const across = Math.ceil(width / BLOCK)
  const blocks = across * Math.ceil(height / BLOCK)
  const [product, darkest] = [new Uint8Array(blocks), new Uint8Array(blocks).fill(255)]
  const notWhite = new Uint32Array(blocks)
  const opaque = { columns: new Uint32Array(width), rows: new Uint32Array(height) }
  const other = { columns: new Uint32Array(width), rows: new Uint32Array(height) }
  let transparent = false
  let ground: [number, number, number] | undefined
  let y = 0
  for await (const row of rows) {
    ground ??= groundOf(row)
    const [groundRed, groundGreen, groundBlue] = ground
    const firstBlock = Math.floor(y / BLOCK) * across
    let [others, opaques] = [0, 0]
    for (let x = 0, at = 0; x < width; x++, at += 4) {
      // Each byte is there: `?? 0` is for the types.
      let red = row[at] ?? 0
      let green = row[at + 1] ?? 0
      let blue = row[at + 2] ?? 0
      const alpha = row[at + 3] ?? 0
      if (alpha < 255) {
        transparent = true
        red = 255 - Math.round(((255 - red) * alpha) / 255)
        green = 255 - Math.round(((255 - green) * alpha) / 255)
        blue = 255 - Math.round(((255 - blue) * alpha) / 255)
      }
      if (alpha >= OPAQUE) {
        opaques++
        opaque.columns[x] = 1
      }
      const dark = Math.min(red, green, blue)
      if (dark < 255) {
        const block = firstBlock + (x >> 4)
        notWhite[block] = (notWhite[block] ?? 0) + 1
        if (dark < (darkest[block] ?? 0)) darkest[block] = dark
        if (dark < NEARLY_WHITE) product[block] = 1
      }
      const difference = Math.max(
        Math.abs(red - groundRed),
        Math.abs(green - groundGreen),
        Math.abs(blue - groundBlue),
      )
      if (difference > DIFFERENT) {
        others++
        other.columns[x] = (other.columns[x] ?? 0) + 1
      }
    }
    other.rows[y] = others
    opaque.rows[y] = opaques
    y++
  }
  const edge =
    (other.rows[0] ?? 0) + (other.rows.at(-1) ?? 0) + (other.columns[0] ?? 0) + (other.columns.at(-1) ?? 0)
  const frame = {
    left: stripOf(other.columns, height),
    top: stripOf(other.rows, width),
    right: stripOf(other.columns.toReversed(), height),
    bottom: stripOf(other.rows.toReversed(), width),
  }
  return {
    width,
    height,
    transparent,
    opaque: boxOf(opaque.columns, opaque.rows),
    ground: hex(...(ground ?? [0, 0, 0])),
    product: edge > 2 * (width + height) * PLAIN ? null : boxOf(other.columns, other.rows),
    background: backgroundOf(product, notWhite, darkest, { width, height }),
    frame,
  }
}
