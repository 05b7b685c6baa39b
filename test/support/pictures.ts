/** Pictures and films as merchants have them, made for tests. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import ffmpeg from '@ffmpeg-installer/ffmpeg'
import sharp from 'sharp'

const ellipse = (width: number, height: number, share: number) =>
  Buffer.from(
    `<svg width="${width}" height="${height}"><ellipse cx="${width / 2}" cy="${height / 2}" rx="${(width * share) / 2}" ry="${
      (height * share) / 4
    }" fill="#b33"/></svg>`,
  )

/** A red thing that takes so much of the width, on a ground; transparent if none is given. */
export const product = (width: number, height: number, share: number, ground?: string) =>
  sharp({
    create: { width, height, channels: 4, background: ground ?? { r: 0, g: 0, b: 0, alpha: 0 } },
  }).composite([{ input: ellipse(width, height, share) }])

/** What a camera makes of a room: no two pixels alike. */
export const scene = (width: number, height: number) =>
  sharp({
    create: {
      width,
      height,
      channels: 3,
      background: '#888',
      noise: { type: 'gaussian', mean: 120, sigma: 40 },
    },
  })

/** A film of so many seconds with sound, in the order in which encoders write: the index last. */
export const film = async (
  options: {
    width?: number
    height?: number
    seconds?: number
    rate?: number
    first?: boolean
    codec?: string
  } = {},
): Promise<Buffer> => {
  const { width = 1080, height = 1920, seconds = 6, rate = 25, first = false, codec = 'libx264' } = options
  const folder = mkdtempSync(join(tmpdir(), 'film-'))
  const path = join(folder, 'film.mp4')
  const picture = ['-f', 'lavfi', '-i', `testsrc=size=${width}x${height}:rate=${rate}:duration=${seconds}`]
  const sound = ['-f', 'lavfi', '-i', `sine=duration=${seconds}`]
  const encoding = ['-c:v', codec, '-preset', 'ultrafast', '-pix_fmt', 'yuv420p', '-c:a', 'aac', '-shortest']
  try {
    await promisify(execFile)(ffmpeg.path, [
      ...['-y', '-v', 'error', ...picture, ...sound, ...encoding],
      ...(first ? ['-movflags', '+faststart'] : []),
      path,
    ])
    return readFileSync(path)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
