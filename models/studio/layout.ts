/** Decides where the product, its light and the caption go, for each aspect ratio and each of the four takes. */
import type { Product } from './cutout.ts'
import { createRandom, type Scene } from './scenery.ts'

export interface Take {
  /** The product: the middle of its foot, and the largest size it may have. */
  at: [x: number, y: number]
  room: [width: number, height: number]
  /** The caption: x of its anchor, y of its top (of its middle in landscape). */
  text: [x: number, y: number]
  textWidth: number
  align: 'start' | 'middle' | 'end'
}

// All numbers are shares of the picture's width or height.
const takes: Record<'square' | 'landscape' | 'portrait', Take[]> = {
  square: [
    { at: [0.5, 0.81], room: [0.6, 0.5], text: [0.5, 0.085], textWidth: 0.74, align: 'middle' },
    { at: [0.63, 0.8], room: [0.54, 0.45], text: [0.08, 0.11], textWidth: 0.6, align: 'start' },
    { at: [0.5, 0.87], room: [0.84, 0.6], text: [0.5, 0.075], textWidth: 0.8, align: 'middle' },
    { at: [0.36, 0.79], room: [0.5, 0.42], text: [0.92, 0.12], textWidth: 0.6, align: 'end' },
  ],
  landscape: [
    { at: [0.7, 0.79], room: [0.42, 0.58], text: [0.07, 0.44], textWidth: 0.36, align: 'start' },
    { at: [0.3, 0.79], room: [0.42, 0.58], text: [0.56, 0.44], textWidth: 0.37, align: 'start' },
    { at: [0.67, 0.84], room: [0.52, 0.68], text: [0.07, 0.34], textWidth: 0.33, align: 'start' },
    { at: [0.33, 0.8], room: [0.44, 0.56], text: [0.93, 0.36], textWidth: 0.35, align: 'end' },
  ],
  portrait: [
    { at: [0.5, 0.76], room: [0.68, 0.46], text: [0.5, 0.1], textWidth: 0.78, align: 'middle' },
    { at: [0.54, 0.8], room: [0.7, 0.5], text: [0.1, 0.11], textWidth: 0.76, align: 'start' },
    { at: [0.5, 0.7], room: [0.76, 0.5], text: [0.5, 0.09], textWidth: 0.78, align: 'middle' },
    { at: [0.46, 0.78], room: [0.66, 0.46], text: [0.9, 0.11], textWidth: 0.76, align: 'end' },
  ],
}

export const getShape = (width: number, height: number) =>
  width > height ? 'landscape' : width < height ? 'portrait' : 'square'

/** `index` picks one of the four takes. */
export function getTake(width: number, height: number, index: number): Take {
  const shape = takes[getShape(width, height)]
  return shape[index % shape.length] as Take
}

/** The same arguments give the same scene. */
export function layOut(
  width: number,
  height: number,
  index: number,
  seed: number,
  product: Product,
): { scene: Scene; take: Take } {
  const take = getTake(width, height, index)
  const random = createRandom(seed)
  const unit = Math.min(width, height) / 1000
  const base = Math.round(height * take.at[1])
  const ceiling = width > height ? height * 0.03 : height * take.text[1] + (width < height ? 225 : 195) * unit
  const room = [width * take.room[0], Math.min(height * take.room[1], base - ceiling)] as const
  const scale = Math.min(room[0] / product.width, room[1] / product.height) * (0.94 + random() * 0.06)
  const [productWidth, productHeight] = [
    Math.max(1, Math.round(product.width * scale)),
    Math.max(1, Math.round(product.height * scale)),
  ]
  // A handle shouldn't push the stand aside, nor the stand the product: they share the middle.
  const x = Math.round(width * take.at[0] + (product.foot.x - 0.5) * productWidth * 0.6)
  const footWidth = productWidth * product.foot.width
  const roomy = Math.max(
    footWidth * (product.framed ? 0.56 : 0.78),
    productWidth * 0.5,
    productHeight * 0.3,
    150 * unit,
  )
  const scene: Scene = {
    width,
    height,
    unit,
    x,
    left: Math.round(x - productWidth * product.foot.x),
    footWidth,
    ceiling,
    base,
    productWidth,
    productHeight,
    horizon: base - 84 * unit,
    // The dim side is the busier one, so a caption at a side gets the light.
    light: take.align === 'middle' ? (random() < 0.5 ? -1 : 1) : take.text[0] < take.at[0] ? -1 : 1,
    radius: Math.max(footWidth * 0.56, Math.min(roomy, Math.min(x, width - x) * 0.9)),
    random,
  }
  return { scene, take }
}
