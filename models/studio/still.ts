/** Frames a photo as the first picture of a film. */
import sharp from 'sharp'
import { maxPixels } from './cutout.ts'
import { extend } from './retouch.ts'

export interface StillOptions {
  photo: Uint8Array
  /** Of the result, in pixels. */
  width: number
  height: number
}

/** As far as the photo's ratio may be from the film's to be cut to it, times. */
const cutRatio = 1.1

/** Three bytes a pixel, row by row; a photo of quite another shape is extended to it. Throws when the bytes aren't an image. */
export async function frameStill({ photo, width, height }: StillOptions): Promise<Buffer> {
  const { autoOrient: is } = await sharp(photo, { limitInputPixels: maxPixels }).metadata()
  const off = (is.width * height) / (is.height * width)
  if (Math.max(off, 1 / off) > cutRatio) {
    const data = await extend({ photo, width, height })
    return sharp(data, { raw: { width, height, channels: 4 } })
      .removeAlpha()
      .raw()
      .toBuffer()
  }
  return sharp(photo, { limitInputPixels: maxPixels })
    .rotate()
    .toColourspace('srgb')
    .flatten({ background: '#fff' })
    .resize(width, height, { fit: 'cover' })
    .raw()
    .toBuffer()
}
