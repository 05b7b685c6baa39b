/** Input that nobody should send, to the JSON routes: refused with a reason, or kept as the text that it is. */
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import {
  type AssetBody,
  control,
  createClient,
  newEmail,
  newTenant,
  openApi,
  PASSWORD,
  stack,
  waitFor,
} from '../support/client.ts'

interface Refusal extends Record<string, unknown> {
  errors: { pointer: string; message: string }[]
}

const ORIGIN = 'http://localhost:3000'
const NOBODY = '01890000-0000-7000-8000-000000000000'
const asJson = { 'content-type': 'application/json' }
const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
const operations = Object.entries(openApi.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => {
    const url = path.replace(/\{\w+\}/g, NOBODY)
    return { method: method.toUpperCase(), path, url, takesJson: JSON.stringify(operation.requestBody) }
  }),
)
const jsonRoutes = operations.filter(({ takesJson }) => takesJson?.includes('application/json'))
// These allow a few requests only, before they look at what those say.
const patientRoutes = jsonRoutes.filter(({ path }) => !/login|password|invites/.test(path))

const { client: shared, workspaceId } = await newTenant()
const account = { token: shared.token as string, workspaceId }

/** What fetch would not send, byte by byte; answers all that comes until the server closes. */
const sendRaw = (text: string, onOpen?: (close: () => void) => void) =>
  new Promise<string>((resolve, reject) => {
    const { hostname, port } = new URL(stack.api)
    const received: Buffer[] = []
    const socket = connect(Number(port), hostname, () => {
      socket.write(Buffer.from(text, 'latin1'))
      onOpen?.(() => socket.destroy())
    })
    socket.on('data', (chunk) => received.push(chunk)).on('error', reject)
    socket.on('close', () => resolve(Buffer.concat(received).toString('latin1')))
  })

test.each(patientRoutes)('$method $path refuses bodies of another shape', async ({ method, url }) => {
  const send = (body: string) => createClient(account).request<Refusal>(method, url, body, asJson)
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
})

test.each(jsonRoutes)('$method $path takes JSON only, of a sane size', async ({ method, url }) => {
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
})

test('refuses by the declared length, before the body comes', async () => {
  const requestId = `early-${crypto.randomUUID()}`
  const head = `POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nX-Request-Id: ${requestId}\r\nContent-Type: application/json`
  const close = await new Promise<() => void>((opened, failed) => {
    sendRaw(`${head}\r\nContent-Length: 300000\r\n\r\n{`, opened).catch(failed)
  })
  const line = await waitFor('the refusal', async () =>
    (await control<string[]>('logs')).find((entry) => entry.includes(requestId)),
  )
  close()
  expect(JSON.parse(line)).toMatchObject({ status: 413 })
})

const samples: [string, string, Record<string, string>][] = [
  ['POST', '/auth/register', { email: 'a@example.com', password: PASSWORD, name: 'Ann' }],
  ['POST', '/workspaces', { name: 'Store', slug: 'store' }],
  ['PATCH', `/workspaces/${workspaceId}`, { name: 'Store', slug: 'store' }],
  ['PATCH', `/assets/${NOBODY}`, { name: 'a.png' }],
  ['POST', '/generations', { kind: 'image', prompt: 'a', model: 'product-studio', aspectRatio: '1:1' }],
]
const fields = samples.flatMap(([method, path, body]) =>
  Object.keys(body).map((field) => ({ method, path, field, body })),
)

const noText = [1, true, null, ['a'], { toString: 'a' }, '', 'x'.repeat(2001), 'long enough \ud800']

test.each(fields)('$method $path: what is no text in $field', async ({ method, path, field, body }) => {
  const { token, workspaceId } = path === '/generations' ? (await newTenant()).client : shared
  for (const value of field === 'password' ? noText : [...noText, 'abc\0def', '\udc00def']) {
    const caller = createClient({ token: String(token), workspaceId: String(workspaceId) })
    const sent = JSON.stringify({ ...body, [field]: value })
    const answer = await caller.request<Refusal>(method, `/api/v1${path}`, sent, asJson)
    expect(answer.status, sent.slice(0, 80)).toBe(422)
    expect(answer.body.errors.map(({ pointer }) => pointer)).toContain(`/${field}`)
  }
})

test.each([
  ...['{"kind":"audio"}', '{"count":0}', '{"count":1.5}', '{"count":"2"}', '{"seed":-1}'],
  ...['{"seed":2147483648}', '{"inputAssetIds":{}}', `{"inputAssetIds":["${NOBODY}","${NOBODY}"]}`],
  `{"inputAssetIds":[${'"x",'.repeat(9_999)}"x"]}`,
])('refuses the generation %.40s', async (json) => {
  const change = JSON.parse(json) as object
  const answer = await shared.post<Refusal>('/generations', { kind: 'image', prompt: 'a', ...change })
  expect(answer).toMatchObject({ status: 422, body: { errors: [{ pointer: `/${Object.keys(change)[0]}` }] } })
})

