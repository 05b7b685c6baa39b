/** The audit log: one row for each change and each refusal of a role, without secrets, and how it is listed. */
import { describe, expect, test } from 'vitest'
import { rowsOf, rowsOfRequest, verify } from '../support/audit.ts'
import { createClient, type Page } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { finished, generate } from '../support/generations.ts'
import { makeThingsFor, type Route, readsJson, routes, send } from '../support/routes.ts'
import { addMember, logIn, newEmail, newKey, newTenant, PASSWORD } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

interface Entry extends Record<string, unknown> {
  id: string
  action: string
  actor: { type: string; id: string | null }
  resourceId: string
  before?: Record<string, unknown>
  after?: Record<string, unknown>
}

const refusalsOf = async (workspaceId: string) =>
  (await rowsOf(workspaceId)).filter(({ action }) => action === 'access.refuse')

test('every change leaves one row with who, what, before and after, and a change to the same value none', async () => {
  const { client, workspaceId, userId } = await newTenant()
  const { body: asset } = await client.upload('a.txt', 'some text')
  await client.patch(`/assets/${asset.id}`, { name: 'b.txt' })
  await client.patch(`/assets/${asset.id}`, { name: 'b.txt' })
  await client.delete(`/assets/${asset.id}`)
  await client.patch(`/workspaces/${workspaceId}`, { name: 'Renamed' })
  const job = await generate(client)
  await finished(client, job.id)
  const { body } = await client.get<Page<Entry>>('/audit-logs')
  expect(body.data.map(({ action }) => action)).toEqual([
    'generation.succeed',
    'generation.create',
    'workspace.update',
    'asset.delete',
    'asset.update',
    'asset.create',
    'workspace.create',
  ])
  const entries = Object.fromEntries(body.data.map((entry) => [entry.action, entry]))
  expect(entries['asset.update']).toMatchObject({
    actor: { type: 'user', id: userId },
    resourceType: 'asset',
    resourceId: asset.id,
    before: { name: 'a.txt' },
    after: { name: 'b.txt' },
    ip: client.ip,
    userAgent: 'node',
  })
  expect(entries['asset.delete']).toMatchObject({ before: { name: 'b.txt', mimeType: 'text/plain' } })
  expect(entries['asset.delete']).not.toHaveProperty('after')
  expect(entries['generation.succeed']).toMatchObject({
    actor: { type: 'system', id: null },
    before: { status: 'running', creditsCharged: 0 },
    after: { status: 'succeeded', creditsCharged: 4 },
  })
})

test('a request for what is not found leaves no row', async () => {
  const { client } = await newTenant()
  await client.patch(`/assets/${crypto.randomUUID()}`, { name: 'x' })
  await client.post('/generations', { task: 'scene', inputAssetIds: [crypto.randomUUID()] })
  const { body } = await client.get<Page<Entry>>('/audit-logs')
  expect(body.data.map(({ action }) => action)).toEqual(['workspace.create'])
})

test('the log is listed by filter, page by page', async () => {
  const { client, workspaceId, userId } = await newTenant()
  for (const name of ['a', 'b', 'c']) await client.patch(`/workspaces/${workspaceId}`, { name })
  const all = (await client.get<Page<Entry>>('/audit-logs')).body.data
  const ids = async (query: string) =>
    (await client.get<Page<Entry>>(`/audit-logs?${query}`)).body.data.map(({ id }) => id)
  expect(await ids('action=workspace.update')).toEqual(all.slice(0, 3).map(({ id }) => id))
  expect(await ids(`actorId=${userId}&resourceType=workspace&resourceId=${workspaceId}`)).toHaveLength(4)
  expect(await ids(`actorId=${crypto.randomUUID()}`)).toEqual([])
  expect(await ids(`since=${all[0]?.createdAt}`)).toEqual([all[0]?.id])
  expect(await ids(`until=${all[0]?.createdAt}`)).toHaveLength(3)
  const { body: first } = await client.get<Page<Entry>>('/audit-logs?limit=3')
  const { body: second } = await client.get<Page<Entry>>(`/audit-logs?limit=3&cursor=${first.nextCursor}`)
  expect([...first.data, ...second.data]).toEqual(all)
})

