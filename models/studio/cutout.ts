/** Lifts the product out of its photo: keys out a plain studio background, or frames the photo as a card. */
import sharp from 'sharp'

/** What can be put into a picture. */
export interface Product {
  /** RGBA, not premultiplied. */
  data: Uint8Array
  width: number
  height: number
  /** True for a photo shown whole, as a card. */
  framed: boolean
  /** What the product stands on: its middle and its width, as shares of the product's width. */
  foot: { x: number; width: number }
}

export interface Cutout extends Product {
  /** Where it was, in shares of the photo's width and height. */
  place: { left: number; top: number; width: number; height: number }
}

interface Pixels {
  data: Buffer
  width: number
  height: number
}

const maskSide = 640
const photoSide = 1100
/** More is refused before it is decoded. */
export const maxPixels = 100_000_000

async function load(photo: Uint8Array, side: number, blur = 0): Promise<Pixels> {
  const image = sharp(photo, { limitInputPixels: maxPixels })
    .rotate()
    .resize(side, side, { fit: 'inside', withoutEnlargement: true })
    .toColourspace('srgb')
    .ensureAlpha()
  if (blur > 0) image.blur(blur)
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height }
}

/** What the empty studio would look like: the colours along the left and right edges, blended across each row. */
function estimateBackdrop({ data, width, height }: Pixels): { left: Float32Array; right: Float32Array } {
  const edge = (from: number): Float32Array => {
    const colours = new Float32Array(height * 3)
    for (let y = 0; y < height; y++) {
      let count = 0
      for (let row = Math.max(0, y - 4); row <= Math.min(height - 1, y + 4); row++) {
        for (let x = from; x < from + 4; x++) {
          const at = (row * width + x) * 4
          for (let c = 0; c < 3; c++) colours[y * 3 + c] = (colours[y * 3 + c] ?? 0) + (data[at + c] ?? 0)
          count++
        }
      }
      for (let c = 0; c < 3; c++) colours[y * 3 + c] = (colours[y * 3 + c] ?? 0) / count
    }
    return colours
  }
  return { left: edge(0), right: edge(Math.max(0, width - 4)) }
}

/** Whether nearly all of the photo's border is one colour, give or take the fall-off of a studio light. */
function hasPlainBorder({ data, width, height }: Pixels): boolean {
  const border: number[] = []
  for (let x = 0; x < width; x += 2) border.push(x, (height - 1) * width + x)
  for (let y = 0; y < height; y += 2) border.push(y * width, y * width + width - 1)
  const median = [0, 1, 2].map((c) => {
    const values = border.map((at) => data[at * 4 + c] ?? 0).sort((a, b) => a - b)
    return values[values.length >> 1] ?? 0
  })
  const near = border.filter((at) =>
    median.every((value, c) => Math.abs((data[at * 4 + c] ?? 0) - value) < 52),
  )
  return near.length > border.length * 0.92
}

const product = 0
const backdropLike = 1
const outside = 2
const pending = 3

/** Marks each pixel `backdropLike` or `product` by its own colour and edges; `likeness` rates the colour alone, 0 to 2. */
function classify(pixels: Pixels): { cells: Uint8Array; likeness: Uint8Array } {
  const { data, width, height } = pixels
  const { left, right } = estimateBackdrop(pixels)
  const luma = new Float32Array(width * height)
  for (let i = 0; i < luma.length; i++) {
    luma[i] = 0.3 * (data[i * 4] ?? 0) + 0.59 * (data[i * 4 + 1] ?? 0) + 0.11 * (data[i * 4 + 2] ?? 0)
  }
  const cells = new Uint8Array(width * height)
  const likeness = new Uint8Array(width * height)
  for (let y = 0; y < height; y++) {
    const above = y > 0 ? -width : 0
    const below = y < height - 1 ? width : 0
    for (let x = 0; x < width; x++) {
      const i = y * width + x
      const across = x / width
      const r = (left[y * 3] ?? 0) * (1 - across) + (right[y * 3] ?? 0) * across
      const g = (left[y * 3 + 1] ?? 0) * (1 - across) + (right[y * 3 + 1] ?? 0) * across
      const b = (left[y * 3 + 2] ?? 0) * (1 - across) + (right[y * 3 + 2] ?? 0) * across
      const dr = (data[i * 4] ?? 0) - r
      const dg = (data[i * 4 + 1] ?? 0) - g
      const db = (data[i * 4 + 2] ?? 0) - b
      const slope = Math.max(
        Math.abs((luma[x < width - 1 ? i + 1 : i] ?? 0) - (luma[x > 0 ? i - 1 : i] ?? 0)),
        Math.abs((luma[i + below] ?? 0) - (luma[i + above] ?? 0)),
      )
      const brighter = Math.max(dr, dg, db)
      const darker = -Math.min(dr, dg, db)
      if (brighter < 13 && darker < 26) {
        if (slope <= 16) cells[i] = backdropLike
        likeness[i] = brighter < 7 && darker < 7 ? 2 : 1
      } else if (slope <= 34 && y > height * 0.4) {
        // A shadow is the backdrop's own colour, only darker.
        const shade = (luma[i] ?? 0) / Math.max(1, 0.3 * r + 0.59 * g + 0.11 * b)
        const off = 1 - shade
        const tint = Math.max(Math.abs(dr + r * off), Math.abs(dg + g * off), Math.abs(db + b * off))
        if (shade > 0.25 && shade < 1 && tint < (slope > 20 ? 7 : 10)) cells[i] = backdropLike
      }
    }
  }
  return { cells, likeness }
}

