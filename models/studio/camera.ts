/** Moves the camera over a still picture: where it starts and ends, and the same as a filter of ffmpeg's. */
import { getShape, type Take } from './layout.ts'
import { createRandom } from './scenery.ts'

/** What the camera sees, in shares of the picture: both sides are `size` long. */
interface View {
  left: number
  top: number
  size: number
}

export interface Move {
  from: View
  to: View
}

const maxZoom = 0.11
const minMargin = 0.04

/** How much of each side can go out of sight without touching caption or product. */
function findSlack(width: number, height: number, { at, room, text, textWidth, align }: Take) {
  const start = text[0] - textWidth * { start: 0, middle: 0.5, end: 1 }[align]
  const left = Math.min(start, at[0] - room[0] / 2)
  const right = Math.max(start + textWidth, at[0] + room[0] / 2)
  const top = getShape(width, height) === 'landscape' ? at[1] - room[1] : text[1]
  const spare = (share: number) => Math.max(0.005, share - minMargin)
  return { left: spare(left), right: spare(1 - right), top: spare(top), bottom: spare(1 - at[1]) }
}

/** Pushes in, pulls back, or drifts in from a side, as the seed says; caption and product stay in sight. */
export function planMove(width: number, height: number, take: Take, seed: number): Move {
  const slack = findSlack(width, height, take)
  const [across, down] = [slack.left + slack.right, slack.top + slack.bottom]
  const zoom = Math.min(maxZoom, across, down)
  const near: View = {
    left: (zoom * slack.left) / across,
    top: (zoom * slack.top) / down,
    size: 1 - zoom,
  }
  const wide: View = { left: 0, top: 0, size: 1 }
  const half = zoom / 2
  const beside = (left: number): View => ({ left, top: (half * slack.top) / down, size: 1 - half })
  const moves: Move[] = [
    { from: wide, to: near },
    { from: near, to: wide },
    { from: beside(Math.max(0, half - slack.right)), to: near },
    { from: beside(Math.min(half, slack.left)), to: near },
  ]
  return moves[Math.floor(createRandom(seed)() * moves.length)] as Move
}

/** From the whole picture towards its middle, a little to a side as the seed says. */
export function planPush(seed: number): Move {
  const zoom = 0.14
  const random = createRandom(seed)
  const aside = () => zoom * (0.35 + random() * 0.3)
  return { from: { left: 0, top: 0, size: 1 }, to: { left: aside(), top: aside(), size: 1 - zoom } }
}

/** Not `zoompan`, which steps from pixel to pixel: this one blends between them, so a slow move doesn't jitter. */
export function toFilter({ from, to }: Move, frames: number): string {
  const ease = `(1-cos(PI*min(1,on/${frames})))/2`
  const between = (side: string, start: number, end: number) =>
    `'${side}*(${start.toFixed(5)}+${(end - start).toFixed(5)}*${ease})'`
  const left = between('W', from.left, to.left)
  const right = between('W', from.left + from.size, to.left + to.size)
  const top = between('H', from.top, to.top)
  const bottom = between('H', from.top + from.size, to.top + to.size)
  return `perspective=x0=${left}:y0=${top}:x1=${right}:y1=${top}:x2=${left}:y2=${bottom}:x3=${right}:y3=${bottom}:interpolation=linear:eval=frame`
}
