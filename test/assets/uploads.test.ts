/** Uploads: what is recognized, measured and hashed, what is refused, and that a refused one leaves nothing behind. */
import { hash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { download, expectNothing, owed } from '../support/assets.ts'
import { tally, times } from '../support/at-once.ts'
import type { AssetBody, Client } from '../support/client.ts'
import { control, logOf } from '../support/control.ts'
import { openSocket } from '../support/sockets.ts'
import { addMember, newTenant } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const MB = 1024 * 1024
const FORM = 'multipart/form-data; boundary=b'
const sha256 = (bytes: Uint8Array) => hash('sha256', bytes)
const picture = () => sharp({ create: { width: 32, height: 20, channels: 3, background: '#369' } })
const padded = (head: Uint8Array | string, size: number) =>
  Buffer.concat([Buffer.from(head), Buffer.alloc(size)])

/** An uncompressed archive without its directory: enough to tell Office files from others. */
const zip = (name: string, content: string) => {
  const header = Buffer.alloc(30)
  header.write('PK\x03\x04')
  header.writeUInt32LE(crc32(content), 14)
  for (const at of [18, 22]) header.writeUInt32LE(content.length, at)
  header.writeUInt16LE(name.length, 26)
  return Buffer.concat([header, Buffer.from(name + content), padded('PK\x05\x06', 18)])
}
const office = (part: string) =>
  zip('[Content_Types].xml', `<Types><Override ContentType="${part}.main+xml"/></Types>`)
const docx = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'
const xlsx = 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet'
const png = await picture().png().toBuffer()
const jpeg = await picture().jpeg().toBuffer()

const disposition = 'Content-Disposition: form-data; name="file"; filename="a.txt"'
const part = (header: string, content: string) => `--b\r\n${header}\r\n\r\n${content}\r\n`
const send = (client: Client, body: string | Uint8Array, type = FORM) =>
  client.request<AssetBody>('POST', '/api/v1/assets/upload', body, { 'content-type': type })

const leaveGiven = (workspaceId: string) =>
  waitFor('leave to upload', async () => (await owed(workspaceId)).length > 0)

/** An upload by hand: the headers leave at once, the rest when the test says so. */
const openUpload = (
  client: Client,
  { boundary = 'b', length }: { boundary?: string; length?: number } = {},
) => {
  const id = `upload-${crypto.randomUUID()}`
  const upload = openSocket()
  const head = [
    'POST /api/v1/assets/upload HTTP/1.1\r\nHost: localhost\r\nConnection: close',
    `Authorization: Bearer ${client.token}\r\nX-Workspace-Id: ${client.workspaceId}`,
    `X-Request-Id: ${id}\r\nContent-Type: multipart/form-data; boundary=${boundary}`,
    length === undefined ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`,
  ]
  upload.socket.write(`${head.join('\r\n')}\r\n\r\n`)
  return {
    ...upload,
    /** What the Worker decided, whether or not the answer got through. */
    decided: () => waitFor('a decision', () => logOf(id), 55_000),
  }
}

test.each([
  ['photo.jpg', 'image/jpeg', jpeg, [32, 20]],
  ['turned.jpg', 'image/jpeg', picture().jpeg().withMetadata({ orientation: 6 }).toBuffer(), [20, 32]],
  ['photo.png', 'image/png', png, [32, 20]],
  ['photo.webp', 'image/webp', picture().webp().toBuffer(), [32, 20]],
  ['photo.gif', 'image/gif', picture().gif().toBuffer(), [32, 20]],
  ['photo.avif', 'image/avif', picture().avif().toBuffer(), [32, 20]],
  ['large.jpg', 'image/jpeg', padded(jpeg, 7 * MB), [32, 20]],
  ['exact.png', 'image/png', padded(png, 5 * MB - png.length), [32, 20]],
  ['film.mp4', 'video/mp4', padded('\0\0\0\x18ftypisom\0\0\0\0isommp42', 12 * MB), []],
  ['film.webm', 'video/webm', Buffer.from('1a45dfa3874282847765626d', 'hex'), []],
  ['paper.pdf', 'application/pdf', Buffer.from('%PDF-1.7\n%%EOF\n'), []],
  ['paper.docx', docx, office(docx), []],
  ['sheet.xlsx', xlsx, office(xlsx), []],
  ['note.txt', 'text/plain', Buffer.from('\ufeffHello\r\n\tW\u00f6rld \u{1f600}\n'), []],
  // The first part of 5 MiB ends within a character.
  ['long.txt', 'text/plain', Buffer.from(`a${'\u20ac'.repeat(2 * MB)}`), []],
  ['text.png', 'text/plain', Buffer.from('not a picture'), []],
  // No browser runs what it is told to be plain text.
  ['page.html', 'text/plain', Buffer.from('<!doctype html><script>alert(1)</script>'), []],
  ['drawing.svg', 'text/plain', Buffer.from('<svg onload="alert(1)"/>'), []],
])('%s is stored as %s, and comes back unchanged', async (name, mimeType, content, [width, height]) => {
  const { client } = await newTenant()
  const bytes = await content
  const { status, body, headers } = await client.upload(name, bytes)
  expect(status).toBe(201)
  expect(headers.get('location')).toBe(`/api/v1/assets/${body.id}`)
  expect(body).toMatchObject({ name, mimeType, size: bytes.length, sha256: sha256(bytes) })
  expect(body.kind).toBe(/image|video/.exec(mimeType)?.[0] ?? 'document')
  expect([body.width, body.height]).toEqual([width, height])
  expect((await client.get(`/assets/${body.id}`)).body).toEqual(body)
  const file = await fetch(await download(client, body.id))
  expect(sha256(new Uint8Array(await file.arrayBuffer()))).toBe(body.sha256)
  // Browsers take text without a charset for Latin-1.
  const shown = mimeType === 'text/plain' ? 'text/plain; charset=utf-8' : mimeType
  expect(file.headers.get('content-type')).toBe(shown)
  const url = new URL(await download(client, body.id))
  expect(url.searchParams.get('response-content-type')).toBe(shown)
  expect(file.headers.get('content-disposition')).toBe(
    `attachment; filename="${name}"; filename*=UTF-8''${name}`,
  )
  // Only pictures and films are shown where storage is at home.
  const inline = decodeURIComponent(await download(client, body.id, '?disposition=inline'))
  expect(inline).toContain(/image|video/.test(mimeType) ? '=inline;' : '=attachment;')
})

test.each(['BMW sales 2024', 'MZ and other letters', 'WEBVTT'])(
  'takes text that begins like a signature for text: %s',
  async (text) => {
    const { client } = await newTenant()
    const answer = await client.upload('notes.txt', text)
    expect(answer).toMatchObject({ status: 201, body: { mimeType: 'text/plain' } })
  },
)

test.each([
  ['\u65e5\u672c \u00f1.txt', '\u65e5\u672c \u00f1.txt'],
  [`it's "quoted" (1)*.txt`, `it's "quoted" (1)*.txt`],
  ['../../etc/passwd', 'passwd'],
  ['C:\\files\\a.txt', 'a.txt'],
  ['', 'untitled'],
  ['x'.repeat(255), 'x'.repeat(255)],
  ['\u{1f600}'.repeat(255), '\u{1f600}'.repeat(255)],
])('a file named %.40j is stored as %.40j', async (sent, kept) => {
  const { client } = await newTenant()
  const { status, body } = await client.upload(sent, 'text')
  expect({ status, name: body.name }).toEqual({ status: 201, name: kept })
  const file = await fetch(await download(client, body.id))
  expect(await file.text()).toBe('text')
  const [, encoded = ''] = String(file.headers.get('content-disposition')).split("filename*=UTF-8''")
  expect(encoded).toMatch(/^[\w.~!%-]*$/)
  expect(decodeURIComponent(encoded)).toBe(kept)
})

test('names have one rule, wherever they are said', async () => {
  const { client } = await newTenant()
  const { body: known } = await client.upload('known.txt', 'text')
  const raw = (name: string) =>
    client.request<AssetBody>('POST', `/api/v1/assets/upload?name=${encodeURIComponent(name)}`, 'text', {
      'content-type': 'text/plain',
    })
  const announced = { mimeType: 'text/plain', size: 4 }
  const ways: ((name: string) => Promise<{ status: number; body: { name?: string; asset?: AssetBody } }>)[] =
    [
      (name) => raw(name),
      (name) => client.upload(name, 'text'),
      (name) => client.patch(`/assets/${known.id}`, { name }),
      (name) => client.post('/assets/uploads', { name, ...announced }),
    ]
  const long = ['x'.repeat(256), '\u{1f600}'.repeat(256)]
  const hidden = ['a\u0001.txt', 'a\tb.txt', 'a\u202egpj.txt', 'a\u2066b.txt']
  for (const name of [...long, ...hidden, 'a/', '.', '..', 'a/..', 'a\\.']) {
    for (const [i, say] of ways.entries()) expect((await say(name)).status, `${i} ${name}`).toBe(422)
  }
  for (const [name, kept] of [
    ['../x/ \u200fb.txt ', '\u200fb.txt'],
    ['C:\\x\\y', 'y'],
  ] as const) {
    for (const say of ways) {
      const { body } = await say(name)
      expect((body.asset ?? body).name).toBe(kept)
    }
  }
})

test('HEAD of a download leads to a URL for HEAD, also of a sized copy', async () => {
  const { client } = await newTenant()
  const { body } = await client.upload('photo.png', png)
  for (const [query, type] of [
    ['', 'image/png'],
    ['?width=64&format=jpeg', 'image/jpeg'],
  ]) {
    const path = `/api/v1/assets/${body.id}/download${query}`
    const answer = await client.request('HEAD', path)
    expect(answer.status).toBe(302)
    const head = await fetch(String(answer.headers.get('location')), { method: 'HEAD' })
    expect([head.status, head.headers.get('content-type')]).toEqual([200, type])
    if (query === '') expect(head.headers.get('content-length')).toBe(String(png.length))
    expect((await fetch(await download(client, body.id, query))).status).toBe(200)
  }
})

const other = part('Content-Disposition: form-data; name="x"', 'a')
test.each([
  ['an empty file', 422, part(disposition, '')],
  ['no part', 422, ''],
  ['another field', 422, other],
  ['a field after the file', 422, part(disposition, 'a') + other],
  ['two hundred files', 422, part(disposition, 'a').repeat(200)],
  ['a header of a megabyte', 400, part(`X-Long: ${'x'.repeat(MB)}`, 'a')],
  ['ten thousand headers', 400, part(`${'X-Many: x\r\n'.repeat(10_000)}${disposition}`, 'a')],
  ['text that ends in half a character', 415, part(disposition, 'caf\xe9')],
  [
    'a PNG of four billion pixels a side',
    415,
    part(disposition, png.toString('latin1').replace(/(?<=IHDR).{8}/s, '\xff'.repeat(8))),
  ],
  ['NUL in the text', 415, part(disposition, 'text\0')],
  ['text in Latin-1', 415, part(disposition, 'caf\xe9 noir')],
  ['an ELF', 415, part(disposition, '\x7fELF\x02\x01\x01')],
  ['a zip', 415, part(disposition, `${zip('a.txt', 'a')}`)],
  ['half a PNG', 415, part(disposition, png.toString('latin1', 0, 12))],
  ['XML', 415, part(disposition, '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>')],
  ['what stops being text after 5 MiB', 415, part(disposition, `${'a'.repeat(6 * MB)}\0`)],
])('refuses %s, and stores nothing', async (_, status, parts) => {
  const { client } = await newTenant()
  const answer = await send(client, Buffer.from(`${parts}--b--\r\n`, 'latin1'))
  expect(answer.status, JSON.stringify(answer.body)).toBe(status)
  await expectNothing(client)
})

test('answers 400 to a form without its boundary, and 415 to what is not a form', async () => {
  const { client } = await newTenant()
  const whole = `${part(disposition, 'a')}--b--`
  expect((await send(client, whole.slice(0, -7))).status).toBe(400)
  expect((await send(client, whole, `${FORM}c`)).status).toBe(400)
  expect((await send(client, whole, 'multipart/form-data')).status).toBe(400)
  expect((await send(client, '{}', 'application/json')).status).toBe(415)
  await expectNothing(client)
})

const boundary = `----form-${'x'.repeat(32)}`
const whole = Buffer.from(
  `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${'n'.repeat(70)}.txt"\r\n\r\nsome text\r\n--${boundary}--\r\n`,
)
const cut = (body: Buffer, sizes: number[]) => {
  const pieces: Buffer[] = []
  for (const size of sizes) {
    pieces.push(body.subarray(0, size))
    body = body.subarray(size)
  }
  return [...pieces, body]
}

test.each([
  ['within the headers', cut(whole, [50, 60, 5, 5])],
  ['byte by byte at first', cut(whole, [50, 100, 1, 1])],
  ['within the last boundary', cut(whole, [whole.length - 20])],
  ['within the closing hyphens', cut(whole, [whole.length - 3])],
  ['before the last line break', cut(whole, [whole.length - 2])],
])('reads a form whose packets end %s', async (_, pieces) => {
  const { client } = await newTenant()
  const upload = openUpload(client, { boundary, length: whole.length })
  for (const piece of pieces) {
    upload.socket.write(piece)
    // The time that makes packets arrive apart; there is no condition to wait for.
    await delay(30)
  }
  expect(await upload.answered).toMatch(/^HTTP\/1.1 201 /)
})

test('answers 415 to a large upload that is refused midway', async () => {
  const { client } = await newTenant()
  for (let i = 0; i < 3; i++) {
    const answer = await client.upload('zeros.bin', new Uint8Array(20 * 1024 * 1024))
    expect(answer).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } })
  }
})