/** Marks the pixels outside the product in place: all backdrop that the border reaches, holes and stray islands. */
function markOutside(cells: Uint8Array, likeness: Uint8Array, width: number, keepHoles: boolean): void {
  const size = cells.length
  const stack = new Int32Array(size)
  /** Turns the connected area of `from` around `start` into `to` and counts it. */
  const fill = (start: number, from: number, to: number): number => {
    if (cells[start] !== from) return 0
    let top = 0
    let count = 0
    const visit = (i: number): void => {
      if (cells[i] !== from) return
      cells[i] = to
      stack[top++] = i
    }
    visit(start)
    while (top > 0) {
      const i = stack[--top] ?? 0
      const x = i % width
      count++
      if (x > 0) visit(i - 1)
      if (x < width - 1) visit(i + 1)
      visit(i - width)
      visit(i + width)
    }
    return count
  }
  for (let x = 0; x < width; x++) {
    fill(x, backdropLike, outside)
    fill(size - 1 - x, backdropLike, outside)
  }
  for (let edge = 0; edge < size; edge += width) {
    fill(edge, backdropLike, outside)
    fill(edge + width - 1, backdropLike, outside)
  }
  for (let i = 0; i < size; i++) {
    if (keepHoles || likeness[i] !== 2 || cells[i] !== backdropLike) continue
    const isHole = fill(i, backdropLike, pending) > size * 0.0015
    fill(i, pending, isHole ? outside : product)
  }
  for (let i = 0; i < size; i++) if (cells[i] === backdropLike) cells[i] = product
  // The slope test stops a pixel short of the edge: take back what has the backdrop's colour there.
  for (let i = 0; i < size; i++) {
    if (cells[i] !== product || likeness[i] === 0) continue
    if ([i - 1, i + 1, i - width, i + width].some((at) => cells[at] === outside)) cells[i] = pending
  }
  for (let i = 0; i < size; i++) if (cells[i] === pending) cells[i] = outside
  const islands: { start: number; count: number }[] = []
  for (let i = 0; i < size; i++) {
    if (cells[i] === product) islands.push({ start: i, count: fill(i, product, pending) })
  }
  const largest = Math.max(0, ...islands.map(({ count }) => count))
  for (const { start, count } of islands) fill(start, pending, count < largest * 0.02 ? outside : product)
}

function findBounds(
  inside: Uint8Array,
  width: number,
): { x: number; y: number; width: number; height: number } {
  let [x0, y0, x1, y1] = [width, Number.POSITIVE_INFINITY, 0, 0]
  for (let i = 0; i < inside.length; i++) {
    if (inside[i] === 0) continue
    const x = i % width
    const y = (i - x) / width
    x0 = Math.min(x0, x)
    x1 = Math.max(x1, x)
    y0 = Math.min(y0, y)
    y1 = Math.max(y1, y)
  }
  return { x: x0, y: y0, width: x1 - x0 + 1, height: y1 - y0 + 1 }
}

/** Finds the part of the product that touches the ground. */
export function findFoot({ data, width, height }: Pick<Cutout, 'data' | 'width' | 'height'>): Cutout['foot'] {
  let [first, last] = [width, -1]
  for (let y = Math.floor(height * 0.93); y < height; y++) {
    for (let x = 0; x < width; x++) {
      if ((data[(y * width + x) * 4 + 3] ?? 0) < 128) continue
      first = Math.min(first, x)
      last = Math.max(last, x)
    }
  }
  return last < 0
    ? { x: 0.5, width: 1 }
    : { x: (first + last + 1) / 2 / width, width: (last - first + 1) / width }
}

