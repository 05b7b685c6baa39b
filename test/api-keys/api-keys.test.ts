/** API keys: shown once, bound to a workspace and its scopes, refused from their end on, and managed by admins. */
import { createHash } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { type Client, createClient, type Page } from '../support/client.ts'
import { openApi } from '../support/contract.ts'
import { asOwner } from '../support/database.ts'
import { generate } from '../support/generations.ts'
import { makeThingsFor, type Route, routes, send } from '../support/routes.ts'
import { addMember, newKey, newTenant, type Tenant } from '../support/tenants.ts'

interface Key {
  id: string
  name: string
  start: string
  key: string
  scopes: string[]
  lastUsedAt: string | null
}
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const schema = openApi.components.schemas.ApiKey as { properties: { scopes: { items: { enum: string[] } } } }
const scopes = schema.properties.scopes.items.enum

/** A key that lists assets unless told otherwise, and a client that uses it. */
const newCaller = async (owner: Client, of = ['asset.list'], changes: object = {}) => {
  const key = await newKey<Key>(owner, of, changes)
  return { ...key, client: createClient({ token: key.key }) }
}
const keyRow = async (id: string) =>
  (await asOwner('select *, xmin::text as version from api_keys where id = $1', [id]))[0]
const statusOfList = async (client: Client) => (await client.get('/assets')).status

let ours: Tenant
let theirs: Tenant
beforeAll(async () => {
  ;[ours, theirs] = await Promise.all([newTenant(), newTenant()])
})

test('a key is shown once and stored as its hash', async () => {
  const answer = await ours.client.post<Key>('/api-keys', {
    name: ' CI ',
    scopes: ['asset.list', 'asset.list'],
  })
  const { key, ...rest } = answer.body
  expect(answer.headers.get('cache-control')).toBe('no-store')
  expect(key).toMatch(/^mck_[\w-]{43}[0-9a-f]{6}$/)
  expect(sha256(key.slice(4, -6))).toMatch(new RegExp(`^${key.slice(-6)}`))
  expect(rest).toMatchObject({ name: 'CI', scopes: ['asset.list'], lastUsedAt: null, createdBy: ours.userId })
  expect(rest.start).toBe(key.slice(0, 8))
  const row = await keyRow(rest.id)
  expect(row).toMatchObject({ key_hash: sha256(key), start: rest.start, workspace_id: ours.workspaceId })
  const audit = await asOwner('select * from audit_logs where resource_id = $1', [rest.id])
  expect(audit).toMatchObject([{ action: 'api_key.create', actor_type: 'user', actor_id: ours.userId }])
  const { body: list } = await ours.client.get<{ data: Key[] }>('/api-keys')
  expect(list.data.find(({ id }) => id === rest.id)).toEqual(rest)
  const secret = key.slice(8)
  for (const seen of [rest, row, audit, list]) expect(JSON.stringify(seen)).not.toContain(secret)
  expect(JSON.stringify([rest, list, audit])).not.toContain(sha256(key))
})

test('a workspace has up to 100 keys in force, also of two made at once', async () => {
  const { client, workspaceId, userId } = await newTenant()
  await asOwner(
    `insert into api_keys (workspace_id, id, name, start, key_hash, scopes, created_by, expires_at)
     select $1, app.uuid_v7(), 'x', 'mck_', gen_random_uuid(), '{}', $2, case n when 1 then now() end
       from generate_series(1, 100) n`,
    [workspaceId, userId],
  )
  const answers = await times(2, () => client.post<Key>('/api-keys', { name: 'x', scopes: ['asset.list'] }))
  // One has expired.
  expect(tally(answers)).toEqual({ 201: 1, 402: 1 })
  expect(answers.find(({ status }) => status === 402)?.body).toMatchObject({ code: 'plan_limit_reached' })
  const id = answers.find(({ status }) => status === 201)?.body.id
  expect((await client.delete(`/api-keys/${id}`)).status).toBe(204)
  await newKey(client, ['asset.list'])
})

