/** The mark of what a model made: in every format, still the same picture, and where others find it. */
import { createHash } from 'node:crypto'
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { markAsGenerated } from '../../src/assets/provenance.ts'

const pixels = () =>
  sharp({ create: { width: 61, height: 47, channels: 4, background: { r: 200, g: 30, b: 60, alpha: 0.5 } } })

const mark = async (file: Buffer, size = file.length) => {
  const chunks = async function* () {
    for (let at = 0; at < file.length; at += size) yield file.subarray(at, at + size)
  }
  return Buffer.concat(await Array.fromAsync(markAsGenerated(chunks(), 'trainedAlgorithmicMedia')))
}
const hashOf = async (file: Buffer) =>
  createHash('sha256')
    .update(await sharp(file).raw().toBuffer())
    .digest('hex')

const files: Record<string, () => Promise<Buffer>> = {
  'a PNG': () => pixels().png().toBuffer(),
  'a JPEG': () => pixels().jpeg().toBuffer(),
  'a JPEG with EXIF': () =>
    pixels()
      .jpeg()
      .withExif({ IFD0: { Copyright: 'someone' } })
      .toBuffer(),
  'a lossy WebP': () => pixels().removeAlpha().webp().toBuffer(),
  'a lossless WebP': () => pixels().webp({ lossless: true }).toBuffer(),
  'an extended WebP': () =>
    pixels()
      .webp({ quality: 50 })
      .withExif({ IFD0: { Copyright: 'x' } })
      .toBuffer(),
}

test.each(Object.entries(files))('%s is marked, and stays the same picture', async (_, make) => {
  const file = await make()
  for (const size of [file.length, 7]) {
    const marked = await mark(file, size)
    const { xmp, width, height, hasAlpha } = await sharp(marked).metadata()
    expect(xmp?.toString()).toContain('digitalsourcetype/trainedAlgorithmicMedia')
    const before = await sharp(file).metadata()
    expect({ width, height, hasAlpha }).toEqual({ width: 61, height: 47, hasAlpha: before.hasAlpha })
    expect(await hashOf(marked)).toBe(await hashOf(file))
    if (marked.toString('latin1', 0, 4) === 'RIFF') expect(marked.readUInt32LE(4)).toBe(marked.length - 8)
    // Once is enough.
    expect(await mark(marked)).toEqual(marked)
  }
})

test('a film gets the box of XMP at its end', async () => {
  const film = Buffer.concat([Buffer.from([0, 0, 0, 16]), Buffer.from('ftypisom\0\0\0\0'), Buffer.alloc(100)])
  const marked = await mark(film)
  expect(marked.subarray(0, film.length)).toEqual(film)
  expect(marked.readUInt32BE(film.length)).toBe(marked.length - film.length)
  expect(marked.toString('latin1', film.length + 4, film.length + 8)).toBe('uuid')
  expect(marked.toString('latin1', film.length)).toContain('DigitalSourceType')
})

test.each([
  [
    'what carries a C2PA manifest',
    Buffer.from(`\x89PNG\r\n\x1a\n${'.'.repeat(100)}caBX${'.'.repeat(100)}`, 'latin1'),
  ],
  ['what is no picture', Buffer.from('just text '.repeat(20))],
  ['what is too short', Buffer.from('\x89PNG', 'latin1')],
])('%s stays as it is', async (_, file) => {
  expect(await mark(file)).toEqual(file)
})
