/** Many at once, in one workspace: invites, owners, limits and the end of a workspace. */
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import {
  type Answer,
  addMember,
  asOwner,
  type Client,
  control,
  type GenerationBody,
  newEmail,
  newTenant,
  signUp,
  stack,
  waitFor,
} from '../support/client.ts'

const times = <T>(count: number, run: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, i) => run(i)))
const statuses = (answers: Answer<unknown>[]) => answers.map(({ status }) => status).sort()
const tally = (answers: Answer<unknown>[]) =>
  Object.fromEntries(
    [...Map.groupBy(statuses(answers), (status) => status)].map(([s, all]) => [s, all.length]),
  )
const rowsOf = async (table: string, workspaceId: string, where = 'true') =>
  asOwner(`select * from ${table} where workspace_id = $1 and ${where}`, [workspaceId])

const invite = async (by: Client, workspaceId: string, email: string, role = 'member') =>
  (await by.post<{ id: string; token: string }>(`/workspaces/${workspaceId}/invites`, { email, role })).body
const accept = (by: { client: Client }, token: string) =>
  by.client.post('/workspaces/invites/accept', { token })

/** Lets all of these pass the gate, and then take their turns in the workspace in this order. */
const inTurn = async <T>(workspaceId: string, requests: (() => Promise<T>)[]): Promise<T[]> => {
  const holder = new pg.Client(stack.adminDatabase)
  await holder.connect()
  try {
    await holder.query('begin')
    const { rows } = await holder.query<{ pid: number }>(
      'select pg_backend_pid() as pid from workspaces where id = $1 for update',
      [workspaceId],
    )
    const answers: Promise<T>[] = []
    for (const request of requests) {
      answers.push(request())
      await waitFor(`${answers.length} in line`, async () => {
        const [line] = await asOwner<{ length: number }>(
          `with recursive line as (
             select $1::int as pid
             union select a.pid from pg_stat_activity a join line on line.pid = any(pg_blocking_pids(a.pid)))
           select count(*)::int - 1 as length from line`,
          [rows[0]?.pid],
        )
        return line?.length === answers.length
      })
    }
    await holder.query('commit')
    return await Promise.all(answers)
  } finally {
    await holder.end()
  }
}

