/** Renders one marketing picture: stage, product, shadow, mirror image, caption, light and grading. */
import sharp from 'sharp'
import { drawCaption, shortenPrompt } from './caption.ts'
import { compositeLayers, overlay, type Raster } from './composite.ts'
import type { Product } from './cutout.ts'
import { encode, type OutputFormat } from './encode.ts'
import { layOut } from './layout.ts'
import { drawPackage } from './package.ts'
import { ellipse, radial, type Scene, type Style, tilt } from './scenery.ts'
import { type StyleName, styles } from './styles.ts'

const wrapSvg = (width: number, height: number, body: string, scale = 1): Buffer =>
  Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="${width * scale}" height="${height * scale}"
    viewBox="0 0 ${width} ${height}">${body}</svg>`)

/** Draws with 256 pixels on the long side and blurs: a soft picture for little work. */
async function paintSoft(body: string, { width, height }: Scene): Promise<Raster> {
  const { data, info } = await sharp(
    wrapSvg(width, height, `<rect width="100%" height="100%"/>${body}`, 256 / Math.max(width, height)),
  )
    .removeAlpha()
    .blur(1.6)
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height }
}

async function paintCrisp(body: string, { width, height }: Scene): Promise<Raster> {
  return {
    data: await sharp(wrapSvg(width, height, body))
      .ensureAlpha()
      .raw()
      .toBuffer(),
    width,
    height,
  }
}

const readColour = (hex: string): [number, number, number] => {
  const value = Number.parseInt(hex.slice(1), 16)
  return [value >> 16, (value >> 8) & 255, value & 255]
}

/** Sizes the product for the scene and lets the scene's light fall on it. */
async function lightProduct(product: Product, scene: Scene, { ambient }: Style): Promise<Raster> {
  const [width, height] = [scene.productWidth, scene.productHeight]
  const data = await sharp(product.data, {
    raw: { width: product.width, height: product.height, channels: 4 },
  })
    .resize(width, height, { fit: 'fill' })
    .raw()
    .toBuffer()
  const [lit, dim] = [readColour(ambient.lit), readColour(ambient.dim)]
  const strength = product.framed ? ambient.strength * 0.4 : ambient.strength
  for (let y = 0; y < height; y++) {
    const low = (y / height) ** 3 * 0.5
    for (let x = 0; x < width; x++) {
      const across = scene.light < 0 ? x / width : 1 - x / width
      const bright = strength * (1 - across) ** 2 * 0.55
      const dark = strength * Math.min(1, across ** 2 + low)
      const at = (y * width + x) * 4
      for (let c = 0; c < 3; c++) {
        const value = (data[at + c] ?? 0) * (1 - dark) + (((data[at + c] ?? 0) * (dim[c] ?? 0)) / 255) * dark
        data[at + c] = value + (((255 - value) * (lit[c] ?? 0)) / 255) * bright * (value / 255)
      }
    }
  }
  return { data, width, height }
}

/** The product's lowest part upside down, fading out over the wanted depth. */
function mirror({ data, width, height }: Raster, opacity: number, wanted: number): Raster {
  const depth = Math.max(1, Math.min(wanted, height))
  const image = Buffer.alloc(width * depth * 4)
  for (let y = 0; y < depth; y++) {
    const fade = opacity * (1 - y / depth)
    const from = (height - 1 - y) * width * 4
    data.copy(image, y * width * 4, from, from + width * 4)
    for (let at = y * width * 4 + 3; at < (y + 1) * width * 4; at += 4) image[at] = (image[at] ?? 0) * fade
  }
  return { data: image, width, height: depth }
}

function drawShadow(
  { x, base, radius, footWidth, light, unit }: Scene,
  { shadow }: Style,
  framed: boolean,
): string {
  const { colour, opacity } = shadow
  const half = footWidth / 2
  const depth = framed ? 10 * unit : Math.max(10 * unit, half * tilt)
  return `
    ${radial('shadow-far', [
      [0, colour, opacity * 0.8],
      [0.5, colour, opacity * 0.42],
      [1, colour, 0],
    ])}
    ${radial('shadow-near', [
      [0, colour, opacity],
      [0.78, colour, opacity * 0.9],
      [1, colour, 0],
    ])}
    ${ellipse(x - light * radius * 0.3, base - depth * 0.8, half * 1.6, depth * 1.35, 'url(#shadow-far)')}
    ${ellipse(x - light * 4 * unit, base - depth * 0.86, half * 1.13, depth * 1.12, 'url(#shadow-near)')}`
}

function hash(text: string): number {
  let value = 2166136261
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16777619)
  return value >>> 0
}

export interface RenderOptions {
  product?: Product | undefined
  prompt: string
  /** What is written into the picture; empty for nothing. */
  caption: string
  style: StyleName
  /** Pixels. */
  width: number
  height: number
  seed: number
  /** Varies the composition, which repeats after four. */
  index: number
  format: OutputFormat
  /** The size of the file, where it is larger than what is worth painting. */
  enlargeTo?: { width: number; height: number } | undefined
}

/** The same options give the same bytes. */
export async function render(options: RenderOptions): Promise<Buffer> {
  const { prompt, caption, width, height, seed, index, format, enlargeTo } = options
  const style: Style = styles[options.style]
  const mixed = (Math.imul(seed | 0, 2654435761) ^ hash(prompt)) >>> 0
  const palette = style.palettes[mixed % style.palettes.length]
  if (!palette) throw new Error(`The style ${options.style} has no palette.`)
  const product = options.product ?? (await drawPackage(prompt, shortenPrompt(prompt), palette, mixed >>> 8))
  const { scene, take } = layOut(width, height, index, (mixed + Math.imul(index, 40503)) >>> 0, product)

  const soft = style.soft(scene, palette)
  const sharpParts = `${style.crisp(scene, palette)}${drawShadow(scene, style, product.framed)}
    ${drawCaption(caption, scene, take, style, palette)}`
  const [backdrop, crisp, front, lit] = await Promise.all([
    paintSoft(soft, scene),
    paintCrisp(sharpParts, scene),
    paintSoft(style.front(scene, palette), scene),
    lightProduct(product, scene, style),
  ])
  overlay(
    crisp,
    mirror(lit, style.reflection, Math.round(scene.radius * tilt * 0.55)),
    scene.left,
    scene.base - 2,
  )
  overlay(crisp, lit, scene.left, scene.base - lit.height)
  return encode(
    compositeLayers(backdrop, crisp, front, scene, style),
    { width, height, channels: 3 },
    format,
    enlargeTo,
  )
}