test('takes the last of duplicate keys, and __proto__ for the unknown field that it is', async () => {
  const twice = '{"name":"first","name":"last"}'
  expect(await shared.request('POST', '/api/v1/workspaces', twice, asJson)).toMatchObject({
    status: 201,
    body: { name: 'last' },
  })
  const body = '{"name":"a","__proto__":{"slug":"taken-over"}}'
  const answer = await shared.request<Refusal>('POST', '/api/v1/workspaces', body, asJson)
  expect(answer).toMatchObject({ status: 422, body: { errors: [{ pointer: '/__proto__' }] } })
})

test.each([
  ...[`'; drop table assets; --`, `' or '1'='1`, `\\'; select pg_sleep(9); --`],
  ...[`$1 \${x} %s %_`, `x" union select null --`],
])('keeps %s as the text that it is', async (text) => {
  const { client } = await newTenant()
  const { body } = await client.post<{ id: string }>('/workspaces', { name: text })
  expect((await client.get(`/workspaces/${body.id}`)).body).toMatchObject({ name: text })
  const asset = await client.upload('plain.txt', text)
  await client.patch(`/assets/${asset.body.id}`, { name: text })
  const found = await client.get<{ data: AssetBody[] }>(`/assets?q=${encodeURIComponent(text)}`)
  expect(found.body.data).toMatchObject([{ id: asset.body.id, name: text }])
  const job = { kind: 'image', prompt: text }
  const key = { 'idempotency-key': text }
  const first = await client.post<{ id: string }>('/generations', job, key)
  expect(first).toMatchObject({ status: 202, body: { prompt: text } })
  expect((await client.post('/generations', job, key)).body.id).toBe(first.body.id)
  expect((await client.post('/workspaces', { name: 'a', slug: text })).status).toBe(422)
  expect((await client.post('/auth/login', { email: text, password: text })).status).toBe(422)
  expect((await client.with({ workspaceId: text }).get('/usage')).status).toBe(422)
  expect((await client.get(`/assets/${encodeURIComponent(text)}`)).status).toBe(422)
  expect((await client.with({ token: text }).get('/usage')).status).toBe(401)
})

test.each([
  ...'-1 0 101 abc 1e3 1.5 NaN Infinity 1&limit=2'.split(' ').map((value) => `limit=${value}`),
  ...`abc %00 %ff ..%2f ${NOBODY} ${'A'.repeat(5000)} a&cursor=b`
    .split(' ')
    .map((value) => `cursor=${value}`),
  ...`limit= cursor= q= q=%20 q=%00 q=${'x'.repeat(101)} q=a&q=b kind=x`.split(' '),
  ...'kind=image&kind=image source=__proto__ status=constructor'.split(' '),
])('refuses to list ?%s', async (query) => {
  const answer = await shared.get<Refusal>(`/assets?${query}`)
  expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
  expect(answer.body.errors[0]?.pointer).toBe(`/query/${query.split('=')[0]}`)
})

test.each('q=%ff q=%ed%a0%80 q=%25 q=%5C q=_ __proto__=1 constructor[a]=1 = % &&'.split(' '))(
  'does not stumble over ?%s',
  async (query) => {
    expect(await shared.get(`/assets?${query}`)).toMatchObject({ status: 200, body: { data: [] } })
  },
)

test.each(['/workspaces/', '/assets/', '/generations/'])('%s{id} knows ids from others', async (path) => {
  for (const id of `x 1 %00 % %ff ..%2f ${NOBODY}x {${NOBODY}} constructor ${'x'.repeat(5000)}`.split(' ')) {
    expect((await shared.get(path + id)).status, id).toBe(422)
  }
  for (const id of [NOBODY, NOBODY.toUpperCase(), '00000000-0000-0000-0000-000000000000']) {
    expect(await shared.get(path + id), id).toMatchObject({ status: 404, body: { code: 'not_found' } })
  }
})

test('answers unknown routes with 404, wrong methods with 405 and Allow, HEAD as GET', async () => {
  for (const path of '/ /api/v1 /api/v1/nope /api/v1/assets/ /__proto__ /% /api/v1//usage'.split(' ')) {
    const answer = await shared.request('GET', path)
    expect(answer, path).toMatchObject({ status: 404, body: { code: 'not_found' } })
  }
  for (const { path, url } of operations) {
    const answer = await shared.request('PROPFIND', url)
    expect(answer, path).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } })
    const allow = answer.headers.get('allow')?.split(', ') ?? []
    const declared = operations.filter((operation) => operation.path === path).map(({ method }) => method)
    expect(allow).toEqual(expect.arrayContaining(declared))
    expect(allow.includes('HEAD')).toBe(allow.includes('GET'))
  }
  for (const path of ['/health', `/api/v1/assets/${NOBODY}`, '/nope']) {
    const headers = { authorization: `Bearer ${shared.token}` }
    const head = await fetch(stack.api + path, { method: 'HEAD', headers })
    expect(head.status).toBe((await fetch(stack.api + path, { headers })).status)
    expect(await head.text()).toBe('')
  }
})

