/** Walks the OpenAPI document: every route against nobody, strangers, low roles and garbage. */
import { beforeAll, describe, expect, test } from 'vitest'
import {
  addMember,
  type Client,
  createClient,
  finished,
  type GenerationBody,
  newEmail,
  newTenant,
  openApi,
  PASSWORD,
} from './client.ts'

interface Route {
  name: string
  method: string
  path: string
  isPublic: boolean
  role: string | undefined
  hasBody: boolean
}

const routes: Route[] = Object.entries(openApi.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    name: operation.operationId,
    method: method.toUpperCase(),
    path,
    isPublic: operation.security.length === 0,
    role: operation['x-role'],
    hasBody: operation.requestBody !== undefined,
  })),
)
const secured = routes.filter(({ isPublic }) => !isPublic)
const inWorkspace = secured.filter(({ role }) => role !== undefined)
const withId = secured.filter(({ path }) => path.includes('{id}'))

let owner: Client
let stranger: Client
let viewer: Client
let member: Client
/** The owner's things, by the path that names them. */
let ids: Record<string, string>

const form = () => {
  const data = new FormData()
  data.append('file', new Blob(['some text']), 'file.txt')
  return data
}

/** What each route with a body accepts. A new route without one here fails. */
const bodies: Record<string, () => unknown> = {
  'user.create': () => ({ email: newEmail(), password: PASSWORD }),
  'session.create': () => ({ email: newEmail(), password: PASSWORD }),
  'workspace.create': () => ({ name: 'Another' }),
  'workspace.update': () => ({ name: 'Renamed' }),
  'asset.create': form,
  'asset.update': () => ({ name: 'renamed.txt' }),
  'generation.create': () => ({ kind: 'image', prompt: 'x' }),
}

const bodyOf = (route: Route) => {
  if (!route.hasBody) return undefined
  const body = bodies[route.name]
  if (!body) throw new Error(`${route.name} has no sample body in this test`)
  return body()
}

const concrete = (path: string) => {
  const [, , , collection = ''] = path.split('/')
  return path.replace('{id}', ids[collection] ?? `no sample of ${collection}`)
}

const send = (client: Client, route: Route, path = concrete(route.path)) =>
  client.request(route.method, path, bodyOf(route))

const newIds = async ({ client, workspaceId }: Awaited<ReturnType<typeof newTenant>>) => {
  const { body: asset } = await client.upload('file.txt', 'some text')
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt: 'x' })
  await client.post(`/generations/${job.id}/cancel`)
  await finished(client, job.id)
  return { assets: asset.id, generations: job.id, workspaces: workspaceId }
}

beforeAll(async () => {
  const tenant = await newTenant()
  owner = tenant.client
  stranger = (await newTenant()).client
  viewer = (await addMember(tenant.workspaceId, 'viewer')).client
  member = (await addMember(tenant.workspaceId, 'member')).client
  ids = await newIds(tenant)
})

test('the document lists the routes, each with an id of its own', () => {
  expect(routes.length).toBeGreaterThan(20)
  expect(new Set(routes.map(({ name }) => name)).size).toBe(routes.length)
})

describe.each(secured)('$method $path', (route) => {
  test('refuses nobody', async () => {
    const answer = await send(createClient(), route)
    expect(answer).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
    expect(answer.headers.get('www-authenticate')).toBe('Bearer')
  })

  test('asks the database once', async () => {
    // Of its own: some of these routes take away what others need.
    const tenant = await newTenant()
    const own = await newIds(tenant)
    const [, , , collection = ''] = route.path.split('/')
    const path = route.path.replace('{id}', own[collection as keyof typeof own])
    const answer = await send(tenant.client, route, path)
    expect(answer.status).toBeLessThan(400)
    const requests = /desc="(\d+)"/.exec(answer.headers.get('server-timing') ?? '')?.[1]
    // A streamed upload asks for leave before the bytes and writes the row after them.
    expect(requests).toBe(route.name === 'asset.create' ? '2' : '1')
  })
})

describe.each(inWorkspace)("$method $path with another tenant's workspace", (route) => {
  test('finds nothing', async () => {
    const intruder = stranger.with({ workspaceId: owner.workspaceId as string })
    expect(await send(intruder, route)).toMatchObject({ status: 404, body: { code: 'not_found' } })
  })
})

describe.each(withId)("$method $path with another tenant's id", (route) => {
  test('finds nothing', async () => {
    expect(await send(stranger, route)).toMatchObject({ status: 404, body: { code: 'not_found' } })
  })
})

describe.each(inWorkspace.filter(({ role }) => role !== 'viewer'))('$method $path', (route) => {
  test(`refuses whoever is no ${route.role}`, async () => {
    const low = route.role === 'member' ? viewer : member
    expect(await send(low, route)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  })
})

const garbage = [
  '',
  'null',
  '[]',
  '"text"',
  '{',
  '{"a":1}',
  '\u0000',
  `${'['.repeat(5000)}`,
  '{"__proto__":{}}',
  '1e999',
]
const odd = [
  "' or 1=1 --",
  '%00',
  '..%2f..',
  'x'.repeat(2000),
  '%F0%9F%92%A9',
  '00000000-0000-0000-0000-000000000000',
]

describe.each(routes)('$method $path with garbage', (route) => {
  test('answers 4xx or well, never 5xx', async () => {
    // Whatever it does, it does to things that nobody else needs.
    const victim = await newTenant()
    const own = route.path.includes('{id}') ? odd : ['']
    for (const id of own) {
      const path = route.path.replace('{id}', id)
      const query = '?limit=-1&cursor=%00&status=x&kind=%27&q=%27%3B--&since=never&disposition=x&action=%00'
      const answer = await victim.client.request(route.method, path + query, bodyOf(route))
      expect(answer.status, path).toBeLessThan(500)
    }
    if (!route.hasBody) return
    for (const body of garbage) {
      const answer = await victim.client.request(route.method, concrete(route.path), body, {
        'content-type':
          route.name === 'asset.create' ? 'multipart/form-data; boundary=x' : 'application/json',
      })
      expect(answer.status, body.slice(0, 20)).toBeGreaterThanOrEqual(400)
      expect(answer.status, body.slice(0, 20)).toBeLessThan(500)
    }
  })
})
