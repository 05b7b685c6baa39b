/** JSON bodies: which are read, how large they may be, and which values text fields take. */
import { expect, test } from 'vitest'
import { type Client, createClient } from '../support/client.ts'
import { logOf, stack } from '../support/control.ts'
import { nobodysPathOf, routes } from '../support/routes.ts'
import { openSocket } from '../support/sockets.ts'
import { NOBODY, newEmail, newTenant, PASSWORD } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

interface Refusal extends Record<string, unknown> {
  errors: { pointer: string; message: string }[]
}

const asJson = { 'content-type': 'application/json' }
const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
const jsonRoutes = routes
  .filter(({ takesJson }) => takesJson)
  .map((route) => ({ ...route, url: nobodysPathOf(route) }))
// These allow a few requests only, before they look at what those say.
const patientRoutes = jsonRoutes.filter(({ path }) => !/login|password|step-up|invites|email/.test(path))

const { client: shared, workspaceId } = await newTenant()
/** From a new address each time, since some routes limit by it. */
const anywhere = (caller: Client) => caller.with({ ip: undefined })

test.each(patientRoutes)(
  '$method $path answers 400 to malformed JSON and 422 to JSON of another shape',
  async ({ method, url }) => {
    const send = (body: string) => anywhere(shared).request<Refusal>(method, url, body, asJson)
    for (const body of ['', '{', '{"name":"a"}x', "{'name':'a'}", 'NaN', '{"name":"\u0001"}', '{"a":1,}']) {
      expect(await send(body), body).toMatchObject({ status: 400, body: { code: 'malformed_json' } })
    }
    for (const body of ['null', 'true', '1', '"text"', '[]', nested(50_000), `[${'0,'.repeat(9_999)}0]`]) {
      const refusal = { status: 422, body: { code: 'validation_failed', errors: [{ pointer: '' }] } }
      expect(await send(body), body.slice(0, 20)).toMatchObject(refusal)
    }
    const unknown = {
      '/unknown': '{"unknown":1}',
      '/constructor': '{"constructor":{"prototype":{"x":1}}}',
      '/a~1b~0c': '{"a/b~c":1}',
      '/deep': `{"deep":${nested(50_000)}}`,
      '/k0': JSON.stringify(Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, i]))),
    }
    for (const [pointer, body] of Object.entries(unknown)) {
      const answer = await send(body)
      expect(answer.status, pointer).toBe(422)
      expect(answer.body.errors).toContainEqual({ pointer, message: 'is not a known field' })
      expect(answer.body.errors.length).toBeLessThanOrEqual(40)
    }
  },
)

const bodyless = routes.filter(
  ({ method, path, takesJson }) =>
    method !== 'GET' && !takesJson && !/upload$|login|password|step-up/.test(path),
)

test.each(bodyless)('$method $path, which takes no body, drops none silently', async (route) => {
  const url = nobodysPathOf(route)
  const send = (body: string) => anywhere(shared).request<Refusal>(route.method, url, body, asJson)
  expect(await send('{')).toMatchObject({ status: 400, body: { code: 'malformed_json' } })
  expect(await send('{"count":1}')).toMatchObject({
    status: 422,
    body: { code: 'validation_failed', errors: [{ pointer: '/count', message: 'is not a known field' }] },
  })
  expect(await send('[]')).toMatchObject({ status: 422, body: { errors: [{ pointer: '' }] } })
})

test('an empty object is no body that is dropped', async () => {
  for (const body of ['{}', ' ']) {
    const answer = await shared.request('POST', `/generations/${NOBODY}/cancel`, body, asJson)
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } })
  }
})

test('says in its own words what is wrong with a field', async () => {
  const said = async (path: string, body: object) =>
    Object.fromEntries(
      (await anywhere(shared).post<Refusal>(path, body)).body.errors.map(({ pointer, message }) => [
        pointer,
        message,
      ]),
    )
  expect(await said('/auth/register', { email: newEmail() })).toEqual({ '/password': 'is required' })
  expect(await said('/auth/register', { email: 'x', password: 'short', name: 7 })).toMatchObject({
    '/email': 'must be an e-mail address',
    '/password': 'must have at least 10 characters',
    '/name': 'must be text',
  })
  expect(await said('/assets/downloads', { ids: [] })).toEqual({ '/ids': 'must have at least 1 entry' })
  expect(await said('/assets/downloads', { ids: ['x'] })).toEqual({ '/ids/0': 'must be a UUID' })
  expect(
    await said('/api-keys', { name: 'x'.repeat(101), scopes: ['usage.get'], expiresAt: 'x' }),
  ).toMatchObject({
    '/name': 'must have at most 100 characters',
    '/expiresAt': 'must be a time in UTC, such as 2026-01-31T12:00:00Z',
  })
  expect(await said('/webhooks', { url: 7 })).toMatchObject({ '/url': 'must be text' })
  expect(await said('/generations', { task: 'x', prompt: 'a', count: 1.5 })).toMatchObject({
    '/task': expect.stringMatching(/^must be one of scene, /),
    '/count': 'must be a whole number',
  })
  const { body } = await shared.get<Refusal>('/assets?limit=0')
  expect(body.errors).toEqual([{ pointer: '/query/limit', message: 'must be at least 1' }])
})

