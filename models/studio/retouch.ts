/** The tasks that keep the photo: cut out its product, put that on white, enlarge the photo, extend it. */
import sharp from 'sharp'
import { type Cutout, cutOut, maxPixels } from './cutout.ts'
import { encode, type OutputFormat } from './encode.ts'

export interface RetouchOptions {
  task: 'cutout' | 'packshot' | 'upscale' | 'expand'
  photo: Uint8Array
  /** Of the result, in pixels. */
  width: number
  height: number
  format: OutputFormat
}

interface Size {
  width: number
  height: number
}

const open = (photo: Uint8Array) =>
  sharp(photo, { limitInputPixels: maxPixels }).rotate().toColourspace('srgb')

/** Enlarges or reduces an RGBA cutout. */
const resizeCutout = ({ data, width, height }: Cutout, to: Size): Promise<Buffer> =>
  sharp(data, { raw: { width, height, channels: 4 } })
    .resize(to.width, to.height, { fit: 'fill' })
    .raw()
    .toBuffer()

const canvas = ({ width, height }: Size, background: { r: number; g: number; b: number; alpha: number }) =>
  sharp({ create: { width, height, channels: 4, background } })

/** The product where it was in the photo, and nothing around it. */
async function makeTransparent({ photo, width, height }: RetouchOptions): Promise<Buffer> {
  const product = await cutOut(photo)
  const { place } = product
  const size = {
    width: Math.max(1, Math.min(width, Math.round(place.width * width))),
    height: Math.max(1, Math.min(height, Math.round(place.height * height))),
  }
  const input = await resizeCutout(product, size)
  return canvas({ width, height }, { r: 0, g: 0, b: 0, alpha: 0 })
    .composite([
      {
        input,
        raw: { ...size, channels: 4 },
        left: Math.min(width - size.width, Math.round(place.left * width)),
        top: Math.min(height - size.height, Math.round(place.top * height)),
      },
    ])
    .raw()
    .toBuffer()
}

/** How much of the frame the product fills, along the side where it comes closest. */
const fill = 0.85

/** The product in the middle of pure white, over a shadow that ends before the frame does. */
async function makePackshot({ photo, width, height }: RetouchOptions): Promise<Buffer> {
  const product = await cutOut(photo)
  const scale = fill * Math.min(width / product.width, height / product.height)
  const size = {
    width: Math.max(1, Math.round(product.width * scale)),
    height: Math.max(1, Math.round(product.height * scale)),
  }
  const left = Math.round((width - size.width) / 2)
  const top = Math.round((height - size.height) / 2)
  const foot = { x: left + product.foot.x * size.width, half: (product.foot.width * size.width) / 2 }
  const depth = Math.min(height * 0.02, (height - size.height) / 6)
  const shadow = Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">
    <filter id="soft" x="-20%" y="-300%" width="140%" height="700%"><feGaussianBlur stdDeviation="${depth / 2}"/></filter>
    <ellipse cx="${foot.x}" cy="${top + size.height - depth * 0.4}" rx="${foot.half * 0.97}" ry="${depth}"
      fill="#2a2a2e" opacity=".4" filter="url(#soft)"/></svg>`)
  return canvas({ width, height }, { r: 255, g: 255, b: 255, alpha: 1 })
    .composite([
      { input: shadow },
      { input: await resizeCutout(product, size), raw: { ...size, channels: 4 }, left, top },
    ])
    .raw()
    .toBuffer()
}

/** The photo larger, its edges as steep as before. */
const enlarge = ({ photo, width, height }: RetouchOptions): Promise<Buffer> =>
  open(photo)
    .ensureAlpha()
    .resize(width, height, { fit: 'fill', kernel: 'lanczos3' })
    .sharpen({ sigma: 1.4, m1: 0.8, m2: 2.5 })
    .raw()
    .toBuffer()

/** The photo in the middle of a larger frame that goes on as the photo's edges end. */
export async function extend({
  photo,
  width,
  height,
}: Pick<RetouchOptions, 'photo' | 'width' | 'height'>): Promise<Buffer> {
  const { data: inner, info } = await open(photo)
    .flatten({ background: '#fff' })
    .resize(width, height, { fit: 'inside' })
    .png({ compressionLevel: 0 })
    .toBuffer({ resolveWithObject: true })
  const left = Math.floor((width - info.width) / 2)
  const top = Math.floor((height - info.height) / 2)
  const margins = {
    left,
    top,
    right: width - info.width - left,
    bottom: height - info.height - top,
  }
  const [extended, seam] = await Promise.all([
    sharp(inner)
      .extend({ ...margins, extendWith: 'copy' })
      .blur(Math.max(1, Math.max(width, height) / 90))
      .toBuffer(),
    // The photo fades into its extension, on the sides where there is one.
    fadeEdges(info, { x: left > 0, y: top > 0 }, Math.round(Math.min(info.width, info.height) * 0.04)),
  ])
  const faded = await sharp(inner)
    .ensureAlpha()
    .composite([{ input: seam, blend: 'dest-in' }])
    .png()
    .toBuffer()
  return sharp(extended)
    .composite([{ input: faded, left, top }])
    .ensureAlpha()
    .raw()
    .toBuffer()
}

function fadeEdges(
  { width, height }: Size,
  sides: { x: boolean; y: boolean },
  depth: number,
): Promise<Buffer> {
  const alpha = Buffer.alloc(width * height * 4)
  const ramp = (at: number, length: number): number =>
    Math.min(1, (Math.min(at, length - 1 - at) + 1) / depth)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const share = (sides.x ? ramp(x, width) : 1) * (sides.y ? ramp(y, height) : 1)
      alpha[(y * width + x) * 4 + 3] = Math.round(255 * share)
    }
  }
  return sharp(alpha, { raw: { width, height, channels: 4 } })
    .png({ compressionLevel: 1 })
    .toBuffer()
}

const tasks = { cutout: makeTransparent, packshot: makePackshot, upscale: enlarge, expand: extend }

/** Throws when the bytes aren't an image that can be read. The same options give the same bytes. */
export async function retouch(options: RetouchOptions): Promise<Buffer> {
  const { task, width, height, format } = options
  const pixels = await tasks[task](options)
  return encode(pixels, { width, height, channels: 4 }, format)
}