test('registration, sign-in, a wrong password and sign-out leave a row each, without secrets', async () => {
  const [client, email] = [createClient(), newEmail()]
  const registered = await client.post<{ user: { id: string } }>('/auth/register', {
    email,
    password: PASSWORD,
  })
  const userId = registered.body.user.id
  const { body } = await logIn(email)
  await logIn(email, 'not the password')
  await client.with({ token: body.access_token }).post('/auth/logout')
  const rows = await asOwner<{ action: string; after: unknown; before: unknown }>(
    `select action, before, after from audit_logs where actor_id = $1 or resource_id = $1 order by id`,
    [userId],
  )
  expect(rows.map(({ action }) => action)).toEqual([
    'user.create',
    'session.create',
    'session.refuse',
    'session.revoke',
  ])
  expect(JSON.stringify(rows)).not.toMatch(/hash|scrypt|password/)
})

test.each([
  'resourceType=%00',
  'since=0000-01-01T00:00:00Z',
  `until=2026-01-01T00:00:00.${'0'.repeat(200)}Z`,
  'limit=1e1',
  'limit=0x10',
  'limit=%201',
])('the list answers 422 to ?%s', async (query) => {
  const { client } = await newTenant()
  expect((await client.get(`/audit-logs?${query}`)).status).toBe(422)
})

test('a time may name nanoseconds, and any year', async () => {
  const { client } = await newTenant()
  const times = ['2026-01-01T00:00:00.999999999Z', '9999-12-31T23:59:59.999999999Z', '0001-01-01T00:00:00Z']
  for (const time of times) expect((await client.get(`/audit-logs?since=${time}`)).status, time).toBe(200)
})

const apiRoutes = routes.filter(({ path }) => path.startsWith('/api/v1/'))
const secretKeys = /"(password|password_hash|token|token_hash|refresh_hash|key|key_hash)":/

/** Questions that are sent as a POST, and change nothing; what somebody exports of themselves is asked for by a GET. */
const questions = ['asset.links', 'generation.quote', 'passkey.prepare', 'session.prepare']
const reads = ({ method, name }: Route) =>
  (method === 'GET' && name !== 'user.export') || questions.includes(name)

test.each(apiRoutes.filter((route) => !reads(route)))(
  '$method $path leaves one row, without secrets',
  async (route) => {
    const tenant = await newTenant()
    const things = await makeThingsFor(route, tenant)
    const answer = await send(tenant.client, route, things)
    expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(400)
    const rows = await rowsOfRequest(answer.headers)
    expect(rows.map(({ action }) => action)).toEqual([route.name])
    expect(rows[0]).toMatchObject({ ip: tenant.client.ip, user_agent: 'node' })
    if (!route.isPublic) expect(rows[0]).toMatchObject({ actor_type: 'user', actor_id: tenant.userId })
    const written = JSON.stringify([rows[0]?.before, rows[0]?.after])
    expect(written).not.toMatch(secretKeys)
    const { key, token, access_token, refresh_token } = answer.body ?? {}
    const sent = [things.inviteToken, things.refreshToken]
    for (const secret of [PASSWORD, key, token, access_token, refresh_token, ...sent]) {
      if (secret) expect(written).not.toContain(secret)
    }
  },
)

test('reading leaves no row', async () => {
  const tenant = await newTenant()
  for (const route of apiRoutes.filter((each) => reads(each) && readsJson(each))) {
    const answer = await send(tenant.client, route, await makeThingsFor(route, tenant))
    expect(answer.status, route.path).toBeLessThan(400)
    expect(await rowsOfRequest(answer.headers), route.path).toEqual([])
  }
})