test.each([
  ['image/png', png, 'image/png', 'raw \u20ac.png'],
  ['application/octet-stream', Buffer.concat([jpeg, Buffer.alloc(11 * MB)]), 'image/jpeg', 'large.jpg'],
  // Judged by content, whatever it is called.
  ['image/gif; charset=x', Buffer.from('some text'), 'text/plain', 'a.gif'],
])('takes a file as the body itself, sent as %s', async (sent, bytes, mimeType, name) => {
  const { client } = await newTenant()
  const answer = await client.request<AssetBody>(
    'POST',
    `/api/v1/assets/upload?name=${encodeURIComponent(name)}`,
    bytes,
    { 'content-type': sent },
  )
  expect(answer).toMatchObject({ status: 201, body: { name, mimeType, sha256: sha256(bytes) } })
  const file = await fetch(await download(client, answer.body.id))
  expect(sha256(new Uint8Array(await file.arrayBuffer()))).toBe(sha256(bytes))
})

test('a raw body is refused when it is empty, too large, of no known type, or badly named', async () => {
  const { client } = await newTenant()
  const raw = (body: Uint8Array | string, type = 'text/plain', query = '') =>
    client.request('POST', `/api/v1/assets/upload${query}`, body, { 'content-type': type })
  expect((await raw('')).status).toBe(422)
  expect((await raw('{}', 'application/json')).status).toBe(415)
  expect((await raw('<svg/>', 'image/svg+xml')).status).toBe(415)
  expect((await raw(new Uint8Array(1000))).status).toBe(415)
  expect((await raw('a', 'text/plain', '?name=%00')).status).toBe(422)
  expect((await raw('a'.repeat(95_000_001))).status).toBe(413)
  await expectNothing(client)
  expect(await raw('a')).toMatchObject({ status: 201, body: { name: 'untitled' } })
})

