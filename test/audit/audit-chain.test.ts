/** The audit log as evidence: one row for each change and refusal, chained, and read out whole. */
import { describe, expect, test } from 'vitest'
import {
  addMember,
  asOwner,
  type Client,
  control,
  createClient,
  newEmail,
  newTenant,
  PASSWORD,
  stack,
  waitFor,
} from '../support/client.ts'
import { makeThingsFor, readsJson, routes, send } from '../support/routes.ts'

interface Verdict extends Record<string, unknown> {
  valid: boolean
  entries: number
}
interface Row extends Record<string, unknown> {
  id: string
  action: string
  request_id: string
}
type Page = { data: { id: string }[]; nextCursor: string | null }

const verify = async (client: Client) => (await client.get<Verdict>('/audit-logs/verify')).body
const rowsOf = (workspaceId: string) =>
  asOwner<Row>('select * from audit_logs where workspace_id = $1 order by sequence, id', [workspaceId])
const refusalsOf = async (workspaceId: string) =>
  (await rowsOf(workspaceId)).filter(({ action }) => action === 'access.refuse')

/** A workspace with a chain of six. */
const newChain = async () => {
  const tenant = await newTenant()
  for (const name of ['b', 'c', 'd', 'e', 'f'])
    await tenant.client.patch(`/workspaces/${tenant.workspaceId}`, { name })
  const rows = await rowsOf(tenant.workspaceId)
  expect(await verify(tenant.client)).toEqual({ valid: true, entries: 6, brokenAt: null, truncated: false })
  return { ...tenant, rows, idAt: (position: number) => rows[position - 1]?.id as string }
}

/** What only a superuser can do: changes the log behind its triggers. */
const tamper = (statements: string) =>
  asOwner(`begin; alter table audit_logs disable trigger user; ${statements};
    alter table audit_logs enable trigger user; commit`)