test('a key that has expired is in force no more: it is not listed, not revoked, and left alone by a new one', async () => {
  const { client, workspaceId } = await newTenant()
  const expired = await newCaller(client)
  await asOwner('update api_keys set expires_at = now() where id = $1', [expired.id])
  const fresh = await newCaller(client)
  const { body } = await client.get<{ data: Key[] }>('/api-keys')
  expect(body.data.map(({ id }) => id)).toEqual([fresh.id])
  expect((await client.delete(`/api-keys/${expired.id}`)).status).toBe(404)
  const created = await asOwner(
    `select resource_id from audit_logs where workspace_id = $1 and action = 'api_key.create' order by id`,
    [workspaceId],
  )
  expect(created.map(({ resource_id }) => resource_id)).toEqual([expired.id, fresh.id])
})

test('lists the keys of a workspace page by page, without the revoked ones', async () => {
  const { client } = await newTenant()
  const [first, second, third] = [await newCaller(client), await newCaller(client), await newCaller(client)]
  await client.delete(`/api-keys/${second.id}`)
  const page = await client.get<{ data: Key[]; nextCursor: string }>('/api-keys?limit=1')
  const rest = await client.get<{ data: Key[] }>(`/api-keys?limit=1&cursor=${page.body.nextCursor}`)
  expect([page, rest].map(({ body }) => body.data.map(({ id }) => id))).toEqual([[third.id], [first.id]])
  expect(rest.body).toMatchObject({ nextCursor: null })
})

test.each<[string, object]>([
  ['no name', { name: '' }],
  ['no scopes', { scopes: [] }],
  ['an unknown scope', { scopes: ['asset.everything'] }],
  ['all scopes', { scopes: ['*'] }],
  ['scopes that are no list', { scopes: 'asset.list' }],
  ...[
    'api_key.create',
    'member.update',
    'workspace.delete',
    'invite.create',
    'user.get',
    'password.update',
  ].map((action): [string, object] => [`the scope ${action}`, { scopes: ['asset.list', action] }]),
  ['an end in the past', { expiresAt: '2020-01-01T00:00:00Z' }],
  ['an end that is no time', { expiresAt: 'tomorrow' }],
  ['a hash of its own', { keyHash: sha256('x') }],
  ['another workspace', { workspaceId: crypto.randomUUID() }],
])('answers 422 to a key with %s', async (_, change) => {
  const answer = await ours.client.post('/api-keys', { name: 'server', scopes: ['asset.list'], ...change })
  expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
})

