/** What every route does with paths, methods, queries, headers and origins, whatever it is for. */
import { describe, expect, test } from 'vitest'
import { type AssetBody, createClient } from '../support/client.ts'
import { stack } from '../support/control.ts'
import { nobodysPathOf, routes } from '../support/routes.ts'
import { sendRaw } from '../support/sockets.ts'
import { NOBODY, newTenant } from '../support/tenants.ts'

interface Refusal extends Record<string, unknown> {
  errors: { pointer: string; message: string }[]
}

const ORIGIN = 'http://localhost:3000'
const { client: shared, workspaceId } = await newTenant()

describe('paths and methods', () => {
  test('answers unknown routes with 404, wrong methods with 405 and Allow, HEAD as GET', async () => {
    for (const path of '/ /api/v1 /api/v1/nope /api/v1/assets/ /__proto__ /% /api/v1//usage'.split(' ')) {
      const answer = await shared.request('GET', path)
      expect(answer, path).toMatchObject({ status: 404, body: { code: 'not_found' } })
    }
    for (const route of routes) {
      const answer = await shared.request('PROPFIND', nobodysPathOf(route))
      expect(answer, route.path).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } })
      const allow = answer.headers.get('allow')?.split(', ') ?? []
      const declared = routes.filter(({ path }) => path === route.path).map(({ method }) => method)
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

  test('names exactly the methods of a route in Allow', async () => {
    expect(await createClient().get('/nothing')).toMatchObject({ status: 404, body: { code: 'not_found' } })
    const wrong = await createClient().request('DELETE', '/api/v1/models')
    expect(wrong).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } })
    expect(wrong.headers.get('allow')).toBe('GET, HEAD')
  })

  test('answers 405 to every method that a path does not have, whatever the body, and lists those it has', async () => {
    const paths = Map.groupBy(routes, ({ path }) => path)
    for (const [path, [route, ...others]] of paths) {
      if (!route) continue
      const declared = [route, ...others].map(({ method }) => method)
      for (const method of ['GET', 'POST', 'PATCH', 'DELETE', 'PUT']) {
        if (declared.includes(method)) continue
        const type = { 'content-type': 'application/x-www-form-urlencoded' }
        const answer = await shared.request(
          method,
          nobodysPathOf(route),
          method === 'GET' ? undefined : 'a=b',
          type,
        )
        const where = `${method} ${path}`
        expect(answer, where).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } })
        const allow = answer.headers.get('allow')?.split(', ')
        expect(allow?.toSorted(), where).toEqual(
          [...declared, ...(declared.includes('GET') ? ['HEAD'] : [])].toSorted(),
        )
      }
    }
  })

  test.each(['/workspaces/', '/assets/', '/generations/'])(
    '%s{id} answers 422 to what is not an id, and 404 to an unknown id',
    async (path) => {
      for (const id of `x 1 %00 % %ff ..%2f ${NOBODY}x {${NOBODY}} constructor ${'x'.repeat(5000)}`.split(
        ' ',
      )) {
        expect((await shared.get(path + id)).status, id).toBe(422)
      }
      for (const id of [NOBODY, NOBODY.toUpperCase(), '00000000-0000-0000-0000-000000000000']) {
        expect(await shared.get(path + id), id).toMatchObject({ status: 404, body: { code: 'not_found' } })
      }
    },
  )
})

describe('queries', () => {
  test.each([
    ...'-1 0 101 abc 1e3 1.5 NaN Infinity 1&limit=2'.split(' ').map((value) => `limit=${value}`),
    ...`abc %00 %ff ..%2f ${NOBODY} ${'A'.repeat(5000)} a&cursor=b`
      .split(' ')
      .map((value) => `cursor=${value}`),
    ...`limit= cursor= q= q=%20 q=%00 q=${'x'.repeat(101)} q=a&q=b kind=x`.split(' '),
    ...'kind=image&kind=image source=__proto__ status=constructor'.split(' '),
  ])('answers 422 to ?%s', async (query) => {
    const answer = await shared.get<Refusal>(`/assets?${query}`)
    expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
    expect(answer.body.errors[0]?.pointer).toBe(`/query/${query.split('=')[0]}`)
  })

  test.each('q=%ff q=%ed%a0%80 q=%25 q=%5C q=_ __proto__=1 constructor[a]=1 = % &&'.split(' '))(
    'answers 200 to ?%s, and finds nothing',
    async (query) => {
      expect(await shared.get(`/assets?${query}`)).toMatchObject({ status: 200, body: { data: [] } })
    },
  )
})