describe('a refusal of role', () => {
  test('leaves one row: who, what, from where', async () => {
    const { client, workspaceId } = await newTenant()
    const viewer = await addMember(workspaceId, 'viewer')
    const base = `/workspaces/${workspaceId}`
    const answers = [
      await viewer.client.post('/generations', { task: 'scene', prompt: 'x' }),
      await viewer.client.get('/audit-logs'),
      await viewer.client.patch(base, { name: 'x' }),
      await viewer.client.delete(base),
      await viewer.client.upload('a.txt', 'some text'),
    ]
    expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403])
    await waitFor(
      'all are written down',
      async () => (await refusalsOf(workspaceId)).length >= answers.length,
    )
    const rows = await refusalsOf(workspaceId)
    const seen = Object.fromEntries(
      rows.map((row) => [row.request_id, (row.after as { action: string }).action]),
    )
    const actions = [
      'generation.create',
      'audit.list',
      'workspace.update',
      'workspace.delete',
      'asset.create',
    ]
    expect(seen).toEqual(
      Object.fromEntries(answers.map(({ headers }, i) => [headers.get('x-request-id'), actions[i]])),
    )
    for (const row of rows) {
      expect(row).toMatchObject({
        actor_type: 'user',
        actor_id: viewer.userId,
        ip: viewer.client.ip,
        before: null,
      })
    }
    expect(await verify(client)).toMatchObject({ valid: true, entries: 6 })
  })

  test('leaves one row, however often its message is delivered', async () => {
    const { client, workspaceId } = await newTenant()
    const { userId } = await addMember(workspaceId, 'viewer')
    const message = (subjectId: string, action = 'workspace.update') => ({
      kind: 'refusal',
      workspaceId,
      subjectId,
      actor: `user:${userId}`,
      action,
      request: { id: 'the same one', ip: '198.51.100.7' },
    })
    const [one, other] = [crypto.randomUUID(), crypto.randomUUID()]
    await control('enqueue', [
      ...Array.from({ length: 9 }, () => message(one)),
      message(other, 'workspace.delete'),
    ])
    await waitFor('both', async () => (await refusalsOf(workspaceId)).length >= 2)
    const last = crypto.randomUUID()
    await control('enqueue', [message(one), message(last, 'asset.create')])
    await waitFor('the last', async () => (await refusalsOf(workspaceId)).length >= 3)
    expect((await refusalsOf(workspaceId)).map(({ actor_id }) => actor_id)).toEqual([userId, userId, userId])
    expect((await verify(client)).valid).toBe(true)
  })

  test('leaves a row for users and API keys, with or without a header, and for a repeated request id', async () => {
    const { client, workspaceId, userId } = await newTenant()
    const viewer = await addMember(workspaceId, 'viewer')
    const key = await newKey(client, ['usage.get'])
    const silent = { 'x-request-id': 'the-same-one' }
    const input = { task: 'scene', prompt: 'x' }
    const nameless = createClient({ token: viewer.client.token as string })
    const answers = [
      await nameless.post('/generations', input, silent),
      await nameless.post('/generations', input, silent),
      await createClient({ token: key.key }).post('/generations', input),
      await client.patch(`/workspaces/${workspaceId}/members/${userId}`, { role: 'owner' }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 200])
    await waitFor('three', async () => (await refusalsOf(workspaceId)).length >= 3)
    // The queue keeps no order.
    const rows = (await refusalsOf(workspaceId))
      .map(({ actor_type, actor_id }) => [actor_type, actor_id])
      .sort(([one], [other]) => String(other).localeCompare(String(one)))
    expect(rows).toEqual([
      ['user', viewer.userId],
      ['user', viewer.userId],
      ['api_key', key.id],
    ])
  })

  test('leaves no row for a stranger, who is answered with 404', async () => {
    const { workspaceId, client } = await newTenant()
    const stranger = (await newTenant()).client.with({ workspaceId })
    expect((await stranger.post('/generations', { task: 'scene', prompt: 'x' })).status).toBe(404)
    const viewer = await addMember(workspaceId, 'viewer')
    const { headers } = await viewer.client.post('/generations', { task: 'scene', prompt: 'x' })
    const rows = await waitFor("the viewer's", async () => {
      const refusals = await refusalsOf(workspaceId)
      return refusals.length > 0 && refusals
    })
    expect(rows.map((row) => row.request_id)).toEqual([headers.get('x-request-id')])
    expect((await verify(client)).entries).toBe(2)
  })
})
