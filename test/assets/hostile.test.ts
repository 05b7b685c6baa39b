/** Files that mean harm: each is refused or kept as it is, and nothing that is done with it later fails by our fault. */
import { crc32, deflateRawSync, deflateSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { objectsOf } from '../support/assets.ts'
import { film, scene } from '../support/pictures.ts'
import { newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const MB = 1024 * 1024

const chunk = (type: string, data: Buffer) => {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  sum.writeUInt32BE(crc32(typed))
  return Buffer.concat([length, typed, sum])
}

/** A PNG of these sides, whatever its pixels are. */
const png = (width: number, height: number, ...chunks: Buffer[]) => {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width)
  header.writeUInt32BE(height, 4)
  header.set([8, 6], 8)
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), ...chunks])
}

/** A ZIP with one entry. */
const zip = (name: string, content: Buffer) => {
  const data = deflateRawSync(content)
  const local = Buffer.alloc(30)
  local.writeUInt32LE(0x04034b50)
  local.writeUInt16LE(20, 4)
  local.writeUInt16LE(8, 8)
  local.writeUInt32LE(crc32(content), 14)
  local.writeUInt32LE(data.length, 18)
  local.writeUInt32LE(content.length, 22)
  local.writeUInt16LE(name.length, 26)
  return Buffer.concat([local, Buffer.from(name), data])
}

const svg = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
const end = () => chunk('IEND', Buffer.alloc(0))

test.each([
  ['an SVG with script, named .png: a text', 'x.png', async () => Buffer.from(svg), 201],
  [
    'an SVG with script behind a comment: a text',
    'x.png',
    async () => Buffer.from(`<!-- ${'x'.repeat(9000)} -->${svg}`),
    201,
  ],
  [
    'a GIF that is also HTML',
    'x.gif',
    async () => Buffer.from('GIF89a/*\0<html><script>alert(1)</script></html>*/=1'),
    201,
  ],
  [
    'a JPEG that is also a ZIP',
    'x.jpg',
    async () => Buffer.concat([await scene(80, 80).jpeg().toBuffer(), zip('a.txt', Buffer.from('a'))]),
    201,
  ],
  ['a PDF that is also HTML', 'x.pdf', async () => Buffer.from('%PDF-1.7\n<script>alert(1)</script>'), 201],
  [
    'a ZIP of 100 MB as DOCX',
    'x.docx',
    async () => zip('[Content_Types].xml', Buffer.alloc(100 * MB, ' ')),
    415,
  ],
  [
    'a DOCX with 100 MB in it',
    'x.docx',
    async () => zip('word/document.xml', Buffer.alloc(100 * MB, ' ')),
    201,
  ],
  ['50,000 x 50,000 pixels in 33 bytes', 'x.png', async () => png(50_000, 50_000), 201],
  [
    '100 MB of pixels for 8 x 8',
    'x.png',
    async () => png(8, 8, chunk('IDAT', deflateSync(Buffer.alloc(100 * MB))), end()),
    201,
  ],
  [
    'no pixels for 9000 x 9000',
    'x.png',
    async () => png(9000, 9000, chunk('IDAT', deflateSync(Buffer.alloc(10))), end()),
    201,
  ],
  [
    'a colour profile of 100 MB',
    'x.png',
    async () =>
      png(
        8,
        8,
        chunk('iCCP', Buffer.concat([Buffer.from('p\0\0'), deflateSync(Buffer.alloc(100 * MB))])),
        chunk('IDAT', deflateSync(Buffer.alloc(8 * 33))),
        end(),
      ),
    201,
  ],
  [
    'a JPEG with 200 empty segments',
    'x.jpg',
    async () => {
      const photo = await scene(80, 80).jpeg().toBuffer()
      return Buffer.concat([
        photo.subarray(0, 2),
        ...Array(200).fill(Buffer.from('ffe10002', 'hex')),
        photo.subarray(2),
      ])
    },
    201,
  ],
  ['a CMYK JPEG', 'x.jpg', async () => scene(300, 200).toColourspace('cmyk').jpeg().toBuffer(), 201],
  ['a PNG of 16 bits', 'x.png', async () => scene(300, 200).toColourspace('rgb16').png().toBuffer(), 201],
  ['half a film', 'x.mp4', async () => (await film({ seconds: 1 })).subarray(0, 9000), 201],
  [
    'a film of boxes within themselves',
    'x.mp4',
    async () =>
      Buffer.concat([
        Buffer.from('\0\0\0\x18ftypisom\0\0\0\0isommp42', 'latin1'),
        Buffer.from('\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff', 'latin1'),
        Buffer.alloc(40),
      ]),
    201,
  ],
  [
    'a film with a forged index',
    'x.mp4',
    async () => {
      const bytes = await film({ seconds: 1, first: true })
      bytes.fill(0xff, bytes.indexOf('stco') + 4, bytes.indexOf('stco') + 12)
      bytes.fill(0xff, bytes.indexOf('stts') + 4, bytes.indexOf('stts') + 12)
      return bytes
    },
    201,
  ],
  [
    'a HEIC whose boxes say nothing',
    'x.heic',
    async () => Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x0cmeta\0\0\0\0', 'latin1'),
    415,
  ],
] as const)('%s', async (title, name, make, expected) => {
  const { client, workspaceId } = await newTenant()
  const { status, body } = await client.upload(name, await make())
  expect(status, JSON.stringify(body)).toBe(expected)
  if (status !== 201) return expect(await objectsOf(workspaceId)).toEqual([])
  if (title.endsWith('a text')) expect(body.mimeType).toBe('text/plain')
  const copy = await client.get(`/assets/${body.id}/download?width=160`)
  expect([302, 422], JSON.stringify(copy.body)).toContain(copy.status)
  expect((await client.get(`/assets/${body.id}/checks`)).status).toBe(200)
  const channels = ['amazon-main', 'web', 'tiktok', 'shopify']
  expect((await client.post(`/assets/${body.id}/exports`, { channels })).status).toBe(202)
  await waitFor('the exports end', async () => {
    const list = await client.get<{ data: { status: string }[] }>(`/assets/${body.id}/exports`)
    return list.body.data.every(({ status }) => status !== 'queued')
  })
})
