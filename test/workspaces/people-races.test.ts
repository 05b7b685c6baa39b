/** Many at once, in one workspace: invites, owners, limits and the end of a workspace. */
import { describe, expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import type { Answer, Client } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner, holdRow } from '../support/database.ts'
import { breakModels, generate, newPrompt } from '../support/generations.ts'
import {
  acceptInvite,
  addMember,
  invite,
  newEmail,
  newKey,
  newMailToken,
  newTenant,
  signUp,
} from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const rowsOf = async (table: string, workspaceId: string, where = 'true') =>
  asOwner(`select * from ${table} where workspace_id = $1 and ${where}`, [workspaceId])

/** The jobs of a deleted workspace are ended, and the rest waits for its grace to be over. */
const ended = (workspaceId: string) =>
  waitFor('the jobs are ended', async () => {
    const owed = await rowsOf(
      'outbox',
      workspaceId,
      `kind = 'workspace.delete' and available_at > now() + interval '29 days'`,
    )
    return owed.length === 1
  })

const rowOf = async (workspaceId: string) =>
  (await asOwner('select * from workspaces where id = $1', [workspaceId]))[0]

/** The grace of a deleted workspace is over, and its job comes to its end. */
const removed = async (workspaceId: string) => {
  await asOwner(`update workspaces set deleted_at = now() - interval '30 days' where id = $1`, [workspaceId])
  await waitFor('the workspace is removed', async () => {
    await asOwner(
      `update outbox set available_at = now() where workspace_id = $1 and kind in ('workspace.delete', 'prediction.cancel')`,
      [workspaceId],
    )
    await control('cron')
    return (await rowOf(workspaceId)) === undefined
  })
}

/** Everything that may name a workspace, but for checkpoints of its audit log and who was granted its free credits. */
const tablesOf = async () =>
  (
    await asOwner<{ name: string }>(
      `select c.table_name as name from information_schema.columns c where c.table_schema = 'public' and c.column_name = 'workspace_id'
          and c.table_name not in ('audit_checkpoints', 'free_grants', 'outbox')`,
    )
  ).map(({ name }) => name)

/** Lets all of these pass the gate, and then take their turns in the workspace in this order. */
const inTurn = async <T>(workspaceId: string, requests: (() => Promise<T>)[]): Promise<T[]> => {
  const row = await holdRow('workspaces', workspaceId)
  const answers: Promise<T>[] = []
  for (const request of requests) {
    answers.push(request())
    await row.whenWaiting(answers.length)
  }
  await row.release()
  return Promise.all(answers)
}

