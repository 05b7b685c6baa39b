/** Draws captions with its own single-line alphabet, so that they look the same on a machine without any font. */

export interface Line {
  text: string
  /** In units of which a capital is 100 high. */
  width: number
}

const tail = 'M62 66L98 104'
const ring = 'M50 0A50 50 0 1 1 50 100A50 50 0 1 1 50 0Z'

// Width, then an SVG path; capitals stand on y = 100 and reach y = 0.
const glyphs: Record<string, [width: number, path: string]> = {
  A: [84, 'M0 100L42 0L84 100M15 66H69'],
  B: [58, 'M0 0V100H32A26.5 26.5 0 0 0 32 47H0M0 0V0H28A23.5 23.5 0 0 1 28 47'],
  C: [86, 'M86 16A50 50 0 1 0 86 84'],
  D: [80, 'M0 0V100H30A50 50 0 0 0 30 0Z'],
  E: [54, 'M54 0H0V100H54M0 48H47'],
  F: [50, 'M50 0H0V100M0 48H43'],
  G: [100, 'M86 16A50 50 0 1 0 99.6 56H58'],
  H: [72, 'M0 0V100M72 0V100M0 48H72'],
  I: [0, 'M0 0V100'],
  J: [40, 'M40 0V78A20 22 0 0 1 0 78'],
  K: [62, 'M0 0V100M60 0L0 58M20 39L64 100'],
  L: [46, 'M0 0V100H46'],
  M: [92, 'M0 100L12 0L46 76L80 0L92 100'],
  N: [76, 'M0 100V0L76 100V0'],
  O: [100, ring],
  P: [56, 'M0 100V0H28A28 28 0 0 1 28 56H0'],
  Q: [100, ring + tail],
  R: [60, 'M0 100V0H28A27 27 0 0 1 28 54H0M26 54L60 100'],
  S: [
    56,
    'M52 16C46 5 37 0 28 0C13 0 4 10 4 24C4 40 17 45 29 49C43 54 55 60 55 76C55 90 44 100 28 100C14 100 5 92 0 80',
  ],
  T: [64, 'M0 0H64M32 0V100'],
  U: [70, 'M0 0V66A35 34 0 0 0 70 66V0'],
  V: [80, 'M0 0L40 100L80 0'],
  W: [120, 'M0 0L30 100L60 0L90 100L120 0'],
  X: [70, 'M0 0L70 100M70 0L0 100'],
  Y: [70, 'M0 0L35 50L70 0M35 50V100'],
  Z: [64, 'M0 0H64L0 100H64'],
  '0': [66, 'M33 0A33 50 0 1 1 33 100A33 50 0 1 1 33 0Z'],
  '1': [22, 'M0 16L22 0V100'],
  '2': [58, 'M2 28A28 28 0 1 1 50 46L0 100H58'],
  '3': [
    56,
    'M4 12C9 4 17 0 26 0C40 0 49 10 49 23C49 37 38 46 22 47C42 47 55 57 55 73C55 89 43 100 26 100C13 100 4 94 0 84',
  ],
  '4': [66, 'M50 100V0L0 70H66'],
  '5': [58, 'M52 0H14L9 44C15 40 22 38 29 38C46 38 57 51 57 69C57 87 45 100 27 100C14 100 5 94 0 84'],
  '6': [62, 'M44 0L6 54M31 40A30 30 0 1 1 31 100A30 30 0 1 1 31 40Z'],
  '7': [56, 'M0 0H56L16 100'],
  '8': [56, 'M28 0A23 23 0 1 1 28 46A23 23 0 1 1 28 0ZM28 46A27 27 0 1 1 28 100A27 27 0 1 1 28 46Z'],
  '9': [62, 'M31 0A30 30 0 1 1 31 60A30 30 0 1 1 31 0ZM56 46L18 100'],
  '&': [
    76,
    'M76 100L20 30C12 16 20 0 35 0C50 0 56 16 44 29C32 41 2 48 2 74C2 90 14 100 31 100C52 100 67 82 73 60',
  ],
  '+': [48, 'M0 56H48M24 32V80'],
  '-': [32, 'M0 56H32'],
  '/': [40, 'M0 108L40 -8'],
  '.': [4, 'M2 98h.1'],
  ',': [6, 'M5 96L0 114'],
  ':': [4, 'M2 40h.1M2 98h.1'],
  '!': [4, 'M2 0V68M2 98h.1'],
  '?': [50, 'M0 24A25 24 0 1 1 36 46C29 50 25 55 25 67M25 98h.1'],
  "'": [2, 'M1 0V22'],
  '%': [
    84,
    'M70 0L14 100M18 4A18 18 0 1 1 18 40A18 18 0 1 1 18 4ZM66 60A18 18 0 1 1 66 96A18 18 0 1 1 66 60Z',
  ],
  $: [
    56,
    'M52 16C46 5 37 0 28 0C13 0 4 10 4 24C4 40 17 45 29 49C43 54 55 60 55 76C55 90 44 100 28 100C14 100 5 92 0 80M28 -14V114',
  ],
  '€': [86, 'M86 16A50 50 0 1 0 86 84M-8 40H62M-8 60H62'],
  ' ': [36, ''],
}

