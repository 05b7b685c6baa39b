/** Draws a product when no photo is given: a bottle, a box or a jar in the style's colours, with the prompt's initial. */
import sharp from 'sharp'
import { findFoot, type Product } from './cutout.ts'
import { measure, trace } from './lettering.ts'
import { linear, type Palette, rect } from './scenery.ts'

type Shape = 'bottle' | 'box' | 'jar'

const hints: [Shape, RegExp][] = [
  ['bottle', /\b(bottle|perfume|serum|oil|wine|drink|juice|water|shampoo|lotion|spray|sauce|beer)/i],
  ['jar', /\b(jar|candle|cream|honey|tin|mug|cup|coffee|tea|jam|balm|powder|can)\b/i],
]

const drawings: Record<
  Shape,
  { width: number; height: number; label: [x: number, y: number, size: number]; svg: string }
> = {
  bottle: {
    width: 300,
    height: 760,
    label: [150, 470, 96],
    svg: `${rect(108, 0, 84, 120, 'url(#cap)', 'rx="10"')}${rect(118, 112, 64, 60, 'url(#side)')}
      <path d="M118 164C110 214 12 226 12 310V716A138 34 0 0 0 288 716V310C288 226 190 214 182 164Z" fill="url(#side)"/>
      ${rect(12, 372, 276, 264, 'url(#paper)')}
      <path d="M52 262C44 290 44 600 52 706L72 712C64 600 64 300 78 244Z" fill="#fff" opacity=".4"/>
      <path d="M12 640H288V716A138 34 0 0 1 12 716Z" fill="#000" opacity=".14"/>`,
  },
  box: {
    width: 620,
    height: 640,
    label: [196, 330, 116],
    svg: `<path d="M0 70L392 96V640L0 606Z" fill="url(#side)"/><path d="M392 96L620 62V598L392 640Z" fill="url(#dark)"/>
      <path d="M0 70L232 40L620 62L392 96Z" fill="url(#cap)"/><path d="M392 96V640" stroke="#fff" stroke-width="3" opacity=".35"/>
      <path d="M0 150L392 178V196L0 168Z" fill="url(#cap)"/><path d="M392 178L620 140V156L392 196Z" fill="url(#cap)" opacity=".8"/>
      <path d="M0 70L392 96V112L0 84Z" fill="#fff" opacity=".3"/>`,
  },
  jar: {
    width: 520,
    height: 560,
    label: [260, 356, 104],
    svg: `<path d="M16 152V508A244 44 0 0 0 504 508V152Z" fill="url(#side)"/>${rect(16, 246, 488, 222, 'url(#paper)')}
      <path d="M0 44V150A260 46 0 0 0 520 150V44Z" fill="url(#cap)"/><ellipse cx="260" cy="46" rx="260" ry="44" fill="url(#cap)"/>
      <ellipse cx="260" cy="44" rx="240" ry="36" fill="#fff" opacity=".22"/>
      <path d="M70 210V530L104 536V214Z" fill="#fff" opacity=".34"/><path d="M16 470H504V508A244 44 0 0 1 16 508Z" fill="#000" opacity=".14"/>`,
  },
}

/** `variant` picks the shape where the prompt doesn't name one. */
export async function drawPackage(
  prompt: string,
  caption: string,
  palette: Palette,
  variant: number,
): Promise<Product> {
  const shapes = Object.keys(drawings) as Shape[]
  const shape = hints.find(([, words]) => words.test(prompt))?.[0] ?? shapes[variant % shapes.length] ?? 'box'
  const { width, height, label, svg } = drawings[shape]
  const initial = /[A-Z0-9]/.exec(caption)?.[0]
  const mark = initial
    ? `<g transform="translate(${-measure(initial, 0) / 2} -50)">${trace(initial, 0)}</g>`
    : '<path d="M0 -52L40 0L0 52L-40 0Z"/>'
  const [x, y, size] = label
  const scale = size / 100
  const ink = shape === 'box' ? palette.light : palette.main
  const lean = shape === 'box' ? 'skewY(5)' : ''
  const drawing = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><defs>
    ${linear('side', 'across', [
      [0, palette.main],
      [0.22, palette.second],
      [0.55, palette.main],
      [1, palette.main],
    ])}
    ${linear('dark', 'across', [
      [0, palette.main],
      [1, palette.main],
    ])}
    ${linear('cap', 'across', [
      [0, palette.second],
      [0.3, palette.light],
      [0.7, palette.second],
      [1, palette.main],
    ])}
    ${linear('paper', 'across', [
      [0, '#d9d4cb'],
      [0.26, '#fffdf8'],
      [0.7, '#efe9df'],
      [1, '#bfb8ab'],
    ])}</defs>${svg}
    ${shape === 'box' ? '<path d="M392 96L620 62V598L392 640Z" fill="#000" opacity=".34"/>' : ''}
    <g transform="translate(${x} ${y}) ${lean} scale(${scale})" fill="none" stroke="${ink}" stroke-width="8" stroke-linecap="round">
      <circle r="104" stroke-width="4"/><circle r="96" stroke-width="1.5"/>
      ${mark}</g></svg>`
  const { data, info } = await sharp(Buffer.from(drawing))
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true })
  const drawn = { data, width: info.width, height: info.height }
  // The box stands on its corner, but its shadow belongs to all of it.
  return { ...drawn, framed: false, foot: shape === 'box' ? { x: 0.55, width: 0.86 } : findFoot(drawn) }
}
