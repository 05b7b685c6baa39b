import { expect, test } from 'vitest'
import {
  asOwner,
  createClient,
  finished,
  type GenerationBody,
  newEmail,
  newTenant,
  PASSWORD,
} from '../support/client.ts'

interface Entry extends Record<string, unknown> {
  id: string
  action: string
  actor: { type: string; id: string | null }
  resourceId: string
  before?: Record<string, unknown>
  after?: Record<string, unknown>
}
type Page = { data: Entry[]; nextCursor: string | null }

test('every change leaves one row: who, what, before and after', async () => {
  const { client, workspaceId, userId } = await newTenant()
  const { body: asset } = await client.upload('a.txt', 'some text')
  await client.patch(`/assets/${asset.id}`, { name: 'b.txt' })
  await client.patch(`/assets/${asset.id}`, { name: 'b.txt' })
  await client.delete(`/assets/${asset.id}`)
  await client.patch(`/workspaces/${workspaceId}`, { name: 'Renamed' })
  const { body: job } = await client.post<GenerationBody>('/generations', { kind: 'image', prompt: 'x' })
  await finished(client, job.id)
  const { body } = await client.get<Page>('/audit-logs')
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
    after: { status: 'succeeded', creditsCharged: 5 },
  })
})

test('what was refused leaves nothing', async () => {
  const { client } = await newTenant()
  await client.patch(`/assets/${crypto.randomUUID()}`, { name: 'x' })
  await client.post('/generations', { kind: 'image', inputAssetIds: [crypto.randomUUID()] })
  const { body } = await client.get<Page>('/audit-logs')
  expect(body.data.map(({ action }) => action)).toEqual(['workspace.create'])
})

test('filters and pages', async () => {
  const { client, workspaceId, userId } = await newTenant()
  for (const name of ['a', 'b', 'c']) await client.patch(`/workspaces/${workspaceId}`, { name })
  const all = (await client.get<Page>('/audit-logs')).body.data
  const ids = async (query: string) =>
    (await client.get<Page>(`/audit-logs?${query}`)).body.data.map(({ id }) => id)
  expect(await ids('action=workspace.update')).toEqual(all.slice(0, 3).map(({ id }) => id))
  expect(await ids(`actorId=${userId}&resourceType=workspace&resourceId=${workspaceId}`)).toHaveLength(4)
  expect(await ids(`actorId=${crypto.randomUUID()}`)).toEqual([])
  expect(await ids(`since=${all[0]?.createdAt}`)).toEqual([all[0]?.id])
  expect(await ids(`until=${all[0]?.createdAt}`)).toHaveLength(3)
  const { body: first } = await client.get<Page>('/audit-logs?limit=3')
  const { body: second } = await client.get<Page>(`/audit-logs?limit=3&cursor=${first.nextCursor}`)
  expect([...first.data, ...second.data]).toEqual(all)
})

test('signing up, in, out and failing to are written down, without secrets', async () => {
  const [client, email] = [createClient(), newEmail()]
  const registered = await client.post<{ user: { id: string } }>('/auth/register', {
    email,
    password: PASSWORD,
  })
  const userId = registered.body.user.id
  const { body } = await client.post<{ access_token: string }>('/auth/login', {
    email,
    password: PASSWORD,
  })
  await client.post('/auth/login', { email, password: 'not the password' })
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