// Combining marks after canonical decomposition, drawn around the middle of the letter.
const marks: Record<string, string> = {
  '\u0300': 'M-12 -34L8 -16',
  '\u0301': 'M12 -34L-8 -16',
  '\u0302': 'M-16 -16L0 -34L16 -16',
  '\u0303': 'M-20 -18C-12 -36 -2 -30 2 -26C8 -20 14 -20 20 -34',
  '\u0304': 'M-18 -24H18',
  '\u0308': 'M-16 -24h.1M16 -24h.1',
  '\u030a': 'M0 -38A11 11 0 1 1 0 -16A11 11 0 1 1 0 -38Z',
  '\u030c': 'M-16 -34L0 -16L16 -34',
  '\u0327': 'M0 102C10 112 8 126 -8 124',
}

const spelledOut: Record<string, string> = {
  ß: 'SS',
  ẞ: 'SS',
  Æ: 'AE',
  Œ: 'OE',
  Ø: 'O',
  Ł: 'L',
  Đ: 'D',
  Ð: 'D',
  Þ: 'TH',
  '’': "'",
  '‘': "'",
  '–': '-',
  '—': '-',
  '−': '-',
  '×': 'X',
}

/** Upper case, decomposed, and only what the alphabet can draw; other scripts and emoji become gaps. */
export function toDrawable(text: string): string {
  const upper = text.normalize('NFKC').toUpperCase()
  const plain = Array.from(upper, (letter) => spelledOut[letter] ?? letter).join('')
  const known = Array.from(plain.normalize('NFD'), (c) =>
    c in glyphs || c in marks ? c : /\p{M}/u.test(c) ? '' : ' ',
  )
  return known
    .join('')
    .replace(/ +/g, ' ')
    .replace(/(^|[ ])[\u0300-\u036f]+/g, '$1')
    .trim()
}

/** The width of drawable text, in units of which a capital is 100 high. */
export function measure(text: string, tracking: number): number {
  let width = 0
  for (const c of text) if (c in glyphs) width += (glyphs[c]?.[0] ?? 0) + tracking
  return Math.max(0, width - tracking)
}

/** Breaks drawable text into at most `maxLines` lines no wider than `maxWidth`; what doesn't fit is left out. */
export function wrap(text: string, tracking: number, maxWidth: number, maxLines: number): Line[] {
  const words = text.split(' ').flatMap((word) => {
    const parts = ['']
    for (const c of word) {
      const last = parts.at(-1) ?? ''
      if (c in glyphs && measure(last + c, tracking) > maxWidth) parts.push(c)
      else parts[parts.length - 1] = last + c
    }
    return parts
  })
  const lines: string[] = []
  for (const word of words) {
    const joined = `${lines.at(-1) ?? ''} ${word}`.trim()
    if (lines.length > 0 && measure(joined, tracking) <= maxWidth) lines[lines.length - 1] = joined
    else if (lines.length < maxLines) lines.push(word)
    else break
  }
  return lines.map((line) => ({ text: line, width: measure(line, tracking) }))
}

/** An SVG path of one line of drawable text with its top left at 0, 0 and capitals 100 high. */
export function trace(text: string, tracking: number): string {
  let x = 0
  let middle = 0
  let svg = ''
  for (const c of text) {
    const glyph = glyphs[c]
    if (glyph) {
      if (glyph[1]) svg += `<path transform="translate(${x} 0)" d="${glyph[1]}"/>`
      middle = x + glyph[0] / 2
      x += glyph[0] + tracking
    } else {
      svg += `<path transform="translate(${middle} 0)" d="${marks[c] ?? ''}"/>`
    }
  }
  return svg
}
