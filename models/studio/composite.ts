/** Turns the painted layers into the finished pixels, in one pass over the picture. */
import type { Scene, Style } from './scenery.ts'

export interface Raster {
  data: Buffer
  width: number
  height: number
}

/** Lays one RGBA picture over another in place; neither is premultiplied. The overlay may stick out. */
export function overlay(target: Raster, image: Raster, left: number, top: number): void {
  const under = target.data
  const over = image.data
  for (let y = Math.max(0, -top); y < Math.min(image.height, target.height - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(image.width, target.width - left); x++) {
      const from = (y * image.width + x) * 4
      const alpha = over[from + 3] ?? 0
      if (alpha === 0) continue
      const to = ((y + top) * target.width + x + left) * 4
      const rest = ((under[to + 3] ?? 0) * (255 - alpha)) / 255
      const total = alpha + rest
      for (let c = 0; c < 3; c++)
        under[to + c] = ((over[from + c] ?? 0) * alpha + (under[to + c] ?? 0) * rest) / total
      under[to + 3] = total
    }
  }
}

/** Reads the rows of a small RGB picture as if it were `width` × `height`, blending between its pixels. */
function createEnlarger(small: Raster, width: number, height: number): (y: number) => Float32Array {
  const { data } = small
  const tall = new Float32Array(small.width * 3)
  const row = new Float32Array(width * 3)
  return (y) => {
    const at = Math.max(0, Math.min(small.height - 1.001, ((y + 0.5) * small.height) / height - 0.5))
    const upper = Math.floor(at)
    const down = at - upper
    const first = upper * small.width * 3
    for (let i = 0; i < tall.length; i++) {
      const above = data[first + i] ?? 0
      tall[i] = above + ((data[first + tall.length + i] ?? 0) - above) * down
    }
    const step = small.width / width
    for (let x = 0; x < width; x++) {
      const across = Math.max(0, Math.min(small.width - 1.001, (x + 0.5) * step - 0.5))
      const from = Math.floor(across)
      const right = across - from
      for (let c = 0; c < 3; c++) {
        const value = tall[from * 3 + c] ?? 0
        row[x * 3 + c] = value + ((tall[from * 3 + 3 + c] ?? 0) - value) * right
      }
    }
    return row
  }
}

/**
 * Puts `crisp` over the blurred backdrop, adds the front light, the style's grading, dark corners, and a grain that
 * hides the banding of slow gradients. `backdrop` and `front` are small RGB pictures, `crisp` is RGBA at full size.
 * Returns RGB.
 */
export function compositeLayers(
  backdrop: Raster,
  crisp: Raster,
  front: Raster,
  scene: Scene,
  style: Style,
): Buffer {
  const { width, height } = scene
  const { contrast, saturation, vignette } = style.grade
  const readBackdrop = createEnlarger(backdrop, width, height)
  const readFront = createEnlarger(front, width, height)
  const layer = crisp.data
  // Clamped, so that no value needs a check of its own.
  const pixels = new Uint8ClampedArray(width * height * 3)
  let noise = 1 + Math.floor(scene.random() * 2147483645)
  for (let y = 0; y < height; y++) {
    const behind = readBackdrop(y)
    const before = readFront(y)
    const dy = (y / height - 0.5) * 2
    for (let x = 0; x < width; x++) {
      const at = x * 3
      const from = (y * width + x) * 4
      const cover = (layer[from + 3] ?? 0) / 255
      let red = (behind[at] ?? 0) * (1 - cover) + (layer[from] ?? 0) * cover
      let green = (behind[at + 1] ?? 0) * (1 - cover) + (layer[from + 1] ?? 0) * cover
      let blue = (behind[at + 2] ?? 0) * (1 - cover) + (layer[from + 2] ?? 0) * cover
      red += ((255 - red) * (before[at] ?? 0)) / 255
      green += ((255 - green) * (before[at + 1] ?? 0)) / 255
      blue += ((255 - blue) * (before[at + 2] ?? 0)) / 255
      const grey = 0.3 * red + 0.59 * green + 0.11 * blue
      const dx = (x / width - 0.5) * 2
      const away = dx * dx + dy * dy
      noise ^= noise << 13
      noise ^= noise >>> 17
      noise ^= noise << 5
      const scale = contrast * (1 - vignette * away * away * 0.25)
      const lift = 128 * (1 - contrast) + (noise & 255) / 128 - 1
      const to = y * width * 3 + at
      pixels[to] = (grey + (red - grey) * saturation) * scale + lift
      pixels[to + 1] = (grey + (green - grey) * saturation) * scale + lift
      pixels[to + 2] = (grey + (blue - grey) * saturation) * scale + lift
    }
  }
  return Buffer.from(pixels.buffer)
}
