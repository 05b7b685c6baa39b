/** What once went wrong, on the wire. */
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { createClient, newEmail, newTenant, PASSWORD, stack } from '../support/client.ts'

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Sends a body in the given pieces, each in a packet of its own, and answers the status. */
const sendInPieces = (token: string, contentType: string, pieces: Buffer[]): Promise<number> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(stack.api)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    let answer = ''
    socket.on('error', reject).on('data', (data) => {
      answer += data
      const status = /^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]
      if (!status || status === '100') return
      socket.destroy()
      resolve(Number(status))
    })
    socket.on('connect', async () => {
      const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
      socket.write(
        `POST /api/v1/assets/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: ${contentType}\r\nContent-Length: ${length}\r\n\r\n`,
      )
      for (const piece of pieces) {
        socket.write(piece)
        // The time that makes packets arrive apart; nothing waits for a condition here.
        await pause(30)
      }
    })
  })

const boundary = `----form-${'x'.repeat(32)}`
const form = Buffer.from(
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
  ['within the headers', cut(form, [50, 60, 5, 5])],
  ['byte by byte at first', cut(form, [50, 100, 1, 1])],
  ['within the last boundary', cut(form, [form.length - 20])],
  ['within the closing hyphens', cut(form, [form.length - 3])],
  ['before the last line break', cut(form, [form.length - 2])],
])('an upload may be cut into packets %s', async (_, pieces) => {
  const { client } = await newTenant()
  const type = `multipart/form-data; boundary=${boundary}`
  expect(await sendInPieces(client.token as string, type, pieces)).toBe(201)
})

test('a large upload that is refused midway gets to see why', async () => {
  const { client } = await newTenant()
  for (let i = 0; i < 3; i++) {
    const answer = await client.upload('zeros.bin', new Uint8Array(20 * 1024 * 1024))
    expect(answer).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } })
  }
})

test.each([
  ['BMW sales 2024', 201],
  ['MZ and other letters', 201],
  ['WEBVTT', 201],
])('text that begins like a signature is text: %s', async (text, status) => {
  const { client } = await newTenant()
  const answer = await client.upload('notes.txt', text)
  expect(answer).toMatchObject({ status, body: { mimeType: 'text/plain' } })
})

test('strange sign-ins are refused, and use up nobody else', async () => {
  const bodies = [
    { email: { toString: 1, valueOf: 1 }, password: 'x' },
    {},
    [],
    null,
    { email: 7, password: 'x' },
  ]
  for (let round = 0; round < 4; round++) {
    for (const body of bodies) {
      expect((await createClient().post('/auth/login', body)).status).toBe(422)
    }
  }
  const nested = `{"email":${'['.repeat(50_000)}${']'.repeat(50_000)},"password":"x"}`
  const answer = await createClient().post('/auth/login', nested, { 'content-type': 'application/json' })
  expect(answer.status).toBe(422)
})

test.each([
  'application/json;',
  'application/json ; charset=utf-8',
  'application/json; charset=utf-8; x',
  'Application/JSON',
])('JSON is JSON as %s', async (contentType) => {
  const body = JSON.stringify({ email: newEmail(), password: PASSWORD })
  const answer = await createClient().post('/auth/register', body, { 'content-type': contentType })
  expect(answer.status).toBe(201)
})

test('odd filters and headers are refused or taken, never a fault', async () => {
  const { client } = await newTenant()
  for (const query of [
    'resourceType=%00',
    'since=0000-01-01T00:00:00Z',
    'limit=1e1',
    'limit=0x10',
    'limit=%201',
  ]) {
    expect((await client.get(`/audit-logs?${query}`)).status, query).toBe(422)
  }
  const longAgent = Buffer.from(`${'a'.repeat(399)}😀`).toString('latin1')
  expect((await client.get('/usage', { 'user-agent': longAgent })).status).toBe(200)
  expect((await client.request('GET', '/docs/swagger-uiXcss')).status).toBe(404)
})