test.each([
  ["filename*=UTF-8''%e2%82%ac%20list.txt", '\u20ac list.txt'],
  ['filename="list.txt"; filename*=UTF-8\'en\'%e2%82%ac.txt', '\u20ac.txt'],
  ["filename*=ISO-8859-1''%a3.txt; filename=plain.txt", 'plain.txt'],
  ["filename*=UTF-8''%ff%; filename=plain.txt", 'plain.txt'],
])('a file with %s is stored as %s', async (filename, name) => {
  const { client } = await newTenant()
  const header = `Content-Disposition: form-data; name="file"; ${filename}`
  const answer = await send(client, `${part(header, 'a')}--b--\r\n`)
  expect(answer).toMatchObject({ status: 201, body: { name } })
})

test.each([undefined, MB])(
  'a client that stops midway of %s bytes is answered 400, no fault of ours',
  async (length) => {
    const { client, workspaceId } = await newTenant()
    const upload = openUpload(client, length ? { length } : {})
    const start = `--b\r\n${disposition}\r\n\r\n${'a'.repeat(1000)}`
    upload.socket.write(length ? start : `${start.length.toString(16)}\r\n${start}\r\n`)
    await leaveGiven(workspaceId)
    upload.socket.end()
    expect(await upload.decided()).toMatchObject({ status: 400, level: 'info' })
    await expectNothing(client)
  },
)