describe('the chain', () => {
  test('has no gaps after many changes at once', async () => {
    const { client, workspaceId } = await newTenant()
    const base = `/workspaces/${workspaceId}`
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => [
        client.patch(base, { name: `Store ${i}` }),
        client.upload(`${i}.txt`, 'some text'),
        client.post(`${base}/invites`, { email: newEmail(), role: 'viewer' }),
      ]).flat(),
    )
    for (const { status } of answers) expect(status).toBeLessThan(300)
    const rows = await rowsOf(workspaceId)
    expect(rows.map(({ sequence }) => Number(sequence))).toEqual(Array.from({ length: 31 }, (_, i) => i + 1))
    expect(new Set(rows.map(({ request_id }) => request_id)).size).toBe(31)
    expect(await verify(client)).toEqual({ valid: true, entries: 31, brokenAt: null, truncated: false })
  })

  test.each([
    ['an actor', `actor_id = gen_random_uuid()`],
    ['a time', `created_at = created_at - interval '1 second'`],
    ['a value', `after = '{"name": "other"}'`],
    ['an address', `ip = null`],
    ['a hash', `hash = encode(sha256('x'), 'hex')`],
    ['a workspace', `workspace_id = gen_random_uuid()`],
  ])('shows who changed %s', async (what, change) => {
    const { client, idAt } = await newChain()
    await tamper(`update audit_logs set ${change} where id = '${idAt(3)}'`)
    const brokenAt = what === 'a workspace' ? idAt(4) : idAt(3)
    expect(await verify(client)).toMatchObject({ valid: false, brokenAt, truncated: false })
  })

  test('shows a row that was changed with its hash, by the next one', async () => {
    const { client, idAt } = await newChain()
    await tamper(`update audit_logs set ip = null where id = '${idAt(3)}';
      update audit_logs a set hash = app.audit_hash((select hash from audit_logs where id = '${idAt(2)}'), a) where id = '${idAt(3)}'`)
    expect(await verify(client)).toMatchObject({ valid: false, brokenAt: idAt(4) })
  })

  test('shows rows that are missing: in the middle, first, last, all', async () => {
    const middle = await newChain()
    await tamper(`delete from audit_logs where id = '${middle.idAt(3)}'`)
    expect(await verify(middle.client)).toMatchObject({ valid: false, entries: 5, brokenAt: middle.idAt(4) })
    const first = await newChain()
    await tamper(`delete from audit_logs where id = '${first.idAt(1)}'`)
    expect(await verify(first.client)).toMatchObject({ valid: false, brokenAt: first.idAt(2) })
    const last = await newChain()
    await tamper(`delete from audit_logs where id = '${last.idAt(6)}'`)
    expect(await verify(last.client)).toEqual({ valid: false, entries: 5, brokenAt: null, truncated: true })
    await tamper(`delete from audit_logs where workspace_id = '${last.workspaceId}'`)
    expect(await verify(last.client)).toEqual({ valid: false, entries: 0, brokenAt: null, truncated: true })
  })

  test('shows rows that changed places', async () => {
    const { client, idAt } = await newChain()
    const move = (id: string, to: string) => `update audit_logs set sequence = ${to} where id = '${id}'`
    await tamper([move(idAt(3), '-1'), move(idAt(4), '3'), move(idAt(3), '4')].join(';'))
    expect(await verify(client)).toMatchObject({ valid: false, brokenAt: idAt(4) })
  })

  test('shows rows that were slipped in, even with the right hash', async () => {
    const columns = 'workspace_id, action, actor_type, resource_type'
    const insert = (workspaceId: string, id: string, sequence: string) =>
      `insert into audit_logs (id, sequence, ${columns}) values ('${id}', ${sequence}, '${workspaceId}', 'workspace.update', 'system', 'workspace')`
    const unchained = await newChain()
    const [nowhere, end] = [crypto.randomUUID(), crypto.randomUUID()]
    await tamper(insert(unchained.workspaceId, nowhere, 'null'))
    expect(await verify(unchained.client)).toMatchObject({ valid: false, brokenAt: nowhere })
    const { client, workspaceId, idAt } = await newChain()
    await tamper(`${insert(workspaceId, end, '7')};
      update audit_logs a set hash = app.audit_hash((select hash from audit_logs where id = '${idAt(6)}'), a) where id = '${end}'`)
    expect(await verify(client)).toMatchObject({ valid: false, entries: 7, brokenAt: end, truncated: false })
  })
})

