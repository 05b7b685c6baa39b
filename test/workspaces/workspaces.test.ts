/** Workspaces: made, named, changed, listed and chosen. */
import { expect, test } from 'vitest'
import { listAll, type Page } from '../support/client.ts'
import { addMember, newTenant, signUp } from '../support/tenants.ts'

interface Workspace extends Record<string, unknown> {
  id: string
  slug: string
}

test('creates, shows, lists and changes a workspace', async () => {
  const { client } = await signUp()
  const created = await client.post<Workspace>('/workspaces', { name: '  Café №1 ✨ ' })
  expect(created).toMatchObject({ status: 201, body: { name: 'Café №1 ✨', plan: 'free', role: 'owner' } })
  expect(created.headers.get('location')).toBe(`/api/v1/workspaces/${created.body.id}`)
  expect(created.body.slug).toMatch(/^cafe-no1-[a-z0-9]{6}$/)
  expect((await client.get(`/workspaces/${created.body.id}`)).body).toEqual(created.body)
  const changed = await client.patch<Workspace>(`/workspaces/${created.body.id}`, { name: 'Renamed' })
  expect(changed.body).toMatchObject({ name: 'Renamed', slug: created.body.slug })
  expect(changed.body.updatedAt).not.toBe(created.body.updatedAt)
  expect((await client.get<Page<Workspace>>('/workspaces')).body.data).toEqual([changed.body])
})

test.each([
  ['no name', {}],
  ['a blank name', { name: '   ' }],
  ['a name that turns what follows around', { name: 'Mugs \u202eand more' }],
  ['a slug with capitals', { name: 'x', slug: 'Shop' }],
  ['a slug with double hyphens', { name: 'x', slug: 'a--b' }],
  ['a short slug', { name: 'x', slug: 'ab' }],
  ['a plan', { name: 'x', plan: 'enterprise' }],
])('answers 422 to %s', async (_, body) => {
  const { client } = await signUp()
  expect(await client.post('/workspaces', body)).toMatchObject({
    status: 422,
    body: { code: 'validation_failed' },
  })
})

test('of two workspaces with one slug at once, one is refused with 409', async () => {
  const { client } = await signUp()
  const slug = `shop-${Date.now()}`
  const answers = await Promise.all([1, 2].map(() => client.post('/workspaces', { name: 'x', slug })))
  expect(answers.map(({ status }) => status).sort()).toEqual([201, 409])
})

test('a name without Latin letters gets a slug too', async () => {
  const { client } = await signUp()
  expect((await client.post<Workspace>('/workspaces', { name: '商店' })).body.slug).toMatch(
    /^workspace-[a-z0-9]{6}$/,
  )
})

test('answers 422 to an empty change', async () => {
  const { client, workspaceId } = await newTenant()
  expect((await client.patch(`/workspaces/${workspaceId}`, {})).status).toBe(422)
})

test('lists all, page by page, newest first', async () => {
  const { client } = await signUp()
  const ids: string[] = []
  for (let i = 0; i < 5; i++)
    ids.unshift((await client.post<Workspace>('/workspaces', { name: `${i}` })).body.id)
  const seen = await listAll<Workspace>(client, '/workspaces?limit=2')
  expect(seen.map(({ id }) => id)).toEqual(ids)
})

test('the header may be omitted by whoever belongs to exactly one workspace', async () => {
  const { client } = await signUp()
  const refusal = (which: string) => ({
    status: 400,
    body: { code: 'workspace_required', detail: expect.stringContaining(`belong to ${which}`) },
  })
  expect(await client.get('/usage')).toMatchObject(refusal('no workspace'))
  await client.post('/workspaces', { name: 'one' })
  expect((await client.get('/usage')).status).toBe(200)
  await client.post('/workspaces', { name: 'two' })
  expect(await client.get('/usage')).toMatchObject(refusal('several workspaces'))
})

test('an admin changes a workspace, a member does not', async () => {
  const { workspaceId } = await newTenant()
  const admin = await addMember(workspaceId, 'admin')
  const member = await addMember(workspaceId, 'member')
  expect((await admin.client.patch(`/workspaces/${workspaceId}`, { name: 'x' })).status).toBe(200)
  expect((await member.client.patch(`/workspaces/${workspaceId}`, { name: 'x' })).status).toBe(403)
  expect((await member.client.get(`/workspaces/${workspaceId}`)).body).toMatchObject({
    role: 'member',
    name: 'x',
  })
})