describe('a key is used', () => {
  const use = async ({ client }: { client: Client }, route: Route, tenant: Tenant) =>
    send(client, route, await makeThingsFor(route, tenant))

  test.each(scopes)('with %s, and not without', async (scope) => {
    const tenant = await newTenant()
    const without = await newCaller(
      tenant.client,
      scopes.filter((other) => other !== scope),
    )
    const alone = await newCaller(tenant.client, [scope])
    const scoped = routes.filter(({ name }) => name === scope)
    expect(scoped).not.toHaveLength(0)
    for (const route of scoped) {
      const refused = await use(without, route, tenant)
      expect(refused).toMatchObject({ status: 403, body: { code: 'forbidden' } })
      expect(refused.headers.get('server-timing')).toMatch(/^db;desc="1";/)
      const allowed = await use(alone, route, tenant)
      expect(allowed.status, JSON.stringify(allowed.body)).toBeLessThan(400)
      // The first request of a key asks which workspace's limit counts; an upload asks for leave before the bytes, and a
      // retry for the job.
      const requests =
        {
          'asset.begin': 2,
          'asset.check': 2,
          'asset.complete': 3,
          'asset.create': 2,
          'audit.verify': 2,
          'export.create': 2,
          'generation.create': 2,
          'generation.retry': 3,
        }[scope] ?? 1
      expect(allowed.headers.get('server-timing')).toContain(`db;desc="${requests}";`)
    }
  })

  const administration = `session.revoke session.list session.delete user.get user.update password.update
    workspace.create workspace.list workspace.update workspace.delete member.list member.remove invite.create
    api_key.create api_key.list api_key.revoke`
  test.each(administration.split(/\s+/))('never for %s', async (name) => {
    const key = await newCaller(ours.client, scopes)
    for (const route of routes.filter((other) => other.name === name)) {
      const answer = await use(key, route, ours)
      expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    }
  })

  test('with audit.export for the export, which audit.list does not open', async () => {
    const status = async (scope: string) => {
      const { client } = await newCaller(ours.client, [scope])
      const response = await client.open('/audit-logs/export')
      await response.body?.cancel()
      return response.status
    }
    expect([await status('audit.export'), await status('audit.list')]).toEqual([200, 403])
  })

  test('in its own workspace, whether the header names it or not', async () => {
    const { client } = await newCaller(ours.client)
    const status = (workspaceId: string) => statusOfList(client.with({ workspaceId }))
    expect(await statusOfList(client)).toBe(200)
    expect(await status(ours.workspaceId.toUpperCase())).toBe(200)
    expect(await status(theirs.workspaceId)).toBe(404)
    expect(await status(crypto.randomUUID())).toBe(404)
  })

  test('under its own name, and only on what is in its workspace', async () => {
    const key = await newCaller(ours.client, ['generation.create', 'asset.get'])
    const job = await generate(key.client)
    const rows = await asOwner('select workspace_id, created_by from generations where id = $1', [job.id])
    expect(rows).toEqual([{ workspace_id: ours.workspaceId, created_by: null }])
    const audit = await ours.client.get(`/audit-logs?resourceId=${job.id}&action=generation.create`)
    expect(audit.body.data).toMatchObject([{ actor: { type: 'api_key', id: key.id } }])
    const [mine, hidden] = [await ours.client.upload('a.txt', 'x'), await theirs.client.upload('a.txt', 'x')]
    expect((await key.client.get(`/assets/${mine.body.id}`)).status).toBe(200)
    expect((await key.client.get(`/assets/${hidden.body.id}`)).status).toBe(404)
  })
})

test('refuses whatever resembles a key', async () => {
  const { key } = await newCaller(ours.client)
  const checksum = (secret: string) => `mck_${secret}${sha256(secret).slice(0, 6)}`
  const wrong = {
    'another checksum': key.slice(0, -1) + (key.endsWith('0') ? '1' : '0'),
    'another secret': `mck_${key[4] === 'A' ? 'B' : 'A'}${key.slice(5)}`,
    truncated: key.slice(0, -1),
    longer: `${key}0`,
    'no prefix': key.slice(4),
    'another prefix': `sk_${key.slice(4)}`,
    'the prefix in capitals': `MCK_${key.slice(4)}`,
    'only the start': key.slice(0, 8),
    'its hash': sha256(key),
    unknown: checksum('x'.repeat(43)),
  }
  for (const [name, token] of Object.entries(wrong)) {
    const client = createClient({ token })
    expect(await statusOfList(client), name).toBe(401)
    expect((await client.post('/auth/logout')).status, name).toBe(401)
  }
  expect(await statusOfList(createClient({ token: key }))).toBe(200)
})

test('a key is refused once it has expired, or its workspace is deleted', async () => {
  const { client } = await newTenant()
  const workspaceId = client.workspaceId as string
  const expiring = await newCaller(client, undefined, {
    expiresAt: new Date(Date.now() + 60_000).toISOString(),
  })
  const lasting = await newCaller(client)
  expect(await statusOfList(expiring.client)).toBe(200)
  await asOwner('update api_keys set expires_at = now() where id = $1', [expiring.id])
  expect([await statusOfList(expiring.client), await statusOfList(lasting.client)]).toEqual([401, 200])
  expect((await client.delete(`/workspaces/${workspaceId}`)).status).toBe(204)
  expect(await statusOfList(lasting.client)).toBe(401)
})

