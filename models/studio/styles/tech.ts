/** Tech: a night stage with neon, a grid that runs to the horizon and a glossy floor. */
import {
  circle,
  drum,
  ellipse,
  glow,
  linear,
  placeHalo,
  radial,
  rect,
  type Style,
  tilt,
  times,
} from '../scenery.ts'

export const tech: Style = {
  palettes: [
    {
      wall: ['#18235f', '#050817'],
      floor: ['#04060f', '#141c4d'],
      main: '#2fd4ff',
      second: '#b04dff',
      ink: '#dff6ff',
      light: '#9be9ff',
    },
    {
      wall: ['#0c3d48', '#03090d'],
      floor: ['#020709', '#0a2f38'],
      main: '#2dffc0',
      second: '#2b8cff',
      ink: '#dcfff4',
      light: '#a5ffe4',
    },
    {
      wall: ['#35175e', '#0a0515'],
      floor: ['#07030f', '#2a124b'],
      main: '#ff7d4d',
      second: '#7d4dff',
      ink: '#ffeadf',
      light: '#ffc2a3',
    },
  ],
  soft: (scene, { wall, floor, main, second }) => {
    const { width: w, height: h, unit, x, horizon } = scene
    const halo = placeHalo(scene)
    const { y, r } = halo
    return `${linear('wall', 'down', [
      [0, wall[1]],
      [1, wall[0]],
    ])}${rect(0, 0, w, h, 'url(#wall)')}
      ${glow('left', 0, h * 0.4, w * 0.62, second, 0.62)}${glow('right', w, h * 0.34, w * 0.62, main, 0.42)}
      ${circle(halo.x, y, r, 'none', `stroke="${main}" stroke-width="${34 * unit}" opacity=".75"`)}
      ${glow('core', halo.x, y, r * 1.5, second, 0.5)}
      ${linear('floor', 'down', [
        [0, floor[1]],
        [0.5, floor[0]],
      ])}${rect(0, horizon, w, h - horizon, 'url(#floor)')}
      ${glow('spill', x, horizon + 60 * unit, w * 0.5, main, 0.4)}`
  },
  crisp: (scene, { wall, floor, main, second, light: bright }) => {
    const { width: w, height: h, unit, x, base, horizon, radius, random, ceiling, light } = scene
    const halo = placeHalo(scene)
    const { y, r } = halo
    const rows = times(11, (i) => {
      const at = horizon + (h - horizon) * (i / 10) ** 2.1
      return `<path d="M0 ${at}H${w}" opacity="${0.16 + i * 0.05}"/>`
    })
    const columns = times(
      25,
      (i) => `<path d="M${x + (i - 12) * 42 * unit} ${horizon}L${x + (i - 12) * 250 * unit} ${h}"/>`,
    )
    const tubes = [0.06, 0.115, 0.885, 0.94].map((at, i) => {
      const top = Math.max(ceiling, h * (0.08 + random() * 0.2))
      // In landscape, the lit side belongs to the caption.
      if (w > h && at < 0.5 === light < 0) return ''
      return `<path d="M${w * at} ${top}V${horizon - 26 * unit}" stroke="${i % 2 ? second : main}" opacity=".85"/>`
    })
    const ticks = times(72, (i) =>
      i % 18 < 12
        ? `<path d="M0 ${-r * 1.12}v${(i % 6 ? 7 : 16) * unit}" transform="translate(${halo.x} ${y}) rotate(${i * 5})"/>`
        : '',
    )
    const ry = radius * tilt
    return `${linear('fade', 'down', [
      [0, main, 0],
      [0.25, main, 0.55],
      [1, main, 0.9],
    ])}
      ${radial('mirror', [
        [0, floor[0], 0.9],
        [1, floor[0], 0],
      ])}
      <g stroke="url(#fade)" stroke-width="${1.3 * unit}" fill="none">
        <g stroke="${main}" opacity=".55">${rows}</g><g stroke="${main}" opacity=".3">${columns}</g></g>
      <path d="M0 ${horizon}H${w}" stroke="${bright}" stroke-width="${2 * unit}" opacity=".7"/>
      <g stroke-width="${5 * unit}" stroke-linecap="round">${tubes.join('')}</g>
      ${circle(halo.x, y, r, 'none', `stroke="${bright}" stroke-width="${5 * unit}"`)}
      ${circle(halo.x, y, r * 0.93, 'none', `stroke="${second}" stroke-width="${1.4 * unit}" opacity=".8"`)}
      <g stroke="${bright}" stroke-width="${1.6 * unit}" opacity=".55">${ticks}</g>
      ${ellipse(x, base + 70 * unit, radius * 1.9, radius * 0.52, 'url(#mirror)')}
      ${drum(scene, { lit: wall[0], body: '#0a0f26', dim: '#03050c', top: '#080c1c', rim: bright, height: 58 * unit, scale: 1.08 })}
      ${ellipse(x, base - ry * 0.45, radius * 0.92, ry * 0.92, 'none', `stroke="${main}" stroke-width="${3 * unit}" opacity=".95"`)}
      <path d="M${x - radius * 1.08} ${base - ry * 0.45 + 52 * unit}a${radius * 1.08} ${ry * 1.08} 0 0 0 ${radius * 2.16} 0"
        stroke="${main}" stroke-width="${3.4 * unit}" fill="none"/>`
  },
  front: ({ width: w, unit, x, base, radius, random, height: h }, { main, second }) =>
    `${glow('under', x, base + 20 * unit, radius * 1.5, main, 0.3)}
    ${times(18, (i) => glow(`spark${i}`, random() * w, random() * h * 0.75, (8 + random() * 9) * unit, i % 2 ? main : second, 0.6))}`,
  shadow: { colour: '#01020a', opacity: 0.7 },
  reflection: 0.34,
  ambient: { lit: '#8fe6ff', dim: '#14063a', strength: 0.4 },
  lettering: { weight: 9, tracking: 44 },
  grade: { contrast: 1.08, saturation: 1.1, vignette: 0.24 },
}
