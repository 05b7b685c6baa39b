/** Frames a photo as the first picture of a film. */
import sharp from 'sharp'
import { maxPixels } from './cutout.ts'

export interface StillOptions {
  photo: Uint8Array
  /** Of the result, in pixels. */
  width: number
  height: number
}

/** Three bytes a pixel, row by row; what doesn't fit the shape is cut off. Throws when the bytes aren't an image. */
export const frameStill = ({ photo, width, height }: StillOptions): Promise<Buffer> =>
  sharp(photo, { limitInputPixels: maxPixels })
    .rotate()
    .toColourspace('srgb')
    .flatten({ background: '#fff' })
    .resize(width, height, { fit: 'cover' })
    .raw()
    .toBuffer()