test('no request that starts after a key is revoked succeeds', async () => {
  const key = await newCaller(ours.client)
  let revoked = false
  const late: number[] = []
  const users = Array.from({ length: 10 }, async () => {
    while (!revoked) await statusOfList(key.client)
    const answers = Array.from({ length: 5 }, () => statusOfList(key.client))
    late.push(...(await Promise.all(answers)))
  })
  expect((await ours.client.delete(`/api-keys/${key.id}`)).status).toBe(204)
  revoked = true
  await Promise.all(users)
  expect(late).toEqual(Array(50).fill(401))
  expect((await ours.client.delete(`/api-keys/${key.id}`)).status).toBe(404)
  const audit = await asOwner('select action from audit_logs where resource_id = $1 order by id', [key.id])
  expect(audit).toEqual([{ action: 'api_key.create' }, { action: 'api_key.revoke' }])
})

test('the last use is stored at most once a minute', async () => {
  const key = await newCaller(ours.client)
  await Promise.all(Array.from({ length: 20 }, () => statusOfList(key.client)))
  const used = await keyRow(key.id)
  expect(used?.last_used_at).not.toBeNull()
  await Promise.all(Array.from({ length: 20 }, () => statusOfList(key.client)))
  expect(await keyRow(key.id)).toEqual(used)
  const { body } = await ours.client.get<{ data: Key[] }>('/api-keys')
  expect(body.data.find(({ id }) => id === key.id)?.lastUsedAt).toBe(used?.last_used_at.toISOString())
  await asOwner(`update api_keys set last_used_at = now() - interval '61 seconds' where id = $1`, [key.id])
  await statusOfList(key.client)
  expect((await keyRow(key.id))?.last_used_at.getTime()).toBeGreaterThanOrEqual(used?.last_used_at.getTime())
})

test('only admins manage keys, and only those of their workspace', async () => {
  const key = await newCaller(ours.client)
  const before = await keyRow(key.id)
  const admin = await addMember(ours.workspaceId, 'admin')
  for (const role of ['viewer', 'member'] as const) {
    const { client } = await addMember(ours.workspaceId, role)
    const statuses = [
      (await client.get('/api-keys')).status,
      (await client.post('/api-keys', { name: 'x', scopes: ['asset.list'] })).status,
      (await client.delete(`/api-keys/${key.id}`)).status,
    ]
    expect(statuses, role).toEqual([403, 403, 403])
  }
  expect((await theirs.client.delete(`/api-keys/${key.id}`)).status).toBe(404)
  const stranger = theirs.client.with({ workspaceId: ours.workspaceId })
  expect((await stranger.get('/api-keys')).status).toBe(404)
  expect((await stranger.delete(`/api-keys/${key.id}`)).status).toBe(404)
  expect(await keyRow(key.id)).toEqual(before)
  expect((await theirs.client.get<{ data: Key[] }>('/api-keys')).body.data).toEqual([])
  expect((await admin.client.delete(`/api-keys/${key.id}`)).status).toBe(204)
})

test.each(['removed', 'demoted'])('a key ends for good when its maker is %s', async (how) => {
  const { client, workspaceId } = await newTenant()
  const admin = await addMember(workspaceId, 'admin')
  const { key } = await newKey(admin.client, ['usage.get'])
  const server = client.with({ token: key })
  expect((await server.get('/usage')).status).toBe(200)
  const member = `/workspaces/${workspaceId}/members/${admin.userId}`
  if (how === 'removed') await client.delete(member)
  else await client.patch(member, { role: 'member' })
  expect((await server.get('/usage')).status).toBe(401)
  expect((await client.get<Page<unknown>>('/api-keys')).body.data).toEqual([])
  await asOwner(
    `insert into memberships (workspace_id, user_id, role) values ($1, $2, 'admin')
       on conflict (workspace_id, user_id) do update set role = 'admin'`,
    [workspaceId, admin.userId],
  )
  expect((await server.get('/usage')).status).toBe(401)
})

test('a key is refused while its maker is disabled', async () => {
  const { client, userId } = await newTenant()
  const { key } = await newKey(client, ['usage.get'])
  const server = client.with({ token: key })
  expect((await server.get('/usage')).status).toBe(200)
  await asOwner('update users set disabled_at = now() where id = $1', [userId])
  expect((await server.get('/usage')).status).toBe(401)
})