test('keeps a sane X-Request-Id and replaces any other', async () => {
  const answered = async (id: string) =>
    (await shared.request('GET', '/health', undefined, { 'x-request-id': id })).headers.get('x-request-id')
  for (const id of ['a', 'trace-1:2.3_4', 'x'.repeat(128)]) expect(await answered(id)).toBe(id)
  for (const id of ['', 'a b', '\u00e9', 'x'.repeat(129), 'a, b', '<b>', '{"a":1}', `'--`, 'a\tb']) {
    expect(await answered(id), id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/)
  }
})

test.each(['X-Request-Id', 'X-Workspace-Id', 'Idempotency-Key', 'Authorization', 'Origin', 'User-Agent'])(
  'no byte in %s ends the header or the server',
  async (name) => {
    const start = `GET /api/v1/usage HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${shared.token}`
    for (const value of ['a\0b', 'a\r\n b', 'a\rb', 'a\r\nX-Other: b', '\xff\xfe', 'x'.repeat(20_000)]) {
      const answer = await sendRaw(`${start}\r\n${name}: ${value}\r\n\r\n`)
      expect(answer, JSON.stringify(value).slice(0, 20)).toMatch(/^HTTP\/1\.1 (200|4\d\d) /)
      expect(answer).not.toMatch(/x-other/i)
    }
  },
)

test('X-Workspace-Id and Idempotency-Key have a form', async () => {
  for (const id of ['', 'x', `${workspaceId}, ${workspaceId}`, `{${workspaceId}}`]) {
    expect((await shared.get('/usage', { 'x-workspace-id': id })).status, id).toBe(422)
  }
  expect((await shared.with({ workspaceId: workspaceId.toUpperCase() }).get('/usage')).status).toBe(200)
  expect((await shared.with({ workspaceId: NOBODY }).get('/usage')).status).toBe(404)
  const job = { kind: 'image', prompt: 'a' }
  for (const key of ['', 'é', 'a\tb', 'x'.repeat(256), 'x'.repeat(255)]) {
    const answer = await shared.post('/generations', job, { 'idempotency-key': key })
    expect(answer.status, key).toBe(key.length === 255 ? 202 : 422)
  }
})

test('e-mails are ASCII, and one account in any case', async () => {
  for (const email of 'ü@example.com|a@exämple.com|a＠example.com|a b@c.de|a@b|a@b..de|a\n@b.de'.split('|')) {
    const answer = await createClient().post('/auth/register', { email, password: PASSWORD })
    expect(answer.status, email).toBe(422)
  }
  const email = `k.o'brien-${newEmail()}`
  const shouted = `  ${email.toUpperCase().replace('K', '\u212a')} `
  const registered = await createClient().post('/auth/register', { email: shouted, password: PASSWORD })
  expect(registered).toMatchObject({ status: 201, body: { user: { email } } })
  expect((await createClient().post('/auth/register', { email, password: PASSWORD })).status).toBe(409)
})

test('a password counts in full, whatever its characters', async () => {
  const email = newEmail()
  const login = async (password: string) =>
    (await createClient().post('/auth/login', { email, password })).status
  const password = 'pässword\0\u{1f600} long'
  expect((await createClient().post('/auth/register', { email, password })).status).toBe(201)
  expect(await login(password)).toBe(200)
  for (const other of ['pässword', 'pässword\0', `${password}\ud800`, `${password} `]) {
    expect(await login(other), JSON.stringify(other)).toBe(401)
  }
})

test('CORS is for the configured origins, on errors too', async () => {
  const others = ['http://evil.example', `${ORIGIN}.evil.example`, `${ORIGIN}, http://a.example`, 'null']
  for (const path of ['/health', '/api/v1/usage', '/nope', `/api/v1/assets/${NOBODY}`]) {
    for (const method of ['GET', 'PUT', 'OPTIONS']) {
      for (const origin of [ORIGIN, ...others]) {
        const headers = { origin, ...asJson, 'access-control-request-method': 'PATCH' }
        const response = await fetch(stack.api + path, { method, headers })
        expect(response.headers.get('access-control-allow-origin')).toBe(origin === ORIGIN ? ORIGIN : null)
        expect(response.headers.get('vary')).toContain('Origin')
        if (method !== 'OPTIONS') continue
        expect(response.status).toBe(204)
        expect(response.headers.get('access-control-allow-methods')).toContain('PATCH')
        expect(response.headers.get('access-control-allow-headers')).toContain('X-Workspace-Id')
      }
    }
  }
})
