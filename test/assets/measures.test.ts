/** What is told of films and documents: how long, how many pages, wherever in the file it stands. */
import { expect, test } from 'vitest'
import type { AssetBody } from '../support/client.ts'
import { setPlan } from '../support/database.ts'
import { finished, generate } from '../support/generations.ts'
import { newTenant } from '../support/tenants.ts'
import { uploadDirectly } from '../support/uploads.ts'

const MB = 1024 * 1024
const u32 = (...values: number[]) => {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i)
  return bytes
}
const box = (type: string, ...content: Uint8Array[]) => {
  const body = Buffer.concat(content)
  return Buffer.concat([u32(body.length + 8), Buffer.from(type), body])
}
/** With its length in 64 bits. */
const longBox = (type: string, body: Uint8Array) =>
  Buffer.concat([u32(1), Buffer.from(type), u32(0, body.length + 16), body])
const ftyp = box('ftyp', Buffer.from('isom\0\0\0\0isommp42'))
const moov = (header: Buffer) => box('moov', box('mvhd', header, Buffer.alloc(80)), Buffer.alloc(1000))
const short = (scale: number, duration: number) => u32(0, 0, 0, scale, duration)
const long = (scale: number, duration: number) => u32(0x01000000, 0, 0, 0, 0, scale, 0, duration)
const mdat = Buffer.alloc(9 * MB)

const element = (id: string, body: Uint8Array) =>
  Buffer.concat([Buffer.from(id, 'hex'), Buffer.from([0x40 | (body.length >> 8), body.length & 0xff]), body])
const float = (value: number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return bytes
}
const webm = (info: Uint8Array) =>
  Buffer.concat([
    element('1a45dfa3', Buffer.from('4282847765626d', 'hex')),
    Buffer.from('1853806701ffffffffffffff', 'hex'),
    element('114d9b74', Buffer.alloc(10)),
    element('1549a966', info),
  ])

const pdf = (...objects: string[]) => Buffer.from(`%PDF-1.7\n${objects.join('\nendobj\n')}\n%%EOF\n`)

test.each([
  ['MP4, header first', Buffer.concat([ftyp, moov(short(1000, 12_500)), box('mdat', mdat)]), 12.5, undefined],
  ['MP4, header last', Buffer.concat([ftyp, box('mdat', mdat), moov(short(600, 1800))]), 3, undefined],
  [
    'MP4, 64 bits',
    Buffer.concat([ftyp, box('free'), longBox('mdat', mdat), moov(long(90_000, 450_000))]),
    5,
    undefined,
  ],
  ['MP4 that does not say', Buffer.concat([ftyp, moov(short(1000, 0xffffffff))]), undefined, undefined],
  ['MP4 without time', Buffer.concat([ftyp, moov(short(0, 1000))]), undefined, undefined],
  ['MP4, cut off', Buffer.concat([ftyp, u32(1000), Buffer.from('moov')]), undefined, undefined],
  [
    'MP4, a box of no size',
    Buffer.concat([ftyp, u32(4), Buffer.from('free'), Buffer.alloc(100)]),
    undefined,
    undefined,
  ],
  [
    'WebM',
    webm(Buffer.concat([element('2ad7b1', Buffer.from([0x0f, 0x42, 0x40])), element('4489', float(2345))])),
    2.345,
    undefined,
  ],
  ['WebM, live', webm(element('4d80', Buffer.from('x'))), undefined, undefined],
  ['WebM, forever', webm(element('4489', float(1e300))), undefined, undefined],
  ['WebM, no time at all', webm(element('4489', float(1e-300))), undefined, undefined],
  ['WebM, nonsense', webm(element('4489', float(Number.NaN))), undefined, undefined],
  [
    'PDF',
    pdf(
      '1 0 obj <</Type /Catalog /Pages 2 0 R>>',
      '2 0 obj <</Type /Pages /Kids [3 0 R] /Count 7>>',
      '3 0 obj <</Type/Pages /Parent 2 0 R /Count 4>>',
    ),
    undefined,
    7,
  ],
  [
    'PDF, pages at its end',
    Buffer.concat([
      pdf('1 0 obj <<>>'),
      Buffer.alloc(7 * MB),
      Buffer.from('9 0 obj\n<< /Count 300\n/Type\n/Pages >>\nendobj'),
    ]),
    undefined,
    300,
  ],
  ['PDF, linearized', pdf('1 0 obj << /Linearized 1 /L 100 /N 12 /T 90 >>'), undefined, 12],
  ['PDF, nine digits', pdf('2 0 obj <</Type /Pages /Kids [] /Count 123456789>>'), undefined, undefined],
  ['PDF, nine digits at once', pdf('1 0 obj << /Linearized 1 /N 123456789 >>'), undefined, undefined],
  ['PDF, no page', pdf('1 0 obj << /Linearized 1 /N 0 >>'), undefined, undefined],
  ['PDF, less than none', pdf('2 0 obj <</Type /Pages /Count -3>>'), undefined, undefined],
  ['PDF, seven digits', pdf('2 0 obj <</Type /Pages /Count 9999999>>'), undefined, 9_999_999],
  [
    'PDF, cut through a node that is no root',
    Buffer.concat([
      pdf('2 0 obj <</Type /Pages /Kids [3 0 R] /Count 8>>', ''),
      Buffer.alloc(100_000),
      Buffer.from('\n3 0 obj <</Parent 2 0 R '),
      Buffer.from(`${' '.repeat(65_000)} /Type /Pages /Count 4>>\nendobj\n${' '.repeat(500)}`),
    ]),
    undefined,
    8,
  ],
  ['PDF, compressed', pdf('1 0 obj <</Type /ObjStm /N 100>>'), undefined, undefined],
] as const)('%s', async (what, bytes, durationSeconds, pages) => {
  const mimeType = what.startsWith('PDF')
    ? 'application/pdf'
    : what.startsWith('WebM')
      ? 'video/webm'
      : 'video/mp4'
  const { client } = await newTenant()
  const through = await client.upload('file', bytes)
  expect(through, JSON.stringify(through.body)).toMatchObject({ status: 201, body: { mimeType } })
  // Other bytes, or it would be the same object.
  const other = Buffer.concat([bytes, Buffer.from('\n')])
  const direct = await uploadDirectly(client, what.includes('PDF') ? other : bytes, { mimeType })
  expect(direct.answer.status, JSON.stringify(direct.answer.body)).toBe(200)
  for (const body of [through.body, direct.answer.body] as AssetBody[]) {
    expect([body.durationSeconds, body.pages]).toEqual([durationSeconds, pages])
  }
})

test('a film that a model made says how long it is', async () => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  const { id } = await generate(client, { task: 'animate', prompt: 'x', durationSeconds: 6 })
  const { outputs } = await finished(client, id)
  expect(outputs[0]?.durationSeconds).toBeGreaterThan(1)
})