describe('people at once', () => {
  test('fifty acceptances of one invite are one', async () => {
    const { client, workspaceId } = await newTenant()
    const guest = await signUp()
    const { token } = await invite(client, workspaceId, guest.email)
    expect(tally(await times(50, () => accept(guest, token)))).toEqual({ 200: 50 })
    expect(await rowsOf('memberships', workspaceId, `user_id = '${guest.userId}'`)).toHaveLength(1)
    expect(await rowsOf('audit_logs', workspaceId, `action = 'invite.accept'`)).toHaveLength(1)
  })

  test('the last two owners never go both', async () => {
    const { client, workspaceId, userId } = await newTenant()
    const other = await addMember(workspaceId, 'owner')
    const mine = `/workspaces/${workspaceId}/members/${userId}`
    const theirs = `/workspaces/${workspaceId}/members/${other.userId}`
    const demote = (by: Client, path: string) => () => by.patch(path, { role: 'viewer' })
    const remove = (by: Client, path: string) => () => by.delete(path)
    const rounds = [
      [demote(client, mine), remove(other.client, theirs)],
      [remove(client, mine), remove(other.client, theirs)],
      [demote(client, theirs), demote(other.client, mine)],
      [remove(client, theirs), remove(other.client, mine)],
      [demote(client, mine), demote(client, theirs), remove(client, mine), remove(other.client, mine)],
    ]
    for (const requests of [...rounds, ...rounds]) {
      const answers = await Promise.all(requests.map((request) => request()))
      for (const { status } of answers) expect([200, 204, 403, 404, 409]).toContain(status)
      expect(await rowsOf('memberships', workspaceId, `role = 'owner'`)).toHaveLength(1)
      await asOwner(
        `insert into memberships (workspace_id, user_id, role) values ($1, $2, 'owner'), ($1, $3, 'owner')
         on conflict (workspace_id, user_id) do update set role = 'owner'`,
        [workspaceId, userId, other.userId],
      )
    }
  })

  test('many changes of one role leave one of them, and a row for each that changed it', async () => {
    const { client, workspaceId } = await newTenant()
    const target = await addMember(workspaceId, 'viewer')
    const path = `/workspaces/${workspaceId}/members/${target.userId}`
    const answers = await times(20, (i) => client.patch(path, { role: i % 2 ? 'admin' : 'member' }))
    expect(tally(answers)).toEqual({ 200: 20 })
    const [row] = await rowsOf('memberships', workspaceId, `user_id = '${target.userId}'`)
    const changes = await asOwner<{ before: { role: string }; after: { role: string } }>(
      `select before, after from audit_logs where workspace_id = $1 and action = 'member.update' order by sequence`,
      [workspaceId],
    )
    expect(changes[0]?.before.role).toBe('viewer')
    for (const [i, { before }] of changes.slice(1).entries()) expect(before.role).toBe(changes[i]?.after.role)
    expect(changes.at(-1)?.after.role).toBe(row?.role)
  })

  test('whoever lost their role while they waited may act on it no more', async () => {
    const { client, workspaceId } = await newTenant()
    const rogue = await addMember(workspaceId, 'admin')
    const target = await addMember(workspaceId, 'viewer')
    const base = `/workspaces/${workspaceId}`
    const asks: [string, () => Promise<Answer>][] = [
      ['invites', () => rogue.client.post(`${base}/invites`, { email: newEmail(), role: 'admin' })],
      ['promotes', () => rogue.client.patch(`${base}/members/${target.userId}`, { role: 'admin' })],
      ['removes', () => rogue.client.delete(`${base}/members/${target.userId}`)],
    ]
    for (const [what, ask] of asks) {
      const demote = () => client.patch(`${base}/members/${rogue.userId}`, { role: 'member' })
      const [demoted, asked] = await inTurn<Answer>(workspaceId, [demote, ask])
      expect(demoted?.status, what).toBe(200)
      expect(asked, what).toMatchObject({ status: 403, body: { code: 'forbidden' } })
      await client.patch(`${base}/members/${rogue.userId}`, { role: 'admin' })
    }
    const removal = () => client.delete(`${base}/members/${rogue.userId}`)
    const [, asked] = await inTurn<Answer>(workspaceId, [
      removal,
      () => rogue.client.delete(`${base}/members/${target.userId}`),
    ])
    expect([403, 404]).toContain(asked?.status)
    expect(await rowsOf('memberships', workspaceId)).toHaveLength(2)
  })

  test('an invite is withdrawn or accepted, and the answer says which', async () => {
    const { client, workspaceId } = await newTenant()
    const guest = await signUp()
    const { id, token } = await invite(client, workspaceId, guest.email)
    const [accepted, withdrawn] = await inTurn<Answer>(workspaceId, [
      () => accept(guest, token),
      () => client.delete(`/workspaces/${workspaceId}/invites/${id}`),
    ])
    expect([accepted?.status, withdrawn?.status]).toEqual([200, 404])
  })

  test('a full workspace takes nobody more', async () => {
    const { client, workspaceId } = await newTenant()
    const guests = await times(8, () => signUp())
    const tokens = await times(
      8,
      async (i) => (await invite(client, workspaceId, guests[i]?.email ?? '')).token,
    )
    const [accepted, invited] = await Promise.all([
      times(8, (i) => accept(guests[i] as (typeof guests)[number], tokens[i] as string)),
      times(4, () =>
        client.post(`/workspaces/${workspaceId}/invites`, { email: newEmail(), role: 'viewer' }),
      ),
    ])
    expect(tally(accepted)).toEqual({ 200: 4, 402: 4 })
    for (const { status } of invited) expect([201, 402]).toContain(status)
    expect(await rowsOf('memberships', workspaceId)).toHaveLength(5)
  })

  test('twenty workspaces at once are the ten that the plan allows', async () => {
    const { client, userId } = await signUp()
    const answers = await times(20, () => client.post('/workspaces', { name: 'Store' }))
    expect(tally(answers)).toEqual({ 201: 10, 402: 10 })
    expect(await asOwner('select from memberships where user_id = $1', [userId])).toHaveLength(10)
  })
})