describe('a refusal of role', () => {
  test('leaves one row: who, what, from where', async () => {
    const { client, workspaceId } = await newTenant()
    const viewer = await addMember(workspaceId, 'viewer')
    const base = `/workspaces/${workspaceId}`
    const answers = [
      await viewer.client.post('/generations', { kind: 'image', prompt: 'x' }),
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

  test('is one, however often its message comes', async () => {
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

  test('is written whoever is refused, and however they ask', async () => {
    const { client, workspaceId, userId } = await newTenant()
    const viewer = await addMember(workspaceId, 'viewer')
    const { body: key } = await client.post<{ id: string; key: string }>('/api-keys', {
      name: 'x',
      scopes: ['usage.get'],
    })
    const silent = { 'x-request-id': 'the-same-one' }
    const input = { kind: 'image', prompt: 'x' }
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

  test('is none for a stranger, who is not told that there is anything', async () => {
    const { workspaceId, client } = await newTenant()
    const stranger = (await newTenant()).client.with({ workspaceId })
    expect((await stranger.post('/generations', { kind: 'image', prompt: 'x' })).status).toBe(404)
    const viewer = await addMember(workspaceId, 'viewer')
    const { headers } = await viewer.client.post('/generations', { kind: 'image', prompt: 'x' })
    const rows = await waitFor("the viewer's", async () => {
      const refusals = await refusalsOf(workspaceId)
      return refusals.length > 0 && refusals
    })
    expect(rows.map((row) => row.request_id)).toEqual([headers.get('x-request-id')])
    expect((await verify(client)).entries).toBe(2)
  })
})

const worldly = routes.filter(({ path }) => path.startsWith('/api/v1/'))
const secretKeys = /"(password|password_hash|token|token_hash|refresh_hash|key|key_hash)":/

test.each(worldly.filter(({ method }) => method !== 'GET'))('$method $path leaves one row', async (route) => {
  const tenant = await newTenant()
  const things = await makeThingsFor(route, tenant)
  const answer = await send(tenant.client, route, things)
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(400)
  const rows = await asOwner<Row>('select * from audit_logs where request_id = $1', [
    answer.headers.get('x-request-id'),
  ])
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
})

test('reading leaves no row', async () => {
  const tenant = await newTenant()
  for (const route of worldly.filter((each) => each.method === 'GET' && readsJson(each))) {
    const answer = await send(tenant.client, route, await makeThingsFor(route, tenant))
    expect(answer.status, route.path).toBeLessThan(400)
    const rows = await asOwner('select * from audit_logs where request_id = $1', [
      answer.headers.get('x-request-id'),
    ])
    expect(rows, route.path).toEqual([])
  }
})

describe('the export', () => {
  const read = async (client: Client, query = '') => {
    const response = await fetch(`${stack.api}/api/v1/audit-logs/export${query}`, {
      headers: { authorization: `Bearer ${client.token}`, 'x-workspace-id': client.workspaceId as string },
    })
    const chunks = response.body ? await Array.fromAsync(response.body) : []
    const lines = Buffer.concat(chunks).toString().split('\n')
    // Every line ends.
    expect(lines.pop()).toBe('')
    return { response, chunks, entries: lines.map((line) => JSON.parse(line) as { id: string }) }
  }
  const listAll = async (client: Client, filter = '') => {
    const entries: { id: string }[] = []
    for (let cursor = ''; ; ) {
      const { body } = await client.get<Page>(`/audit-logs?limit=100${filter}${cursor}`)
      entries.push(...body.data)
      if (body.nextCursor === null) return entries
      cursor = `&cursor=${body.nextCursor}`
    }
  }

  test('is the list, line by line, and keeps its filters', async () => {
    const { client, workspaceId, userId } = await newChain()
    const { response, entries } = await read(client)
    expect(response.headers.get('content-type')).toBe('application/x-ndjson')
    expect(response.headers.get('content-disposition')).toContain('attachment')
    expect(response.headers.get('server-timing')).toContain('db;desc="1"')
    expect(entries).toEqual(await listAll(client))
    const filter = `action=workspace.update&actorId=${userId}&resourceId=${workspaceId}`
    expect((await read(client, `?${filter}`)).entries).toEqual(await listAll(client, `&${filter}`))
    expect((await read(client, `?actorId=${crypto.randomUUID()}`)).entries).toEqual([])
    const { body } = await client.post<{ key: string }>('/api-keys', {
      name: 'server',
      scopes: ['audit.export'],
    })
    expect((await read({ ...client, token: body.key })).entries).toHaveLength(7)
  })

  test('streams what is more than a page', async () => {
    const { client, workspaceId } = await newTenant()
    await asOwner(
      `insert into audit_logs (workspace_id, action, actor_type, resource_type, after)
       select $1, 'workspace.update', 'system', 'workspace', jsonb_build_object('name', n) from generate_series(1, 1200) n`,
      [workspaceId],
    )
    const { entries, chunks } = await read(client)
    expect(chunks.length).toBeGreaterThan(1)
    expect(entries).toHaveLength(1201)
    expect(entries).toEqual(await listAll(client))
    expect(await verify(client)).toMatchObject({ valid: true, entries: 1201 })
  })

  test('is for admins of the workspace, and refuses like everything else', async () => {
    const { client, workspaceId } = await newTenant()
    const viewer = await addMember(workspaceId, 'viewer')
    const stranger = (await newTenant()).client.with({ workspaceId })
    const path = '/audit-logs/export'
    expect(await viewer.client.get(path)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    expect(await stranger.get(path)).toMatchObject({ status: 404, body: { code: 'not_found' } })
    expect(await client.get(`${path}?action=nothing`)).toMatchObject({ status: 422 })
    expect(await client.with({ token: 'x' }).get(path)).toMatchObject({ status: 401 })
  })
})
