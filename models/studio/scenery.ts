/** The stage that every style paints: its measures, and the few shapes that several styles share. */

export interface Palette {
  wall: [lit: string, dim: string]
  floor: [near: string, far: string]
  main: string
  second: string
  /** The caption's colour. */
  ink: string
  light: string
}

/** All lengths in pixels of the finished picture. */
export interface Scene {
  width: number
  height: number
  /** A thousandth of the shorter side, so that drawings scale with the picture. */
  unit: number
  /** Where the product stands: the middle of its foot. */
  x: number
  base: number
  productWidth: number
  productHeight: number
  /** The product's left edge; its foot may not be in its middle. */
  left: number
  footWidth: number
  /** Nothing tall reaches above this: the caption is there. */
  ceiling: number
  /** Where the wall meets the floor. */
  horizon: number
  /** -1 when the light comes from the left, 1 from the right. */
  light: -1 | 1
  /** The product's own shadow and stand follow this radius. */
  radius: number
  random(): number
}

/** Mulberry32: small, quick and the same everywhere. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

type Stop = [offset: number, colour: string, opacity?: number]

const toStops = (stops: Stop[]): string =>
  stops
    .map(
      ([offset, colour, opacity = 1]) =>
        `<stop offset="${offset}" stop-color="${colour}" stop-opacity="${opacity}"/>`,
    )
    .join('')

/** A gradient from left to right, or from top to bottom. */
export const linear = (id: string, way: 'across' | 'down', stops: Stop[], more = ''): string =>
  `<linearGradient id="${id}" x1="0" y1="0" x2="${way === 'across' ? 1 : 0}" y2="${way === 'across' ? 0 : 1}" ${more}>
    ${toStops(stops)}</linearGradient>`

export const radial = (id: string, stops: Stop[], more = ''): string =>
  `<radialGradient id="${id}" ${more}>${toStops(stops)}</radialGradient>`

export const rect = (x: number, y: number, width: number, height: number, fill: string, more = ''): string =>
  `<rect x="${x}" y="${y}" width="${width}" height="${height}" fill="${fill}" ${more}/>`

export const circle = (x: number, y: number, r: number, fill: string, more = ''): string =>
  `<circle cx="${x}" cy="${y}" r="${r}" fill="${fill}" ${more}/>`

export const ellipse = (x: number, y: number, rx: number, ry: number, fill: string, more = ''): string =>
  `<ellipse cx="${x}" cy="${y}" rx="${rx}" ry="${ry}" fill="${fill}" ${more}/>`

export const times = (count: number, draw: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => draw(i)).join('')

/** A disc or ring behind the product, as large as the caption above it allows. */
export function placeHalo({
  x,
  left,
  base,
  productHeight,
  productWidth,
  ceiling,
  unit,
}: Scene): Record<'x' | 'y' | 'r', number> {
  const y = base - productHeight * 0.5
  const wanted = Math.max(productHeight * 0.7, productWidth * 0.62, 230 * unit)
  return { x: (x + left + productWidth / 2) / 2, y, r: Math.max(100 * unit, Math.min(wanted, y - ceiling)) }
}

/** A patch of light or colour that fades to nothing; `id` must be unique in the drawing. */
export const glow = (id: string, x: number, y: number, r: number, colour: string, opacity: number): string =>
  radial(id, [
    [0, colour, opacity],
    [0.45, colour, opacity * 0.42],
    [1, colour, 0],
  ]) + circle(x, y, r, `url(#${id})`)

/** How flat a round stand looks from this camera. */
export const tilt = 0.2

/** A drum under the product's foot: lit from the scene's side, with a bright rim. */
export function drum(
  scene: Scene,
  look: {
    lit: string
    body: string
    dim: string
    top: string
    rim: string
    height: number
    scale?: number
    drop?: number
  },
): string {
  const rx = scene.radius * (look.scale ?? 1)
  const ry = rx * tilt
  const y = scene.base - ry * 0.42 + (look.drop ?? 0)
  const id = `drum${Math.round(y)}`
  const shades: Stop[] = [
    [0, look.lit],
    [0.42, look.body],
    [1, look.dim],
  ]
  const stops = scene.light < 0 ? shades : shades.map(([at, colour]): Stop => [1 - at, colour]).reverse()
  const [left, right, foot] = [scene.x - rx, scene.x + rx, y + look.height]
  return `
    ${linear(`${id}-side`, 'across', stops)}
    ${radial(
      `${id}-top`,
      [
        [0, look.lit],
        [1, look.top],
      ],
      `cx="${0.5 + scene.light * 0.25}" cy=".4" r=".8"`,
    )}
    ${radial(`${id}-shade`, [
      [0, '#000', 0.42],
      [0.7, '#000', 0.26],
      [1, '#000', 0],
    ])}
    ${ellipse(scene.x - scene.light * rx * 0.22, foot + ry * 0.25, rx * 1.34, ry * 1.5, `url(#${id}-shade)`)}
    <path d="M${left} ${y}V${foot}A${rx} ${ry} 0 0 0 ${right} ${foot}V${y}Z" fill="url(#${id}-side)"/>
    ${ellipse(scene.x, y, rx, ry, `url(#${id}-top)`)}
    <path d="M${left} ${y}A${rx} ${ry} 0 0 0 ${right} ${y}" fill="none" stroke="${look.rim}"
      stroke-width="${2.4 * scene.unit}" opacity=".9"/>`
}

/** A pointed leaf of the given length growing from x, y at an angle in degrees. */
export function leaf(x: number, y: number, length: number, angle: number, fill: string, rib: string): string {
  const half = length * 0.21
  return `<g transform="translate(${x} ${y}) rotate(${angle})">
    <path d="M0 0C${length * 0.25} ${-half * 1.5} ${length * 0.72} ${-half} ${length} 0
      C${length * 0.72} ${half} ${length * 0.25} ${half * 1.5} 0 0Z" fill="${fill}"/>
    <path d="M0 0C${length * 0.4} ${-half * 0.16} ${length * 0.7} ${half * 0.1} ${length * 0.97} 0" fill="none"
      stroke="${rib}" stroke-width="${length * 0.012}" opacity=".55"/></g>`
}

/** How one style looks. Each painter returns SVG in the picture's own pixels. */
export interface Style {
  palettes: Palette[]
  /** The backdrop; drawn small and blurred, so for gradients, light and anything out of focus. */
  soft(scene: Scene, palette: Palette): string
  /** What stands in focus behind and below the product. */
  crisp(scene: Scene, palette: Palette): string
  /** Light in front of the product; drawn small and blurred, and only ever brightens. */
  front(scene: Scene, palette: Palette): string
  shadow: { colour: string; opacity: number }
  /** Opacity of the mirror image right below the product. */
  reflection: number
  /** Light on the product itself. */
  ambient: { lit: string; dim: string; strength: number }
  /** Both in units of which a capital is 100 high. */
  lettering: { weight: number; tracking: number }
  /** Factors, 1 being neutral, but `vignette`, which is the darkening of the corners from 0 to 1. */
  grade: { contrast: number; saturation: number; vignette: number }
}