/** Cuts `mask` (255 = product) and the same area of the photo, at the photo's finer resolution. */
async function lift(photo: Uint8Array, mask: Buffer, inside: Uint8Array, small: Pixels): Promise<Cutout> {
  const fine = await load(photo, photoSide)
  const scale = fine.width / small.width
  const bounds = findBounds(inside, small.width)
  const area = {
    left: Math.floor(bounds.x * scale),
    top: Math.floor(bounds.y * scale),
    width: Math.min(fine.width, Math.ceil(bounds.width * scale)),
    height: Math.min(fine.height, Math.ceil(bounds.height * scale)),
  }
  area.width = Math.min(area.width, fine.width - area.left)
  area.height = Math.min(area.height, fine.height - area.top)
  const alpha = await sharp(mask, { raw: { width: small.width, height: small.height, channels: 1 } })
    .resize(fine.width, fine.height, { fit: 'fill', kernel: 'cubic' })
    .extract(area)
    .extractChannel(0)
    .raw()
    .toBuffer()
  const data = Buffer.alloc(area.width * area.height * 4)
  for (let y = 0; y < area.height; y++) {
    const from = ((y + area.top) * fine.width + area.left) * 4
    fine.data.copy(data, y * area.width * 4, from, from + area.width * 4)
  }
  for (let i = 0; i < alpha.length; i++) {
    data[i * 4 + 3] = Math.round(((data[i * 4 + 3] ?? 255) * (alpha[i] ?? 0)) / 255)
  }
  const cut = { data, width: area.width, height: area.height }
  const place = {
    left: area.left / fine.width,
    top: area.top / fine.height,
    width: area.width / fine.width,
    height: area.height / fine.height,
  }
  return { ...cut, framed: false, foot: findFoot(cut), place }
}

async function frame(photo: Uint8Array): Promise<Cutout> {
  const { data, width, height } = await load(photo, 760)
  const border = Math.round(Math.max(width, height) * 0.022)
  const [outerWidth, outerHeight] = [width + border * 2, height + border * 2]
  const corners = (inset: number, radius: number) =>
    Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="${outerWidth - inset * 2}" height="${outerHeight - inset * 2}">
      <rect width="100%" height="100%" rx="${radius}" fill="#fdfcfa"/></svg>`,
    )
  const picture = await sharp(data, { raw: { width, height, channels: 4 } })
    .flatten({ background: '#fdfcfa' })
    .ensureAlpha()
    .composite([{ input: corners(border, border * 0.9), blend: 'dest-in' }])
    .png({ compressionLevel: 0 })
    .toBuffer()
  const card = await sharp(corners(0, border * 1.7))
    .composite([{ input: picture, left: border, top: border }])
    .raw()
    .toBuffer()
  return {
    data: card,
    width: outerWidth,
    height: outerHeight,
    framed: true,
    foot: { x: 0.5, width: 1 },
    place: { left: 0, top: 0, width: 1, height: 1 },
  }
}

/** Throws when the bytes aren't an image that can be read. */
export async function cutOut(photo: Uint8Array): Promise<Cutout> {
  // A little blur keeps the grain of the photo from fraying the edge.
  const small = await load(photo, maskSide, 0.9)
  const size = small.width * small.height
  if (Math.min(small.width, small.height) < 16) return frame(photo)
  let inside = new Uint8Array(size)
  const transparent = [0, small.width - 1, size - small.width, size - 1].every(
    (i) => (small.data[i * 4 + 3] ?? 255) < 16,
  )
  if (transparent) {
    for (let i = 0; i < size; i++) inside[i] = (small.data[i * 4 + 3] ?? 0) > 16 ? 1 : 0
    if (!inside.includes(1)) return frame(photo)
    return lift(photo, Buffer.alloc(size, 255), inside, small)
  }
  if (!hasPlainBorder(small)) return frame(photo)
  const { cells, likeness } = classify(small)
  // On pure white, the view through a handle can't be told from a white label: then both stay.
  markOutside(cells, likeness, small.width, (small.data[0] ?? 255) > 250)
  inside = cells.map((cell) => (cell === outside ? 0 : 1))
  const share = inside.reduce((sum, value) => sum + value, 0) / size
  if (share < 0.015 || share > 0.9) return frame(photo)
  const blurred = await sharp(Buffer.from(inside.map((value) => value * 255)), {
    raw: { width: small.width, height: small.height, channels: 1 },
  })
    .blur(2.6)
    .extractChannel(0)
    .raw()
    .toBuffer()
  // Moves the soft edge inwards, so that no rim of the old backdrop comes along.
  const mask = blurred.map((value) => Math.max(0, Math.min(255, (value - 165) * 3.4)))
  return lift(photo, Buffer.from(mask), inside, small)
}