test('answers 415 to a body that is compressed, and to JSON in another charset than UTF-8', async () => {
  const send = (headers: Record<string, string>) =>
    shared.request('PATCH', '/api/v1/auth/me', '{"name":"Ann"}', { ...asJson, ...headers })
  for (const encoding of ['gzip', 'br', 'gzip, identity', 'x']) {
    const answer = await send({ 'content-encoding': encoding })
    expect(answer, encoding).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } })
    expect(answer.body.detail).toContain('Content-Encoding')
  }
  for (const type of ['charset=iso-8859-1', 'charset="utf-16"', 'x=y;Charset=latin1'])
    expect((await send({ 'content-type': `application/json; ${type}` })).status, type).toBe(415)
  for (const headers of [
    { 'content-encoding': 'Identity' },
    { 'content-type': 'application/json;charset="UTF-8"' },
  ])
    expect((await send(headers)).status).toBe(200)
})

test.each(jsonRoutes)(
  '$method $path answers 415 to what is not JSON, and 413 above 256 KB',
  async ({ method, url }) => {
    for (const type of [
      '',
      'text/plain',
      'text/json',
      'application/x-www-form-urlencoded',
      'application/jsonx',
    ]) {
      const answer = await shared.request(method, url, '{}', { 'content-type': type })
      expect(answer, type).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } })
    }
    expect((await shared.request(method, url, new TextEncoder().encode('{}'))).status, 'no type').toBe(415)
    const large = JSON.stringify({ name: 'x'.repeat(256 * 1024) })
    const answer = await shared.request(method, url, large, asJson)
    expect(answer).toMatchObject({ status: 413, body: { code: 'payload_too_large' } })
    const init = { method, headers: asJson, body: new Blob([large]).stream(), duplex: 'half' }
    expect((await fetch(stack.api + url, init)).status, 'without a length').toBe(413)
  },
)

test.each([
  'application/json;',
  'application/json ; charset=utf-8',
  'application/json; charset=utf-8; x',
  'Application/JSON',
])('reads JSON sent as %s', async (contentType) => {
  const body = JSON.stringify({ email: newEmail(), password: PASSWORD })
  const answer = await createClient().post('/auth/register', body, { 'content-type': contentType })
  expect(answer.status).toBe(201)
})

test.each([
  ['Latin-1', [0xfc]],
  ['a surrogate', [0xed, 0xa0, 0x80]],
  ['a sequence without its end', [0xe2, 0x82]],
])('answers 400 to bytes that are no UTF-8: %s', async (_, bytes) => {
  const body = Buffer.concat([Buffer.from('{"name":"'), Buffer.from(bytes), Buffer.from('"}')])
  const answer = await shared.request('POST', '/api/v1/workspaces', body, asJson)
  expect(answer).toMatchObject({ status: 400, body: { code: 'malformed_json' } })
})

test('answers 413 by the declared length, before the body arrives', async () => {
  const requestId = `early-${crypto.randomUUID()}`
  const { socket } = openSocket()
  const head = `POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nX-Request-Id: ${requestId}\r\nContent-Type: application/json`
  socket.write(`${head}\r\nContent-Length: 300000\r\n\r\n{`)
  const line = await waitFor('the refusal', () => logOf(requestId))
  socket.destroy()
  expect(line).toMatchObject({ status: 413 })
})

const samples: [string, string, Record<string, string>][] = [
  ['POST', '/auth/register', { email: 'a@example.com', password: PASSWORD, name: 'Ann' }],
  ['POST', '/workspaces', { name: 'Store', slug: 'store' }],
  ['PATCH', `/workspaces/${workspaceId}`, { name: 'Store', slug: 'store' }],
  ['PATCH', `/assets/${NOBODY}`, { name: 'a.png' }],
  ['POST', '/generations', { task: 'scene', prompt: 'a', model: 'studio-scene', aspectRatio: '1:1' }],
]
const fields = samples.flatMap(([method, path, body]) =>
  Object.keys(body).map((field) => ({ method, path, field, body })),
)

const noText = [1, true, null, ['a'], { toString: 'a' }, '', 'x'.repeat(2001), 'long enough \ud800']

test.each(fields)(
  '$method $path answers 422 when $field is not text, empty or too long',
  async ({ method, path, field, body }) => {
    // Generations are limited to fewer requests than these.
    const caller = path === '/generations' ? (await newTenant()).client : shared
    for (const value of field === 'password' ? noText : [...noText, 'abc\0def', '\udc00def']) {
      const sent = JSON.stringify({ ...body, [field]: value })
      const answer = await anywhere(caller).request<Refusal>(method, `/api/v1${path}`, sent, asJson)
      expect(answer.status, sent.slice(0, 80)).toBe(422)
      expect(answer.body.errors.map(({ pointer }) => pointer)).toContain(`/${field}`)
    }
  },
)

test('takes the last of duplicate keys, and refuses __proto__ as an unknown field', async () => {
  const twice = '{"name":"first","name":"last"}'
  expect(await shared.request('POST', '/api/v1/workspaces', twice, asJson)).toMatchObject({
    status: 201,
    body: { name: 'last' },
  })
  const body = '{"name":"a","__proto__":{"slug":"taken-over"}}'
  const answer = await shared.request<Refusal>('POST', '/api/v1/workspaces', body, asJson)
  expect(answer).toMatchObject({ status: 422, body: { errors: [{ pointer: '/__proto__' }] } })
})