test('a body that is cut off leaves nothing but the note to delete its object', async () => {
  const { client, workspaceId } = await newTenant()
  const upload = openUpload(client, { length: MB })
  upload.socket.write(`--b\r\n${disposition}\r\n\r\n${'a'.repeat(1000)}`)
  await leaveGiven(workspaceId)
  upload.socket.end()
  await upload.answered
  await expectNothing(client)
  expect(await owed(workspaceId)).toEqual([{ kind: 'object.delete' }])
})

test('answers 413 to 96 MB, and 403 to low roles, by the headers alone', async () => {
  const { client, workspaceId } = await newTenant()
  const viewer = (await addMember(workspaceId, 'viewer')).client
  for (const caller of [client, viewer]) {
    const upload = openUpload(caller, { length: caller === client ? 96_000_000 : 50 * MB })
    expect(await upload.decided()).toMatchObject({ status: caller === client ? 413 : 403 })
    expect(upload.socket.bytesWritten).toBeLessThan(2000)
    upload.socket.destroy()
  }
  await expectNothing(client)
})

test('a refusal by the rate limit leaves no note behind', async () => {
  const { client, workspaceId } = await newTenant()
  await control('take', { name: `upload:${workspaceId}`, limit: 120, period: 60, cost: 120 })
  const answers = await times(10, () => client.upload('a.txt', 'some text'))
  // Two a second come back.
  expect(tally(answers)[429]).toBeGreaterThan(0)
  expect(await owed(workspaceId)).toEqual([])
})

test('answers 413 above 95 MB sent without a length', async () => {
  const { client } = await newTenant()
  const upload = openUpload(client)
  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
  upload.socket.write(chunk(`--b\r\n${disposition}\r\n\r\n`))
  for (let sent = 0; sent < 96; sent++) upload.socket.write(chunk('a'.repeat(1_000_000)))
  expect(await upload.decided()).toMatchObject({ status: 413 })
  upload.socket.destroy()
  await expectNothing(client)
}, 60_000)

test('a session that ends during its upload stores nothing', async () => {
  const { client, workspaceId } = await newTenant()
  const body = `${part(disposition, 'a'.repeat(1000))}--b--\r\n`
  const upload = openUpload(client, { length: body.length })
  upload.socket.write(body.slice(0, 500))
  await leaveGiven(workspaceId)
  await client.post('/auth/logout')
  upload.socket.write(body.slice(500))
  expect(await upload.answered).toMatch(/^HTTP\/1.1 401 /)
  await expectNothing((await addMember(workspaceId, 'viewer')).client)
})
