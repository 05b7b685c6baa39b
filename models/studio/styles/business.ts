/** Business: order and daylight, rising columns, a clean desk and one strong colour. */
import { glow, linear, rect, type Style, times } from '../scenery.ts'

export const business: Style = {
  palettes: [
    {
      wall: ['#f4f7fb', '#c6d3e3'],
      floor: ['#f7f9fc', '#d6e0ec'],
      main: '#14395f',
      second: '#2f7fd1',
      ink: '#12304f',
      light: '#ffffff',
    },
    {
      wall: ['#f1f6f6', '#bfd0d2'],
      floor: ['#f6f9f9', '#d2dfe0'],
      main: '#154449',
      second: '#1fa39a',
      ink: '#123a3f',
      light: '#ffffff',
    },
    {
      wall: ['#f5f4f2', '#cfcbc6'],
      floor: ['#f9f8f6', '#dfdbd6'],
      main: '#2b2f36',
      second: '#e09a2b',
      ink: '#23272e',
      light: '#fffdf8',
    },
  ],
  soft: ({ width: w, height: h, unit, light, horizon }, { wall, light: day }) => {
    const from = light < 0 ? 0 : w
    return `${linear('wall', 'down', [
      [0, wall[0]],
      [1, wall[1]],
    ])}${rect(0, 0, w, h, 'url(#wall)')}
      ${glow('day', from, 0, Math.max(w, h) * 0.8, day, 1)}
      ${times(
        3,
        (
          i,
        ) => `<path d="M${from - light * (i * 190 - 60) * unit} 0h${95 * unit}L${from - light * (i * 190 + 420) * unit} ${horizon}h${-150 * unit}Z"
        fill="${day}" opacity=".5"/>`,
      )}`
  },
  crisp: (scene, { wall, floor, main, second }) => {
    const { width: w, height: h, unit, light, horizon, x, base, radius } = scene
    const count = 6
    const stride = w / (count + 0.4)
    const columns = times(count, (i) => {
      const rank = light < 0 ? i : count - 1 - i
      const height = horizon * 0.16 + horizon * 0.095 * rank
      const left = stride * (i + 0.34)
      return `${rect(left, horizon - height, stride * 0.56, height, 'url(#column)')}
        ${rect(left + (light < 0 ? stride * 0.44 : 0), horizon - height, stride * 0.12, height, main, 'opacity=".1"')}
        ${rect(left, horizon - height, stride * 0.56, 3 * unit, rank === count - 1 ? second : '#fff')}`
    })
    const far = light < 0 ? w : 0
    const band = (offset: number, width: number, fill: string, more = '') =>
      `<path d="M${far + light * offset * unit} 0h${light * width * unit}L${far + light * (offset + width - 300) * unit} ${horizon}h${-light * width * unit}Z" fill="${fill}" ${more}/>`
    const dots = times(
      40,
      (i) => `<circle cx="${(light < 0 ? w * 0.06 : w * 0.94) - light * (i % 8) * 22 * unit}"
      cy="${horizon - (70 + Math.floor(i / 8) * 22) * unit}" r="${2.4 * unit}"/>`,
    )
    const half = radius * 1.08
    const top = base - 74 * unit
    const foot = base + 34 * unit
    const front = base + 118 * unit
    return `${linear('column', 'down', [
      [0, '#fff', 0.9],
      [1, wall[1], 0.75],
    ])}
      ${columns}
      ${band(120, 46, second)}${band(-60, 170, main)}
      <g fill="${second}" opacity=".5">${dots}</g>
      ${linear('desk', 'down', [
        [0, floor[1]],
        [1, floor[0]],
      ])}${rect(0, horizon, w, h - horizon, 'url(#desk)')}
      ${rect(0, horizon, w, 2 * unit, '#fff', 'opacity=".9"')}
      ${linear('shade', 'down', [
        [0, main, 0.34],
        [1, main, 0],
      ])}
      <path d="M${x - half} ${front}h${half * 2}l${-light * 150 * unit} ${60 * unit}h${-half * 2}Z" fill="url(#shade)"/>
      ${linear('face', 'down', [
        [0, main],
        [1, main, 0.93],
      ])}
      ${rect(x - half, foot, half * 2, front - foot, 'url(#face)')}
      ${rect(x - half, foot + 26 * unit, half * 2, 7 * unit, second)}
      ${linear(
        'slab',
        'across',
        light < 0
          ? [
              [0, '#fff'],
              [1, wall[1]],
            ]
          : [
              [0, wall[1]],
              [1, '#fff'],
            ],
      )}
      <path d="M${x - half} ${foot}L${x - half * 0.82} ${top}H${x + half * 0.82}L${x + half} ${foot}Z" fill="url(#slab)"/>
      ${rect(x - half, foot - 1.5 * unit, half * 2, 3 * unit, '#fff')}`
  },
  front: ({ width: w, height: h, light }, { light: day }) =>
    glow('flare', light < 0 ? 0 : w, 0, Math.max(w, h) * 0.6, day, 0.25),
  shadow: { colour: '#0b1c30', opacity: 0.5 },
  reflection: 0.18,
  ambient: { lit: '#ffffff', dim: '#0a2340', strength: 0.22 },
  lettering: { weight: 12, tracking: 22 },
  grade: { contrast: 1.05, saturation: 1.03, vignette: 0.1 },
}
