/** Writes finished pixels as a file. */
import sharp from 'sharp'

/** `raw` is three bytes a pixel, row by row. */
export type OutputFormat = 'png' | 'webp' | 'jpg' | 'raw'

/** `data` is RGB or RGBA; a JPEG, which has no transparency, gets white behind it. */
export function encode(
  data: Uint8Array,
  { width, height, channels }: { width: number; height: number; channels: 3 | 4 },
  format: OutputFormat,
  enlargeTo?: { width: number; height: number },
): Promise<Buffer> {
  const image = sharp(data, { raw: { width, height, channels } })
  if (enlargeTo) image.resize(enlargeTo.width, enlargeTo.height, { fit: 'fill' })
  switch (format) {
    case 'png':
      return image.png({ compressionLevel: 4 }).toBuffer()
    case 'webp':
      return image.webp({ quality: 86, effort: 1 }).toBuffer()
    case 'jpg':
      return image.flatten({ background: '#fff' }).jpeg({ quality: 88 }).toBuffer()
    case 'raw':
      return image.flatten({ background: '#fff' }).raw().toBuffer()
  }
}
