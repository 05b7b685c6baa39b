/** Modern: calm colour, large plain shapes, a window's light on the wall. */
import { circle, drum, glow, linear, placeHalo, rect, type Style } from '../scenery.ts'

export const modern: Style = {
  palettes: [
    {
      wall: ['#f1ebe2', '#d8cdbf'],
      floor: ['#f3ede4', '#dfd4c6'],
      main: '#cf6f52',
      second: '#f0c4a2',
      ink: '#2d2a26',
      light: '#fff8ec',
    },
    {
      wall: ['#e6ebe8', '#c3cfca'],
      floor: ['#eef1ee', '#d3dcd8'],
      main: '#4f8078',
      second: '#f2bd86',
      ink: '#22312e',
      light: '#fffdf5',
    },
    {
      wall: ['#ebe8f3', '#cdc8e2'],
      floor: ['#f1eff7', '#dad6ea'],
      main: '#6a60c2',
      second: '#f6b8a6',
      ink: '#2a2744',
      light: '#fffaf5',
    },
  ],
  soft: ({ width: w, height: h, unit, light, horizon }, { wall, light: sun }) => {
    const lean = light * 150 * unit
    const panes = [0, 1].flatMap((column) =>
      [0, 1].map((row) => {
        const x = w * (light < 0 ? 0.1 : 0.56) + column * 190 * unit - row * lean * 0.72
        const y = h * 0.06 + row * 250 * unit
        return `<path d="M${x} ${y}h${165 * unit}l${-lean * 0.66} ${225 * unit}h${-165 * unit}Z" fill="${sun}" opacity=".6"/>`
      }),
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
      ${rect(0, 0, w, h, 'url(#wall)')}
      ${glow('sun', light < 0 ? 0 : w, 0, w * 0.8, sun, 0.7)}
      ${rect(0, horizon - 40 * unit, w, 40 * unit, wall[1], 'opacity=".5"')}${panes.join('')}`
  },
  crisp: (scene, { floor, main, second, wall, light: sun }) => {
    const { width: w, height: h, unit, light, horizon, x } = scene
    const halo = placeHalo(scene)
    const { y, r } = halo
    const side = x + light * r * 0.9
    return `${linear(
      'disc',
      'across',
      light < 0
        ? [
            [0, main],
            [1, main, 0.86],
          ]
        : [
            [0, main, 0.86],
            [1, main],
          ],
    )}
      ${linear('floor', 'down', [
        [0, floor[1]],
        [1, floor[0]],
      ])}
      ${linear(
        'block',
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
      ${circle(halo.x - light * r * 0.12, y, r, 'url(#disc)')}
      ${circle(side, y - r * 0.72, r * 0.22, second)}
      ${rect(side - r * 0.28, horizon - r * 0.5, r * 0.5, r * 0.62, 'url(#block)')}
      ${rect(side - r * 0.28, horizon - r * 0.5, r * 0.5, 5 * unit, sun)}
      ${rect(0, horizon, w, h - horizon, 'url(#floor)')}
      ${rect(0, horizon, w, 2 * unit, '#000', 'opacity=".05"')}
      ${drum(scene, { lit: sun, body: floor[0], dim: wall[1], top: floor[0], rim: '#ffffff', height: 96 * unit })}`
  },
  front: ({ width: w, height: h, light }, { light: sun }) =>
    glow('flare', light < 0 ? 0 : w, h * 0.1, w * 0.7, sun, 0.2),
  shadow: { colour: '#2b1d12', opacity: 0.5 },
  reflection: 0.12,
  ambient: { lit: '#fff3e0', dim: '#3a2a20', strength: 0.24 },
  lettering: { weight: 10, tracking: 30 },
  grade: { contrast: 1.04, saturation: 1.04, vignette: 0.14 },
}