describe('the end of a workspace', () => {
  test('is the owner’s to decide, and is the end for everybody and everything', async () => {
    const { client, workspaceId, userId } = await newTenant()
    const base = `/workspaces/${workspaceId}`
    const admin = await addMember(workspaceId, 'admin')
    const guest = await signUp()
    const { token } = await invite(client, workspaceId, guest.email)
    const { body: key } = await client.post<{ key: string }>('/api-keys', {
      name: 'server',
      scopes: ['usage.get'],
    })
    const server = client.with({ token: key.key, workspaceId })
    expect((await server.get('/usage')).status).toBe(200)
    await client.post('/webhooks', { url: 'http://127.0.0.1:9/' })
    const slug = `gone-${Date.now()}`
    await client.patch(base, { slug })
    const { body: asset } = await client.upload('a.txt', 'some text')
    const download = (await client.get(`/assets/${asset.id}/download`)).headers.get('location') as string
    expect((await fetch(download)).status).toBe(200)
    const prompt = `Mug ${crypto.randomUUID()}`
    const slow = { kind: 'slow', times: 1, delayMs: 20_000, match: prompt }
    await fetch(`${stack.models}/faults`, { method: 'POST', body: JSON.stringify(slow) })
    const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt })
    await waitFor('the job runs', async () => {
      const [row] = await rowsOf('generations', workspaceId)
      return row?.provider_job_id
    })

    expect(await admin.client.delete(base)).toMatchObject({ status: 403 })
    expect((await client.delete(base)).status).toBe(204)

    for (const each of [client, admin.client]) {
      expect(await each.get('/usage')).toMatchObject({ status: 404, body: { code: 'not_found' } })
    }
    expect(await client.get(base)).toMatchObject({ status: 404 })
    expect(await client.delete(base)).toMatchObject({ status: 404 })
    expect(await accept(guest, token)).toMatchObject({ status: 404 })
    expect(await server.get('/usage')).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
    expect((await client.get<{ workspaces: unknown[] }>('/auth/me')).body.workspaces).toEqual([])
    expect((await client.post('/workspaces', { name: 'Next', slug })).status).toBe(201)

    const [generation] = await rowsOf('generations', workspaceId)
    expect(generation).toMatchObject({ id: job.id, status: 'canceled', prompt: null })
    const ledger = await asOwner(
      'select kind, credits from credit_entries where workspace_id = $1 order by id',
      [workspaceId],
    )
    expect(ledger).toEqual([
      { kind: 'reserve', credits: 5 },
      { kind: 'refund', credits: 5 },
    ])
    const log = await asOwner(
      'select action, actor_id, resource_id from audit_logs where workspace_id = $1 order by sequence',
      [workspaceId],
    )
    expect(log.at(0)).toMatchObject({ action: 'workspace.create' })
    expect(log.filter(({ action }) => action === 'workspace.delete')).toEqual([
      { action: 'workspace.delete', actor_id: userId, resource_id: workspaceId },
    ])

    // What waits for steps that might still be under way comes now.
    await asOwner('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
    await control('cron')
    await waitFor('nothing is owed', async () => (await rowsOf('outbox', workspaceId)).length === 0)
    expect((await fetch(download)).status).toBe(404)
    for (const table of ['assets', 'memberships', 'invites', 'generation_outputs', 'webhook_endpoints']) {
      expect(await rowsOf(table, workspaceId), table).toEqual([])
    }
  })

  test('comes once, and whoever works there meanwhile is told', async () => {
    const { client, workspaceId } = await newTenant()
    const base = `/workspaces/${workspaceId}`
    const assets = await times(6, (i) => client.upload(`${i}.txt`, 'some text'))
    const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt: 'x' })
    const answers = await Promise.all([
      client.delete(base),
      client.delete(base),
      ...assets.map(({ body }, i) =>
        i % 2 ? client.delete(`/assets/${body.id}`) : client.patch(`/assets/${body.id}`, { name: 'b.txt' }),
      ),
      client.patch(base, { name: 'Renamed' }),
      client.post(`/generations/${job.id}/cancel`),
    ])
    for (const { status } of answers) expect([200, 204, 404, 409]).toContain(status)
    expect(statuses(answers.slice(0, 2))).toEqual([204, 404])
    expect(await rowsOf('audit_logs', workspaceId, `action = 'workspace.delete'`)).toHaveLength(1)
    const ledger = await rowsOf('credit_entries', workspaceId, `kind <> 'reserve'`)
    expect(ledger.reduce((sum, { credits }) => sum + Number(credits), 0)).toBe(5)
    expect(await rowsOf('assets', workspaceId)).toEqual([])
    expect(await rowsOf('generations', workspaceId, `status in ('queued', 'running')`)).toEqual([])
  })
})

test.each<[string, (client: Client) => Promise<Answer>, string]>([
  ['an upload', (client) => client.upload<Record<string, unknown>>('a.txt', 'some text'), 'assets'],
  ['a generation', (client) => client.post('/generations', { kind: 'image', prompt: 'x' }), 'generations'],
  ['a key', (client) => client.post('/api-keys', { name: 'x', scopes: ['usage.get'] }), 'api_keys'],
])('what waits behind a deletion finds the workspace gone: %s', async (_, ask, table) => {
  const { client, workspaceId } = await newTenant()
  const [deleted, asked] = await inTurn<Answer>(workspaceId, [
    () => client.delete(`/workspaces/${workspaceId}`),
    () => ask(client),
  ])
  expect([deleted?.status, asked?.status]).toEqual([204, 404])
  expect(await rowsOf(table, workspaceId)).toEqual([])
})