describe('people at once', () => {
  test('fifty acceptances of one invite at once make one membership', async () => {
    const { client, workspaceId } = await newTenant()
    const guest = await signUp()
    const { token } = (await invite(client, workspaceId, guest.email)).body
    expect(tally(await times(50, () => acceptInvite(guest.client, token)))).toEqual({ 200: 50 })
    expect(await rowsOf('memberships', workspaceId, `user_id = '${guest.userId}'`)).toHaveLength(1)
    expect(await rowsOf('audit_logs', workspaceId, `action = 'invite.accept'`)).toHaveLength(1)
  })

  test('of two owners who leave or step down at once one stays owner', async () => {
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

  test('who joins by a mail that proves their address waits in no circle with the deletion of the workspace', async () => {
    const { client, workspaceId, email } = await newTenant()
    // One person with the owner, so that both reach for the same free credits.
    const guest = { ...(await signUp()), email: email.replace('@', '+shop@') }
    await asOwner('update users set email = $2, email_verified_at = null where id = $1', [
      guest.userId,
      guest.email,
    ])
    await invite(client, workspaceId, guest.email)
    const token = await newMailToken(guest, 'invite')
    await asOwner(`update mails set data = jsonb_build_object('workspaceId', $2::text) where user_id = $1`, [
      guest.userId,
      workspaceId,
    ])
    const [deleted, accepted] = await inTurn<Answer>(workspaceId, [
      () => client.delete(`/workspaces/${workspaceId}`),
      () => acceptInvite(guest.client, token),
    ])
    expect([deleted?.status, accepted?.status]).toEqual([204, 404])
  })

  test('twenty changes of one role at once are audited as one sequence, which ends in the stored role', async () => {
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

  test('answers 403 to an admin who loses the role while the request waits', async () => {
    const { client, workspaceId } = await newTenant()
    const rogue = await addMember(workspaceId, 'admin')
    const target = await addMember(workspaceId, 'viewer')
    const base = `/workspaces/${workspaceId}`
    const asks: [string, () => Promise<Answer>][] = [
      ['invites', () => invite(rogue.client, workspaceId, newEmail(), 'admin')],
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

  test('an invite that is accepted first is not withdrawn: answers 404', async () => {
    const { client, workspaceId } = await newTenant()
    const guest = await signUp()
    const { id, token } = (await invite(client, workspaceId, guest.email)).body
    const [accepted, withdrawn] = await inTurn<Answer>(workspaceId, [
      () => acceptInvite(guest.client, token),
      () => client.delete(`/workspaces/${workspaceId}/invites/${id}`),
    ])
    expect([accepted?.status, withdrawn?.status]).toEqual([200, 404])
  })

  test('of eight acceptances at once only as many succeed as the plan has places', async () => {
    const { client, workspaceId } = await newTenant()
    const guests = await times(8, () => signUp())
    const invites = await Promise.all(
      guests.map(async (guest) => ({
        guest,
        token: (await invite(client, workspaceId, guest.email)).body.token,
      })),
    )
    const [accepted, invited] = await Promise.all([
      Promise.all(invites.map(({ guest, token }) => acceptInvite(guest.client, token))),
      times(4, () => invite(client, workspaceId)),
    ])
    expect(tally(accepted)).toEqual({ 200: 4, 402: 4 })
    for (const { status } of invited) expect([201, 402]).toContain(status)
    expect(await rowsOf('memberships', workspaceId)).toHaveLength(5)
  })

  test('of twenty workspaces made at once only the ten that the plan allows are made', async () => {
    const { client, userId } = await signUp()
    const answers = await times(20, () => client.post('/workspaces', { name: 'Store' }))
    expect(tally(answers)).toEqual({ 201: 10, 402: 10 })
    expect(await asOwner('select from memberships where user_id = $1', [userId])).toHaveLength(10)
  })
})

describe('the deletion of a workspace', () => {
  test('is for owners only, and ends access, invites, keys, jobs and files', async () => {
    const { client, workspaceId, userId } = await newTenant()
    const base = `/workspaces/${workspaceId}`
    const admin = await addMember(workspaceId, 'admin')
    const guest = await signUp()
    const { token } = (await invite(client, workspaceId, guest.email)).body
    const { key } = await newKey(client, ['usage.get'])
    const server = client.with({ token: key })
    expect((await server.get('/usage')).status).toBe(200)
    await client.post('/webhooks', { url: 'http://127.0.0.1:9/' })
    const slug = `gone-${Date.now()}`
    await client.patch(base, { slug })
    const { body: asset } = await client.upload('a.txt', 'some text')
    const download = (await client.get(`/assets/${asset.id}/download`)).headers.get('location') as string
    expect((await fetch(download)).status).toBe(200)
    const prompt = newPrompt()
    await breakModels(prompt, { kind: 'slow', times: 1, delayMs: 20_000 })
    const job = await generate(client, { prompt })
    await waitFor('the job runs', async () => {
      const [row] = await rowsOf('provider_jobs', workspaceId)
      return row?.operation
    })

    expect(await admin.client.delete(base)).toMatchObject({ status: 403 })
    expect((await client.delete(base)).status).toBe(204)

    for (const each of [client, admin.client]) {
      expect(await each.get('/usage')).toMatchObject({ status: 404, body: { code: 'not_found' } })
    }
    expect(await client.get(base)).toMatchObject({ status: 404 })
    expect(await client.delete(base)).toMatchObject({ status: 404 })
    expect(await acceptInvite(guest.client, token)).toMatchObject({ status: 404 })
    expect(await server.get('/usage')).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
    expect((await client.get<{ workspaces: unknown[] }>('/auth/me')).body.workspaces).toEqual([])
    expect(await client.post('/workspaces', { name: 'Next', slug })).toMatchObject({ status: 409 })

    await ended(workspaceId)
    const [generation] = await rowsOf('generations', workspaceId)
    expect(generation).toMatchObject({ id: job.id, status: 'canceled', prompt })
    const ledger = await asOwner(
      'select kind, credits from credit_entries where workspace_id = $1 order by id',
      [workspaceId],
    )
    expect(ledger).toEqual([
      { kind: 'reserve', credits: 4 },
      { kind: 'refund', credits: 4 },
    ])
    const log = await asOwner(
      'select action, actor_id, resource_id from audit_logs where workspace_id = $1 order by sequence',
      [workspaceId],
    )
    expect(log.at(0)).toMatchObject({ action: 'workspace.create' })
    expect(log.filter(({ action }) => action === 'workspace.delete')).toEqual([
      { action: 'workspace.delete', actor_id: userId, resource_id: workspaceId },
    ])

    expect((await fetch(download)).status).toBe(200)

    await removed(workspaceId)
    expect((await client.post('/workspaces', { name: 'Next', slug })).status).toBe(201)
    // What waits for steps that might still be under way comes now.
    await asOwner('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
    await control('cron')
    await waitFor('nothing is owed', async () => (await rowsOf('outbox', workspaceId)).length === 0)
    expect((await fetch(download)).status).toBe(404)
    const tables = await tablesOf()
    expect(tables.length).toBeGreaterThan(15)
    for (const table of tables) expect(await rowsOf(table, workspaceId), table).toEqual([])
    const [purge] = await asOwner(
      `select actor_type from audit_logs where resource_id = $1 and action = 'workspace.purge' and workspace_id is null`,
      [workspaceId],
    )
    expect(purge).toEqual({ actor_type: 'system' })
  })

  test('succeeds once, and requests at the same time succeed, or answer 404 or 409', async () => {
    const { client, workspaceId } = await newTenant()
    const base = `/workspaces/${workspaceId}`
    const assets = await times(6, (i) => client.upload(`${i}.txt`, 'some text'))
    const job = await generate(client)
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
    expect(tally(answers.slice(0, 2))).toEqual({ 204: 1, 404: 1 })
    expect(await rowsOf('audit_logs', workspaceId, `action = 'workspace.delete'`)).toHaveLength(1)
    await ended(workspaceId)
    const ledger = await rowsOf('credit_entries', workspaceId, `kind <> 'reserve'`)
    expect(ledger.reduce((sum, { credits }) => sum + Number(credits), 0)).toBe(4)
    expect(await rowsOf('generations', workspaceId, `status in ('queued', 'running')`)).toEqual([])
  })

  test('answers at once and removes everything in the end, however much there is and whatever comes twice', async () => {
    const { client, workspaceId } = await newTenant()
    const { workspaceId: neighbour, client: neighbours } = await newTenant()
    await neighbours.upload('a.txt', 'some text')
    await asOwner(
      `with endpoint as (
         insert into webhook_endpoints (workspace_id, id, url, events, secret)
         values ($1, app.uuid_v7(), 'http://127.0.0.1:9/', '{failed}', 'whsec_') returning id),
       asset as (
         insert into assets (workspace_id, id, name, kind, mime_type, size, sha256, source, status)
         select $1, app.uuid_v7(), 'x', 'image', 'image/png', 1, gen_random_uuid(), 'generation', 'ready' from generate_series(1, 3000)),
       delivery as (
         insert into webhook_deliveries (workspace_id, id, endpoint_id, url, sequence, payload)
         select $1, app.uuid_v7(), endpoint.id, 'http://127.0.0.1:9/', 1, '{}' from endpoint, generate_series(1, 1200)),
       job as (
         insert into generations (workspace_id, id, task, kind, status, model, prompt, count, webhook_url,
           input_asset_ids, deadline, deadline_at, credits_reserved, started_at)
         select $1, app.uuid_v7(), 'scene', 'image', case when n % 2 = 0 then 'queued' else 'failed' end, 'studio-scene', 'x',
           1, 'http://127.0.0.1:9/', '{}', 600, now() + interval '1 day', 5,
           case when n % 100 = 0 then now() end
           from generate_series(1, 2000) n returning id, status)
       insert into credit_entries (workspace_id, generation_id, kind, credits, period)
       select $1, id, 'reserve', 5, date_trunc('month', now() at time zone 'utc') from job where status = 'queued'`,
      [workspaceId],
    )
    const started = performance.now()
    expect((await client.delete(`/workspaces/${workspaceId}`)).status).toBe(204)
    expect(performance.now() - started).toBeLessThan(2000)
    const message = { kind: 'workspace.delete', workspaceId, subjectId: workspaceId }
    await control('enqueue', [message, message, { ...message, workspaceId: neighbour }])
    await ended(workspaceId)
    for (const table of ['assets', 'webhook_endpoints', 'webhook_deliveries'])
      expect((await rowsOf(table, workspaceId)).length, table).toBeGreaterThan(0)
    const jobs = await asOwner(
      `select status, count(*)::int from generations where workspace_id = $1 group by status order by status`,
      [workspaceId],
    )
    expect(jobs).toEqual([
      { status: 'canceled', count: 1000 },
      { status: 'failed', count: 1000 },
    ])
    const [refunds] = await asOwner(
      `select count(*)::int, sum(credits)::int from credit_entries where workspace_id = $1 and kind = 'refund'`,
      [workspaceId],
    )
    expect(refunds).toEqual({ count: 1000, sum: 5000 })
    await removed(workspaceId)
    for (const table of await tablesOf()) expect(await rowsOf(table, workspaceId), table).toEqual([])

    const owed = await asOwner<{ kind: string; count: number }>(
      'select kind, count(*)::int from outbox where workspace_id = $1 group by kind order by kind',
      [workspaceId],
    )
    // Those of the first slice may be done by now.
    const count = (kind: string) => owed.find((row) => row.kind === kind)?.count ?? 0
    expect(owed.map(({ kind }) => kind)).not.toContain('webhook.deliver')
    expect(count('object.delete')).toBeGreaterThan(2500)
    expect(count('object.delete')).toBeLessThanOrEqual(3000 + 20)
    expect(count('prediction.cancel')).toBeLessThanOrEqual(20)
    // Some of each stand for all.
    await asOwner(
      `delete from outbox where workspace_id = $1 and subject_id not in (
         select subject_id from (select *, row_number() over (partition by kind) as n from outbox where workspace_id = $1) o
          where n <= 10)`,
      [workspaceId],
    )
    await asOwner('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
    await control('cron')
    await waitFor('nothing is owed', async () => (await rowsOf('outbox', workspaceId)).length === 0)
    // It was not asked to go.
    expect(await rowsOf('assets', neighbour)).toHaveLength(1)
    expect((await neighbours.get('/usage')).status).toBe(200)
  })
})

test.each<[string, (client: Client) => Promise<Answer>, string]>([
  ['an upload', (client) => client.upload<Record<string, unknown>>('a.txt', 'some text'), 'assets'],
  ['a generation', (client) => client.post('/generations', { task: 'scene', prompt: 'x' }), 'generations'],
  ['a key', (client) => client.post('/api-keys', { name: 'x', scopes: ['usage.get'] }), 'api_keys'],
  [
    'a webhook endpoint',
    (client) => client.post('/webhooks', { url: 'http://127.0.0.1:9/' }),
    'webhook_endpoints',
  ],
])('answers 404 to %s that waits while the workspace is deleted', async (_, ask, table) => {
  const { client, workspaceId } = await newTenant()
  const [deleted, asked] = await inTurn<Answer>(workspaceId, [
    () => client.delete(`/workspaces/${workspaceId}`),
    () => ask(client),
  ])
  expect([deleted?.status, asked?.status]).toEqual([204, 404])
  expect(await rowsOf(table, workspaceId)).toEqual([])
})

test('two who hand their workspaces to each other at once end with one grant each', async () => {
  for (let i = 0; i < 5; i++) {
    const owners = [await newTenant(), await newTenant()] as const
    const pairs = [owners, [owners[1], owners[0]]] as const
    for (const [giver, taker] of pairs) {
      await asOwner(`insert into memberships (workspace_id, user_id, role) values ($1, $2, 'member')`, [
        giver.workspaceId,
        taker.userId,
      ])
    }
    const answers = await times(2, (n) => {
      const [giver, taker] = pairs[n] as (typeof pairs)[number]
      return giver.client.post(`/workspaces/${giver.workspaceId}/transfer`, { userId: taker.userId })
    })
    expect(tally(answers)).toEqual({ 204: 2 })
    // Who was handed one by then has theirs there, and the other with what they do next.
    for (const { client } of owners)
      expect((await client.post('/workspaces', { name: 'x' })).status).toBe(201)
    const grants = await asOwner(
      `select from free_grants g join memberships m on m.workspace_id = g.workspace_id and m.user_id = g.user_id and m.role = 'owner'
        where g.user_id = any($1)`,
      [owners.map(({ userId }) => userId)],
    )
    expect(grants).toHaveLength(2)
  }
})