describe('headers', () => {
  test('a well-formed X-Request-Id is kept, any other is replaced', async () => {
    const answered = async (id: string) =>
      (await shared.request('GET', '/health', undefined, { 'x-request-id': id })).headers.get('x-request-id')
    for (const id of ['a', 'trace-1:2.3_4', 'x'.repeat(128)]) expect(await answered(id)).toBe(id)
    for (const id of ['', 'a b', '\u00e9', 'x'.repeat(129), 'a, b', '<b>', '{"a":1}', `'--`, 'a\tb']) {
      expect(await answered(id), id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/)
    }
  })

  test.each(['X-Request-Id', 'X-Workspace-Id', 'Idempotency-Key', 'Authorization', 'Origin', 'User-Agent'])(
    'no byte in %s adds a header to the answer or causes a 5xx',
    async (name) => {
      const start = `GET /api/v1/usage HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${shared.token}`
      for (const value of ['a\0b', 'a\r\n b', 'a\rb', 'a\r\nX-Other: b', '\xff\xfe', 'x'.repeat(20_000)]) {
        const answer = await sendRaw(`${start}\r\n${name}: ${value}\r\n\r\n`)
        expect(answer, JSON.stringify(value).slice(0, 20)).toMatch(/^HTTP\/1\.1 (200|4\d\d) /)
        expect(answer).not.toMatch(/x-other/i)
      }
    },
  )

  test('a malformed X-Workspace-Id or Idempotency-Key is answered with 422', async () => {
    for (const id of ['', 'x', `${workspaceId}, ${workspaceId}`, `{${workspaceId}}`]) {
      expect((await shared.get('/usage', { 'x-workspace-id': id })).status, id).toBe(422)
    }
    expect((await shared.with({ workspaceId: workspaceId.toUpperCase() }).get('/usage')).status).toBe(200)
    expect((await shared.with({ workspaceId: NOBODY }).get('/usage')).status).toBe(404)
    const job = { task: 'scene', prompt: 'a' }
    for (const key of ['', 'é', 'a\tb', 'x'.repeat(256), 'x'.repeat(255)]) {
      const answer = await shared.post('/generations', job, { 'idempotency-key': key })
      expect(answer.status, key).toBe(key.length === 255 ? 202 : 422)
    }
  })

  test('a User-Agent of any characters and length is taken', async () => {
    const longAgent = Buffer.from(`${'a'.repeat(399)}😀`).toString('latin1')
    expect((await shared.get('/usage', { 'user-agent': longAgent })).status).toBe(200)
  })

  test('CORS headers are sent to the configured origins only, on errors too', async () => {
    const others = ['http://evil.example', `${ORIGIN}.evil.example`, `${ORIGIN}, http://a.example`, 'null']
    for (const path of ['/health', '/api/v1/usage', '/nope', `/api/v1/assets/${NOBODY}`]) {
      for (const method of ['GET', 'PUT', 'OPTIONS']) {
        for (const origin of [ORIGIN, ...others]) {
          const headers = {
            origin,
            'content-type': 'application/json',
            'access-control-request-method': 'PATCH',
          }
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
})

test.each([
  ...[`'; drop table assets; --`, `' or '1'='1`, `\\'; select pg_sleep(9); --`],
  ...[`$1 \${x} %s %_`, `x" union select null --`],
])('stores and finds %s as plain text, and refuses it elsewhere', async (text) => {
  const { client } = await newTenant()
  const { body } = await client.post<{ id: string }>('/workspaces', { name: text })
  expect((await client.get(`/workspaces/${body.id}`)).body).toMatchObject({ name: text })
  const asset = await client.upload('plain.txt', text)
  await client.patch(`/assets/${asset.body.id}`, { name: text })
  // Of what may be a path the last segment.
  const name = text.split('\\').at(-1) ?? ''
  const found = await client.get<{ data: AssetBody[] }>(`/assets?q=${encodeURIComponent(name)}`)
  expect(found.body.data).toMatchObject([{ id: asset.body.id, name }])
  const job = { task: 'scene', prompt: text }
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
