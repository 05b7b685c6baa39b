/** Walks the OpenAPI document: every route refuses people and keys of other workspaces, and those with too few rights. */
import { beforeAll, describe, expect, test } from 'vitest'
import { type Client, createClient } from '../support/client.ts'
import { openApi } from '../support/contract.ts'
import { asOwner } from '../support/database.ts'
import {
  bodyOf,
  expectRefusal,
  inWorkspace,
  makeThings,
  makeThingsFor,
  pathOf,
  type Route,
  readsJson,
  reportAttacks,
  secured,
  send,
  type Things,
} from '../support/routes.ts'
import { addMember, newKey, newTenant, signUp } from '../support/tenants.ts'

const withId = secured.filter(({ path }) => path.includes('{'))
/** With a part that belongs to the workspace that the path begins with. */
const withInnerId = withId.filter(({ path }) => /\{.*\{/.test(path))
const byHeader = inWorkspace.filter((route) => route.byHeader)
const withJson = secured.filter(({ takesJson }) => takesJson)

const scopes = (() => {
  const schema = JSON.stringify(openApi.paths['/api/v1/api-keys']?.post?.requestBody)
  return JSON.parse(/"enum":(\[[^\]]*\])/.exec(schema)?.[1] ?? '[]') as string[]
})()
const open = secured.filter(({ name }) => scopes.includes(name))

let owner: Client
let things: Things
let stranger: Client
let theirs: Things
let removed: Client
let below: Record<string, Client>
let stale: { client: Client; things: Things }
let unproved: { client: Client; things: Things }
let keys: Record<'other' | 'usage' | 'revoked' | 'expired', string>

beforeAll(async () => {
  const [tenant, other] = [await newTenant(), await newTenant()]
  owner = tenant.client
  stranger = other.client
  ;[things, theirs] = await Promise.all([makeThings(tenant), makeThings(other)])
  const [viewer, member, admin] = [
    await addMember(tenant.workspaceId, 'viewer'),
    await addMember(tenant.workspaceId, 'member'),
    await addMember(tenant.workspaceId, 'admin'),
  ]
  below = { member: viewer.client, admin: member.client, owner: admin.client }
  const gone = await addMember(tenant.workspaceId, 'admin')
  removed = gone.client
  expect((await removed.get('/usage')).status).toBe(200)
  expect((await owner.delete(`/workspaces/${tenant.workspaceId}/members/${gone.userId}`)).status).toBe(204)
  // Somebody who proved themselves too long ago, and an owner without the second factor that their workspace demands.
  const [late, bare] = [await newTenant(), await newTenant()]
  stale = { client: late.client, things: await makeThings(late) }
  await asOwner(`update sessions set proved_at = now() - interval '15 minutes' where user_id = $1`, [
    late.userId,
  ])
  unproved = { client: bare.client, things: await makeThings(bare) }
  await asOwner('update sessions set second_factor = false where user_id = $1', [bare.userId])
  await asOwner('update workspaces set second_factor_required = true where id = $1', [bare.workspaceId])
  const [revoked, expired] = [await newKey(owner, scopes), await newKey(owner, scopes)]
  keys = {
    other: (await newKey(stranger, scopes)).key,
    usage: (await newKey(owner, ['usage.get'])).key,
    revoked: revoked.key,
    expired: expired.key,
  }
  await owner.delete(`/api-keys/${revoked.id}`)
  await asOwner('update api_keys set expires_at = now() where id = $1', [expired.id])
})
reportAttacks()

describe.each(inWorkspace)('$method $path', (route) => {
  test('answers 404 to a removed member', async () => {
    expectRefusal('removed member', await send(removed, route, things), 'not_found', 1)
  })
})

describe.each(inWorkspace.filter(({ role }) => role !== 'viewer'))('$method $path', (route) => {
  test(`answers 403 below the role ${route.role}`, async () => {
    const low = below[route.role as string] as Client
    expectRefusal('too low a role', await send(low, route, things), 'forbidden', 1)
  })
})

describe.each(secured.filter(({ stepUp }) => stepUp))('$method $path', (route) => {
  test('answers 403 to whoever has not proved themselves lately', async () => {
    expectRefusal('stale proof', await send(stale.client, route, stale.things), 'step_up_required', 1)
  })
})

describe.each(inWorkspace)('$method $path', (route) => {
  test('answers 403 without the second factor that the workspace demands', async () => {
    const answer = await send(unproved.client, route, unproved.things)
    expectRefusal('no second factor', answer, 'second_factor_required', 1)
  })
})

test('a member cannot remove another member', async () => {
  const remove = inWorkspace.find(({ name }) => name === 'member.remove') as Route
  expectRefusal('too low a role', await send(below.admin as Client, remove, things), 'forbidden', 1)
})

describe.each(withId)('$method $path', (route) => {
  test("answers 404 for another tenant's id", async () => {
    expectRefusal("another's id in path", await send(stranger, route, things), 'not_found', 1)
  })
})

describe.each(withInnerId)('$method $path', (route) => {
  test("answers 404 for another tenant's id below one's own workspace", async () => {
    const mixed = { ...things, workspaces: theirs.workspaces }
    expectRefusal("another's id in path", await send(stranger, route, mixed), 'not_found', 1)
  })
})

describe.each(byHeader)('$method $path', (route) => {
  test("answers 404 for another tenant's, or an unknown, workspace in the header", async () => {
    const intruder = stranger.with({ workspaceId: things.workspaces })
    expectRefusal("another's in header", await send(intruder, route, things), 'not_found', 1)
    const nowhere = stranger.with({ workspaceId: crypto.randomUUID() })
    expectRefusal("nobody's in header", await send(nowhere, route, things), 'not_found', 1)
  })
})

describe.each(withJson)('$method $path', (route) => {
  test('answers 422 to a workspaceId in the body', async () => {
    // The caller's own path, so that nothing but the body is strange; and the limiter knows them.
    await stranger.get('/usage')
    const body = { ...(bodyOf(route, theirs) as object), workspaceId: things.workspaces }
    const answer = await stranger.request(route.method, pathOf(route, theirs), body)
    expectRefusal('workspaceId in body', answer, 'validation_failed', 0)
  })
})

test("answers 404 for another tenant's ids in a body", async () => {
  const bodies: [string, unknown][] = [
    ['/generations', { task: 'scene', inputAssetIds: [things.assets] }],
    [`/workspaces/${theirs.workspaces}/transfer`, { userId: things.userId }],
    ['/workspaces/invites/accept', { token: things.inviteToken }],
  ]
  await stranger.get('/usage')
  for (const [path, body] of bodies) {
    expectRefusal("another's id in body", await stranger.post(path, body), 'not_found', 1)
  }
})

describe.each(secured)('$method $path by API key', (route) => {
  const api = (token: string, workspaceId?: string) =>
    createClient({ token, ...(workspaceId && { workspaceId }) })

  test('answers 403 without its scope, and to every key where no scope exists for it', async () => {
    const withoutScope =
      route.name === 'usage.get' ? await newKey(owner, ['asset.list']) : { key: keys.usage }
    expectRefusal('key without scope', await send(api(withoutScope.key), route, things), 'forbidden', 1)
    if (open.includes(route)) return
    const all = await newKey(owner, scopes)
    expectRefusal('key with all scopes', await send(api(all.key), route, things), 'forbidden', 1)
  })

  test('answers 401 to a revoked or expired key', async () => {
    for (const token of [keys.revoked, keys.expired]) {
      expectRefusal('ended key', await send(api(token), route, things), 'unauthorized', 1)
    }
  })

  test("answers 404 for a workspace that is not the key's", async () => {
    const key = api(keys.other, things.workspaces)
    // Where no workspace matters there is no scope either.
    const code = route.role === undefined && !open.includes(route) ? 'forbidden' : 'not_found'
    if (route.name !== 'model.list') {
      expectRefusal("another workspace's key", await send(key, route, things), code, 1)
    }
    if (open.includes(route) && route.path.includes('{')) {
      await api(keys.other).get('/usage')
      expectRefusal("another's id by key", await send(api(keys.other), route, things), 'not_found', 1)
    }
  })
})

test.each(open.filter(readsJson))('$method $path works by API key with its scope', async (route) => {
  const tenant = await newTenant()
  const own = await makeThingsFor(route, tenant)
  const { key } = await newKey(tenant.client, [route.name])
  const answer = await send(createClient({ token: key }), route, own)
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(400)
})

test('answers 404 to somebody without a workspace', async () => {
  const { client } = await signUp()
  for (const route of inWorkspace.filter(({ path }) => path.includes('/workspaces/'))) {
    expectRefusal('no workspace', await send(client, route, things), 'not_found', 1)
  }
})
