/** Fresh: morning light, leaves, water drops and a pale stand in clear colours. */
import { circle, drum, ellipse, glow, leaf, linear, radial, rect, type Style, times } from '../scenery.ts'

export const fresh: Style = {
  palettes: [
    {
      wall: ['#f0fbf4', '#aee3cd'],
      floor: ['#e9f9f1', '#bfe9d8'],
      main: '#3d9d74',
      second: '#7cc7a2',
      ink: '#17533d',
      light: '#ffffff',
    },
    {
      wall: ['#eef9fe', '#a5dbf3'],
      floor: ['#eaf7fd', '#bde4f5'],
      main: '#4aa16a',
      second: '#8fd0a0',
      ink: '#15506b',
      light: '#fffef0',
    },
    {
      wall: ['#fbfce6', '#cdea9f'],
      floor: ['#f6fbe0', '#d9efb5'],
      main: '#5f9f3f',
      second: '#a3cf6c',
      ink: '#2f5a1d',
      light: '#fffff4',
    },
  ],
  soft: ({ width: w, height: h, unit, light, horizon, random }, { wall, floor, main, light: sun }) => {
    const corner = light < 0 ? 0 : w
    return `${linear('sky', 'down', [
      [0, wall[1]],
      [0.75, wall[0]],
    ])}${rect(0, 0, w, h, 'url(#sky)')}
      ${glow('sun', corner, 0, Math.max(w, h) * 0.75, sun, 1)}
      <g opacity=".34">${times(5, (i) =>
        leaf(
          w - corner,
          h * 0.12 * i - h * 0.04,
          (330 + random() * 120) * unit,
          (light < 0 ? 180 : 0) + (random() - 0.5) * 70,
          main,
          main,
        ),
      )}</g>
      ${times(16, (i) => glow(`spot${i}`, random() * w, random() * horizon, (18 + random() * 52) * unit, sun, 0.55))}
      ${linear('floor', 'down', [
        [0, floor[1]],
        [1, floor[0]],
      ])}${rect(0, horizon, w, h - horizon, 'url(#floor)')}`
  },
  crisp: (scene, { main, second, wall, light: sun }) => {
    const { width: w, height: h, unit, light, x, base, radius, random, productHeight } = scene
    const side = light < 0 ? w : 0
    const drops = times(20, () => {
      const r = (4 + random() ** 2 * 15) * unit
      const angle = random() * Math.PI
      const away = radius * (1.3 + random() * 1.1)
      const dx = x + Math.cos(angle) * away
      const dy = base + 70 * unit + Math.sin(angle) * away * 0.24 * (random() > 0.5 ? 1 : -0.4)
      return `${ellipse(dx + r * 0.2, dy + r * 0.42, r * 1.1, r * 0.5, main, 'opacity=".28"')}
        ${ellipse(dx, dy, r, r * 0.74, 'url(#drop)')}
        ${ellipse(dx + light * r * 0.4, dy - r * 0.28, r * 0.24, r * 0.15, '#fff', 'opacity=".95"')}`
    })
    const sprig = (from: number, y: number, turn: number, size: number) =>
      times(5, (i) =>
        leaf(
          from,
          y,
          size * (1 - i * 0.08),
          turn + (i - 2) * 27 + (random() - 0.5) * 10,
          i % 2 ? main : second,
          wall[0],
        ),
      )
    const bubbles = times(9, () => {
      const r = (8 + random() * 24) * unit
      return circle(
        x + (random() - 0.5) * w * 0.9,
        base - productHeight * (0.4 + random() * 1.1),
        r,
        'url(#drop)',
        `stroke="${sun}" stroke-width="${unit}" stroke-opacity=".7"`,
      )
    })
    return `${radial(
      'drop',
      [
        [0, '#fff', 0.05],
        [0.7, wall[1], 0.35],
        [1, '#fff', 0.75],
      ],
      'cx=".5" cy=".45" r=".55"',
    )}
      ${bubbles}
      ${sprig(side, base + 30 * unit, light < 0 ? 205 : -25, 230 * unit)}
      ${times(3, (i) =>
        ellipse(
          x,
          base + 84 * unit,
          radius * (1.35 + i * 0.32),
          radius * (0.3 + i * 0.085),
          'none',
          `stroke="${sun}" stroke-width="${(3 - i * 0.7) * unit}" opacity="${0.8 - i * 0.2}"`,
        ),
      )}
      ${drum(scene, { lit: '#ffffff', body: wall[0], dim: wall[1], top: '#ffffff', rim: '#ffffff', height: 62 * unit })}
      ${drops}
      ${sprig(w - side, h + 20 * unit, light < 0 ? -38 : 218, 250 * unit)}`
  },
  front: ({ width: w, height: h, unit, light, random }, { light: sun }) =>
    `${glow('flare', light < 0 ? 0 : w, 0, Math.max(w, h) * 0.7, sun, 0.42)}
    ${times(6, (i) => glow(`float${i}`, random() * w, random() * h, (14 + random() * 40) * unit, sun, 0.4))}`,
  shadow: { colour: '#0f4a3a', opacity: 0.42 },
  reflection: 0.16,
  ambient: { lit: '#ffffff', dim: '#0d5a48', strength: 0.2 },
  lettering: { weight: 11, tracking: 26 },
  grade: { contrast: 1.03, saturation: 1.1, vignette: 0.06 },
}
