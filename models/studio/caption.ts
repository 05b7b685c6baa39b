/** Sets a caption beside the product, in a few words. */
import { getShape, type Take } from './layout.ts'
import { type Line, measure, toDrawable, trace, wrap } from './lettering.ts'
import { type Palette, rect, type Scene, type Style } from './scenery.ts'

const wordSet = (words: string) => new Set(words.split(' '))
const commands = wordSet(
  'PLEASE CREATE GENERATE MAKE SHOW PLACE PUT RENDER DESIGN DRAW A AN THE THIS MY OUR ME PRODUCT MARKETING PHOTO IMAGE PICTURE SHOT POSTER BANNER AD OF WITH',
)
const joints = wordSet('AND AT BY FOR FROM IN INTO NEAR ON OR OVER TO UNDER WITH WITHOUT & - / +')
const articles = wordSet('A AN THE OF VERY')

/** What a text is about: its first clause without "create a photo of", at most six words. */
export function shortenPrompt(text: string): string {
  const clauses = text.slice(0, 2000).split(/[,;:.!?()[\]{}|]+(?:\s|$)|\s[-–—]\s|[\n\r，。；：！？、]/)
  const clause = clauses.map((each) => toDrawable(each)).find((each) => /[A-Z0-9]/.test(each)) ?? ''
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

/** The caption and the thin rule beside it, as SVG; empty when it has nothing that can be drawn. */
export function drawCaption(
  caption: string,
  scene: Scene,
  take: Take,
  style: Style,
  palette: Palette,
): string {
  const text = shortenPrompt(caption)
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
  const fits = (size: number) =>
    (longest * size) / 100 <= room && spell(wrap(text, tracking, (room / size) * 100, maxLines)) === text
  // Rather small letters than a broken word, but not so small that nobody can read them.
  const smallest = Math.max(24 * unit, Math.min(sizes.at(-1) ?? 0, (room * 99.9) / longest))
  const size = sizes.find(fits) ?? smallest
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
