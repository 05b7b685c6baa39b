/** Walks the OpenAPI document: every route works, refuses who is nobody (any more), and survives garbage. */
import { beforeAll, describe, expect, test } from 'vitest'
import { type Client, createClient } from '../support/client.ts'
import { asOwner } from '../support/database.ts'
import {
  bodyOf,
  databaseRequestsOf,
  expectRefusal,
  inWorkspace,
  makeThings,
  makeThingsFor,
  pathOf,
  readsJson,
  reportAttacks,
  routes,
  secured,
  send,
  type Things,
} from '../support/routes.ts'
import { logIn, newTenant } from '../support/tenants.ts'
import { claimsOf, signToken } from '../support/tokens.ts'

let owner: Client
let things: Things
/** A token that was good, ended on purpose one way or another. */
let ended: Record<'expired token' | 'revoked session' | 'expired session' | 'disabled user', string>

const expiredToken = (token: string) => {
  const claims = claimsOf(token)
  return signToken({ ...claims, iat: claims.iat - 901, exp: claims.iat - 1 })
}

/** Another session of the owner's. */
const signInAgain = async (email: string) => {
  const { access_token: token } = (await logIn(email)).body
  return { token, sessionId: claimsOf(token).sid as string }
}

beforeAll(async () => {
  const tenant = await newTenant()
  owner = tenant.client
  const [revoked, late] = [await signInAgain(tenant.email), await signInAgain(tenant.email)]
  const disabled = await newTenant()
  ended = {
    'expired token': await expiredToken(tenant.token),
    'revoked session': revoked.token,
    'expired session': late.token,
    'disabled user': disabled.token,
  }
  for (const token of [revoked.token, late.token]) {
    expect((await owner.with({ token }).get('/usage')).status).toBe(200)
  }
  expect((await owner.delete(`/auth/sessions/${revoked.sessionId}`)).status).toBe(204)
  await asOwner('update sessions set expires_at = now() where id = $1', [late.sessionId])
  await asOwner('update users set disabled_at = now() where id = $1', [disabled.userId])
  // A first second factor ends the other sessions.
  things = await makeThings(tenant)
})
reportAttacks()

test('the document lists every route, each with an id of its own', () => {
  expect(routes.length).toBeGreaterThan(35)
  expect(new Set(routes.map(({ name }) => name)).size).toBe(routes.length)
  // Whatever names a workspace in its path or header has a least role.
  expect(inWorkspace.length).toBeGreaterThan(20)
})

describe.each(secured)('$method $path', (route) => {
  test('answers 401 without credentials', async () => {
    const answer = await send(createClient({ workspaceId: owner.workspaceId as string }), route, things)
    expectRefusal('nobody', answer, 'unauthorized', 0)
    expect(answer.headers.get('www-authenticate')).toBe('Bearer')
  })

  test('answers 401 to a token that has expired, was revoked, or belongs to a disabled user', async () => {
    for (const [attack, token] of Object.entries(ended)) {
      const answer = await send(owner.with({ token }), route, things)
      // The Worker itself knows the time; the rest takes a look.
      expectRefusal(attack, answer, 'unauthorized', attack === 'expired token' ? 0 : 1)
    }
  })

  test('answers 401 to forged credentials, without asking the database', async () => {
    const [header, claims, signature] = (owner.token as string).split('.')
    const unsigned = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')
    for (const token of [
      `${header}.${claims}.${signature?.slice(0, -4)}AAAA`,
      `${unsigned}.${claims}.`,
      `mck_${'x'.repeat(49)}`,
      'x',
    ]) {
      expectRefusal('forged', await send(owner.with({ token }), route, things), 'unauthorized', 0)
    }
  })
})

describe.each(secured.filter(readsJson))('$method $path', (route) => {
  test('makes one request to the database', async () => {
    // Of its own: some of these routes take away what others need.
    const tenant = await newTenant()
    const own = await makeThingsFor(route, tenant)
    // The first request of a caller may take another, for the limits of its workspace.
    await tenant.client.get('/usage')
    const answer = await send(tenant.client, route, own)
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(400)
    if (answer.status === 201) expect(answer.headers.get('location')).toMatch(/^\/api\/v1\//)
    // A streamed upload asks for leave before the bytes; a direct one is looked at in between; a password's hash and a code
    // are compared between two requests; a retry is priced by what the job asked for.
    const twice = [
      'asset.create',
      'asset.complete',
      'generation.retry',
      'password.update',
      'session.prove',
      'totp.confirm',
    ].includes(route.name)
    expect(databaseRequestsOf(answer)).toBe(twice ? 2 : 1)
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
  '['.repeat(5000),
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

// The feed of events ends with its reader.
const finite = routes.filter(({ name }) => name !== 'event.list')
describe.each(finite)('$method $path', (route) => {
  test('answers garbage with 4xx, or with success where it makes sense, never with 5xx', async () => {
    // Whatever it does, it does to things that nobody else needs.
    const victim = await newTenant()
    for (const id of route.path.includes('{') ? odd : ['']) {
      const path = route.path.replace(/\{\w+\}/g, id)
      const query = '?limit=-1&cursor=%00&status=x&kind=%27&q=%27%3B--&since=never&disposition=x&action=%00'
      const answer = await victim.client.request(route.method, path + query, bodyOf(route, things))
      expect(answer.status, path).toBeLessThan(500)
    }
    if (!route.hasBody) return
    for (const body of garbage) {
      const answer = await victim.client.request(route.method, pathOf(route, things), body, {
        'content-type': route.takesJson ? 'application/json' : 'multipart/form-data; boundary=x',
      })
      expect(answer.status, body.slice(0, 20)).toBeGreaterThanOrEqual(400)
      expect(answer.status, body.slice(0, 20)).toBeLessThan(500)
    }
  })
})
