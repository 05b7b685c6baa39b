/** Warm: late sun through a window, the shade of a branch, a wooden table. */
import { ellipse, glow, leaf, linear, radial, rect, type Style, times } from '../scenery.ts'

export const warm: Style = {
  palettes: [
    {
      wall: ['#fbe3c4', '#d98f5c'],
      floor: ['#b9733d', '#8a4f26'],
      main: '#7d4a24',
      second: '#e8a05e',
      ink: '#5a2f12',
      light: '#fff0cf',
    },
    {
      wall: ['#fdedc6', '#dca851'],
      floor: ['#a86a33', '#75431b'],
      main: '#6e4a1c',
      second: '#f0c062',
      ink: '#583a0e',
      light: '#fff6d8',
    },
    {
      wall: ['#f9dcd0', '#cd8573'],
      floor: ['#a9664f', '#77402f'],
      main: '#74402f',
      second: '#eaa48d',
      ink: '#5c2a1c',
      light: '#ffeadb',
    },
  ],
  soft: ({ width: w, height: h, unit, light, horizon, random }, { wall, main, light: sun }) => {
    const near = light < 0 ? 0 : w
    const bars = times(6, (i) => {
      const y = h * 0.02 + i * 118 * unit
      const slope = 190 * unit
      return `<path d="M0 ${y + (light < 0 ? 0 : slope)}L${w} ${y + (light < 0 ? slope : 0)}v${62 * unit}L0 ${y + 62 * unit + (light < 0 ? 0 : slope)}Z"
        fill="${sun}" opacity=".4"/>`
    })
    const branch = times(9, (i) =>
      leaf(
        w - near + light * i * 58 * unit,
        h * 0.02 + i * 34 * unit,
        (150 + random() * 70) * unit,
        (light < 0 ? 150 : 30) + (i % 2 ? 52 : -52) + (random() - 0.5) * 26,
        main,
        main,
      ),
    )
    return `${linear(
      'wall',
      'across',
      light < 0
        ? [
            [0, wall[0]],
            [1, wall[1]],
          ]
        : [
            [0, wall[1]],
            [1, wall[0]],
          ],
    )}
      ${rect(0, 0, w, h, 'url(#wall)')}${glow('sun', near, h * 0.18, Math.max(w, h) * 0.72, sun, 0.95)}${bars}
      <g opacity=".34">${branch}</g>
      ${linear('low', 'down', [
        [0, main, 0],
        [1, main, 0.4],
      ])}${rect(0, horizon - 150 * unit, w, 150 * unit, 'url(#low)')}`
  },
  crisp: (scene, { floor, main, second, light: sun }) => {
    const { width: w, height: h, unit, light, horizon, x, base, radius, random } = scene
    const depth = h - horizon
    const planks = times(4, (i) => {
      const top = horizon + depth * (i / 4) ** 1.35
      const foot = horizon + depth * ((i + 1) / 4) ** 1.35
      const grain = times(9, () => {
        const y = top + random() * (foot - top)
        const wave = (random() - 0.5) * 12 * unit
        return `<path d="M${-20} ${y}C${w * 0.3} ${y + wave} ${w * 0.6} ${y - wave} ${w + 20} ${y + wave * 0.4}"
          stroke="${random() > 0.45 ? main : second}" opacity="${(0.1 + random() * 0.2).toFixed(2)}"/>`
      })
      return `${rect(0, top, w, foot - top, random() > 0.5 ? main : second, `opacity="${(0.06 + random() * 0.12).toFixed(2)}"`)}
        <g fill="none" stroke-width="${1.6 * unit}">${grain}</g>
        ${rect(0, foot - 2 * unit, w, 2.4 * unit, main, 'opacity=".6"')}${rect(0, foot + 0.4 * unit, w, unit, sun, 'opacity=".22"')}`
    })
    const rx = radius * 1.16
    const ry = rx * 0.2
    const y = base - ry * 0.4
    const board = (dy: number, fill: string) => ellipse(x, y + dy, rx, ry, fill)
    return `${linear('table', 'down', [
      [0, floor[1]],
      [1, floor[0]],
    ])}${rect(0, horizon, w, depth, 'url(#table)')}${planks}
      ${rect(0, horizon, w, 3 * unit, sun, 'opacity=".4"')}
      ${radial('pool', [
        [0, sun, 0.6],
        [1, sun, 0],
      ])}
      ${ellipse(x + light * 120 * unit, base + 20 * unit, w * 0.42, depth * 0.42, 'url(#pool)')}
      ${radial('cast', [
        [0, '#2a1204', 0.62],
        [0.7, '#2a1204', 0.36],
        [1, '#2a1204', 0],
      ])}
      ${ellipse(x - light * rx * 0.3, y + 30 * unit, rx * 1.4, ry * 1.7, 'url(#cast)')}
      ${linear(
        'bark',
        'across',
        light < 0
          ? [
              [0, '#d59c60'],
              [0.5, '#b0733c'],
              [1, '#6f4220'],
            ]
          : [
              [0, '#6f4220'],
              [0.5, '#b0733c'],
              [1, '#d59c60'],
            ],
      )}
      ${radial('cut', [
        [0, '#f3cf9c'],
        [0.75, '#dcab6d'],
        [0.76, '#c8935a'],
        [1, '#d9a768'],
      ])}
      <path d="M${x - rx} ${y}v${26 * unit}a${rx} ${ry} 0 0 0 ${rx * 2} 0v${-26 * unit}Z" fill="url(#bark)"/>
      ${board(0, 'url(#cut)')}
      ${times(4, (i) => ellipse(x + 8 * unit, y, rx * (0.2 + i * 0.19), ry * (0.2 + i * 0.19), 'none', `stroke="${main}" stroke-width="${unit}" opacity=".2"`))}
      <path d="M${x - rx} ${y}a${rx} ${ry} 0 0 0 ${rx * 2} 0" fill="none" stroke="#f8dfb6" stroke-width="${2 * unit}" opacity=".8"/>`
  },
  front: ({ width: w, height: h, unit, light, random }, { light: sun, second }) =>
    `${glow('flare', light < 0 ? 0 : w, h * 0.12, Math.max(w, h) * 0.72, second, 0.42)}
    ${times(9, (i) =>
      glow(
        `bokeh${i}`,
        (light < 0 ? random() * 0.5 : 0.5 + random() * 0.5) * w,
        random() * h * 0.6,
        (16 + random() * 44) * unit,
        sun,
        0.24,
      ),
    )}`,
  shadow: { colour: '#2a1204', opacity: 0.6 },
  reflection: 0.1,
  ambient: { lit: '#ffd9a0', dim: '#3a1606', strength: 0.36 },
  lettering: { weight: 10, tracking: 28 },
  grade: { contrast: 1.05, saturation: 1.08, vignette: 0.22 },
}
