// Decides where the product, its light and the caption go, for each aspect ratio and each of the four takes.
import type { Cutout } from './cutout.ts'
import { type Line, measure, toDrawable, trace, wrap } from './lettering.ts'
import { createRandom, type Palette, rect, type Scene, type Style } from './scenery.ts'

export const aspectRatios = {
  '1:1': [1024, 1024],
  '4:3': [1024, 768],
  '3:4': [768, 1024],
  '16:9': [1024, 576],
  '9:16': [576, 1024],
} as const

export type AspectRatio = keyof typeof aspectRatios

interface Take {
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

const getShape = (width: number, height: number) =>
  width > height ? 'landscape' : width < height ? 'portrait' : 'square'

/** `index` 0 to 3 picks the take; the same arguments give the same scene. */
export function layOut(
  aspectRatio: AspectRatio,
  index: number,
  seed: number,
  product: Cutout,
): { scene: Scene; take: Take } {
  const [width, height] = aspectRatios[aspectRatio]
  const shape = takes[getShape(width, height)]
  const take = shape[index % shape.length] as Take
  const random = createRandom(seed)
  const unit = Math.min(width, height) / 1000
  const room = [width * take.room[0], height * take.room[1]] as const
  const scale = Math.min(room[0] / product.width, room[1] / product.height) * (0.94 + random() * 0.06)
  const [productWidth, productHeight] = [
    Math.round(product.width * scale),
    Math.round(product.height * scale),
  ]
  const base = Math.round(height * take.at[1])
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
    ceiling: width > height ? height * 0.03 : height * take.text[1] + (width < height ? 225 : 195) * unit,
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

const wordSet = (words: string) => new Set(words.split(' '))
const commands = wordSet(
  'PLEASE CREATE GENERATE MAKE SHOW PLACE PUT RENDER DESIGN DRAW A AN THE THIS MY OUR ME PRODUCT MARKETING PHOTO IMAGE PICTURE SHOT POSTER BANNER AD OF WITH',
)
const joints = wordSet('AND AT BY FOR FROM IN INTO NEAR ON OR OVER TO UNDER WITH WITHOUT & - / +')
const articles = wordSet('A AN THE OF VERY')

/** What the prompt is about, as a caption: its first clause without "create a photo of", at most six words. */
export function shortenPrompt(prompt: string): string {
  const clauses = prompt.slice(0, 2000).split(/[,;:.!?()[\]{}|]+(?:\s|$)|\s[-–—]\s|[\n\r，。；：！？、]/)
  const clause = clauses.map((text) => toDrawable(text)).find((text) => /[A-Z0-9]/.test(text)) ?? ''
  const words = clause.split(' ')
  while (words.length > 2 && commands.has(words[0] ?? '')) words.shift()
  if (words.length > 5) {
    const joint = words.findIndex((word, i) => i > 1 && joints.has(word))
    words.length = joint > 0 ? Math.min(joint, 6) : 6
  }
  const dangles = (word: string) => joints.has(word) || articles.has(word) || !/[A-Z0-9]/.test(word)
  while (words.length > 1 && dangles(words.at(-1) ?? '')) words.pop()
  return words.join(' ')
}

/** The caption and the thin rule beside it, as SVG; empty when the prompt has nothing that can be drawn. */
export function drawCaption(
  prompt: string,
  scene: Scene,
  take: Take,
  style: Style,
  palette: Palette,
): string {
  const text = shortenPrompt(prompt)
  if (!text) return ''
  const { width, height, unit } = scene
  const { weight, tracking } = style.lettering
  const room = width * take.textWidth
  const landscape = width > height
  const sizes = { landscape: [88, 76, 66, 56, 48], portrait: [60, 52, 44, 38], square: [50, 44, 38, 33] }[
    getShape(width, height)
  ].map((size) => size * unit)
  const maxLines = landscape ? 4 : 2
  const longest = text.split(' ').reduce((most, word) => Math.max(most, measure(word, tracking)), 0)
  const spell = (block: Line[]) => block.map((line) => line.text).join(' ')
  const fits = (size: number) => {
    return (
      (longest * size) / 100 <= room && spell(wrap(text, tracking, (room / size) * 100, maxLines)) === text
    )
  }
  const size = sizes.find(fits) ?? (sizes.at(-1) as number)
  const full = wrap(text, tracking, (room / size) * 100, maxLines)
  // The narrowest block with as many lines and as much text, so that no line holds a lonely word.
  const blocks = [0.5, 0.6, 0.7, 0.8, 0.9].map((share) =>
    wrap(text, tracking, (room * share * 100) / size, full.length),
  )
  const lines = blocks.find((block) => spell(block) === spell(full)) ?? full
  const leading = size * 1.62
  const block = leading * (lines.length - 1) + size
  const top = height * take.text[1] - (landscape ? block / 2 : 0)
  const shift = { start: 0, middle: 0.5, end: 1 }[take.align]
  const x = width * take.text[0]
  const rows = lines.map((line, i) => {
    const left = x - (line.width * size * shift) / 100
    return `<g transform="translate(${left.toFixed(1)} ${(top + i * leading).toFixed(1)}) scale(${(size / 100).toFixed(4)})">${trace(line.text, tracking)}</g>`
  })
  const rule = 74 * unit
  return `<g fill="none" stroke="${palette.ink}" stroke-width="${weight}" stroke-linecap="round" stroke-linejoin="round">
    ${rows.join('')}</g>${rect(x - rule * shift, top + block + size * 0.72, rule, Math.max(2, 4 * unit), palette.main)}`
}
