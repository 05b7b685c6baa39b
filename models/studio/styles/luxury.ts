/** Luxury: a dark stage, velvet folds, thin gold and a single spotlight. */
import { circle, drum, glow, linear, placeHalo, radial, rect, type Style, times } from '../scenery.ts'

export const luxury: Style = {
  palettes: [
    {
      wall: ['#2b241d', '#0b0908'],
      floor: ['#0a0807', '#1d1712'],
      main: '#d9b56c',
      second: '#8d6a32',
      ink: '#ecd9ae',
      light: '#ffe9b8',
    },
    {
      wall: ['#12382c', '#04110d'],
      floor: ['#030c09', '#0d2a21'],
      main: '#dcc07f',
      second: '#8c7338',
      ink: '#efe2bd',
      light: '#fff0c4',
    },
    {
      wall: ['#43162a', '#14050b'],
      floor: ['#0f0408', '#2e0f1c'],
      main: '#e3b08f',
      second: '#94604a',
      ink: '#f4d9c6',
      light: '#ffe2cd',
    },
  ],
  soft: (
    { width: w, height: h, unit, light, x, base, productHeight, random },
    { wall, second, light: sun },
  ) => {
    const folds = times(Math.ceil(w / (74 * unit)) + 1, (i) => {
      const at = i * 74 * unit + (random() - 0.5) * 34 * unit
      const width = (30 + random() * 34) * unit
      return rect(
        at,
        0,
        width,
        h,
        i % 2 ? '#000' : wall[0],
        `opacity="${(0.34 + random() * 0.4).toFixed(2)}"`,
      )
    })
    const top = x + light * w * 0.3
    // Three cones inside one another, so that the beam has no edge.
    const beam = times(
      3,
      (
        i,
      ) => `<path d="M${top} ${-160 * unit}L${x + (210 + i * 60) * unit} ${base}H${x - (210 + i * 60) * unit}Z"
      fill="url(#beam)" opacity=".3"/>`,
    )
    return `${rect(0, 0, w, h, wall[1])}${folds}
      ${glow('halo', x, base - productHeight * 0.6, Math.max(w, h) * 0.6, wall[0], 1)}
      ${glow('halo2', x, base - productHeight * 0.5, productHeight * 1.25, second, 0.72)}
      ${linear('beam', 'down', [
        [0, sun, 0.42],
        [0.8, sun, 0.1],
        [1, sun, 0],
      ])}${beam}
      ${radial('edges', [
        [0, '#000', 0],
        [0.6, '#000', 0.06],
        [1, '#000', 0.5],
      ])}${rect(0, 0, w, h, 'url(#edges)')}`
  },
  crisp: (scene, { floor, main, second, light: sun }) => {
    const { width: w, height: h, unit, horizon, x, base, radius } = scene
    const halo = placeHalo(scene)
    const { y, r } = halo
    const gold = linear('gold', 'down', [
      [0, sun],
      [0.35, main],
      [0.7, second],
      [1, main],
    ])
    const inset = 26 * unit
    return `${gold}
      ${linear('floor', 'down', [
        [0, floor[1]],
        [0.25, floor[0]],
        [1, '#000'],
      ])}
      ${radial('pool', [
        [0, sun, 0.3],
        [1, sun, 0],
      ])}
      ${circle(halo.x, y, r, 'none', `stroke="url(#gold)" stroke-width="${3.2 * unit}"`)}
      ${circle(halo.x, y, r + 16 * unit, 'none', `stroke="url(#gold)" stroke-width="${1.1 * unit}" opacity=".7"`)}
      ${rect(0, horizon, w, h - horizon, 'url(#floor)')}
      ${rect(0, horizon, w, 1.6 * unit, 'url(#gold)', 'opacity=".5"')}
      <ellipse cx="${x}" cy="${base + 50 * unit}" rx="${radius * 2.1}" ry="${radius * 0.5}" fill="url(#pool)"/>
      ${drum(scene, { lit: floor[1], body: '#0c0a09', dim: '#000', top: '#14100d', rim: main, height: 54 * unit, scale: 1.2, drop: 22 * unit })}
      ${drum(scene, { lit: sun, body: main, dim: second, top: '#1a1410', rim: sun, height: 20 * unit })}
      ${rect(inset, inset, w - inset * 2, h - inset * 2, 'none', `stroke="url(#gold)" stroke-width="${1.2 * unit}" opacity=".55"`)}`
  },
  front: ({ width: w, height: h, unit, x, base, random }, { light: sun }) =>
    times(26, (i) => {
      const near = random()
      return glow(
        `dust${i}`,
        x + (random() - 0.5) * w * 0.95,
        base - random() * h * 0.72 + h * 0.1,
        (9 + near * near * 26) * unit,
        sun,
        0.1 + (1 - near) * 0.42,
      )
    }),
  shadow: { colour: '#000000', opacity: 0.72 },
  reflection: 0.3,
  ambient: { lit: '#ffe2a8', dim: '#050304', strength: 0.42 },
  lettering: { weight: 6, tracking: 56 },
  grade: { contrast: 1.08, saturation: 1.02, vignette: 0.3 },
}
