/** Puts a part of a picture on white, row by row. */
import type { Picture } from '../assets/png.ts'
import type { Box } from './pixels.ts'

export interface Composition {
  /** What is taken of the picture. */
  part: Box
  /** Pixels of what is made. */
  width: number
  height: number
}

/** Rows of RGB: the part in the middle of white, which also shows through it. */
export const compose = async function* (
  { rows, height: all }: Picture,
  { part, width, height }: Composition,
): AsyncGenerator<Uint8Array> {
  const left = Math.floor((width - (part.right - part.left)) / 2)
  const top = Math.floor((height - (part.bottom - part.top)) / 2)
  const white = new Uint8Array(3 * width).fill(255)
  const row = white.slice()
  for (let y = 0; y < top; y++) yield white
  try {
    for (let y = 0; y < Math.min(all, part.bottom); y++) {
      const { value, done } = await rows.next()
      if (done) return
      if (y < part.top) continue
      for (let from = 4 * part.left, to = 3 * left; from < 4 * part.right; from += 4, to += 3) {
        const alpha = value[from + 3] ?? 0
        for (let i = 0; i < 3; i++) {
          const colour = value[from + i] ?? 0
          row[to + i] = alpha === 255 ? colour : 255 - Math.round(((255 - colour) * alpha) / 255)
        }
      }
      yield row
    }
  } finally {
    await rows.return(undefined)
  }
  for (let y = top + part.bottom - part.top; y < height; y++) yield white
}
