/** The people of a workspace: roles, leaving, removal, handing over, invites and what the plan allows. */
import { describe, expect, test } from 'vitest'
import { addMember, asOwner, type Client, newEmail, newTenant, signUp } from '../support/client.ts'

interface Member extends Record<string, unknown> {
  userId: string
  role: string
}
interface Invite extends Record<string, unknown> {
  id: string
  token: string
}
type Page<T> = { data: T[]; nextCursor: string | null }
type Role = 'viewer' | 'member' | 'admin' | 'owner'

const NOBODY = '01890000-0000-7000-8000-000000000000'
const refusal = (status: number, code: string) => ({ status, body: { code } })
const forbidden = refusal(403, 'forbidden')
const notFound = refusal(404, 'not_found')

/** A workspace with one of each role, and what is often done there. */
const newTeam = async () => {
  const owner = await newTenant()
  const [admin, member, viewer] = await Promise.all([
    addMember(owner.workspaceId, 'admin'),
    addMember(owner.workspaceId, 'member'),
    addMember(owner.workspaceId, 'viewer'),
  ])
  const base = `/workspaces/${owner.workspaceId}`
  return {
    base,
    workspaceId: owner.workspaceId,
    owner,
    admin,
    member,
    viewer,
    setRole: (by: { client: Client }, who: { userId: string }, role: Role) =>
      by.client.patch<Member>(`${base}/members/${who.userId}`, { role }),
    remove: (by: { client: Client }, who: { userId: string }) =>
      by.client.delete(`${base}/members/${who.userId}`),
    roles: async () => {
      const { body } = await owner.client.get<Page<Member>>(`${base}/members`)
      return Object.fromEntries(body.data.map(({ userId, role }) => [userId, role]))
    },
  }
}

const invite = (by: { client: Client }, workspaceId: string, email: string, role: Role = 'member') =>
  by.client.post<Invite>(`/workspaces/${workspaceId}/invites`, { email, role })
const accept = (by: { client: Client }, token: string) =>
  by.client.post('/workspaces/invites/accept', { token })

describe('members', () => {
  test('are listed to all of them, page by page', async () => {
    const { base, owner, admin, member, viewer } = await newTeam()
    const { body } = await viewer.client.get<Page<Member>>(`${base}/members`)
    expect(body.data.find(({ userId }) => userId === admin.userId)).toEqual({
      userId: admin.userId,
      email: admin.email,
      name: null,
      role: 'admin',
      createdAt: expect.any(String),
    })
    const seen: Member[] = []
    for (let cursor = ''; ; ) {
      const page = await viewer.client.get<Page<Member>>(`${base}/members?limit=3${cursor}`)
      expect(page.body.data.length).toBeLessThanOrEqual(3)
      seen.push(...page.body.data)
      if (page.body.nextCursor === null) break
      cursor = `&cursor=${page.body.nextCursor}`
    }
    expect(seen).toEqual(body.data)
    const everybody = [owner, admin, member, viewer].map(({ userId }) => userId)
    expect(seen.map(({ userId }) => userId).sort()).toEqual(everybody.sort())
  })

  test('get a role of at most the giver, from an admin', async () => {
    const { owner, admin, member, viewer, setRole, roles } = await newTeam()
    expect(await setRole(admin, viewer, 'owner')).toMatchObject(forbidden)
    expect(await setRole(admin, admin, 'owner')).toMatchObject(forbidden)
    expect(await setRole(admin, owner, 'viewer')).toMatchObject(forbidden)
    expect(await setRole(member, viewer, 'member')).toMatchObject(forbidden)
    expect(await setRole(member, member, 'viewer')).toMatchObject(forbidden)
    expect(await setRole(admin, { userId: NOBODY }, 'viewer')).toMatchObject(notFound)
    const { userId: stranger } = await signUp()
    expect(await setRole(admin, { userId: stranger }, 'viewer')).toMatchObject(notFound)
    const changed = await setRole(admin, viewer, 'admin')
    expect(changed).toMatchObject({ status: 200, body: { userId: viewer.userId, role: 'admin' } })
    expect(await setRole(admin, admin, 'viewer')).toMatchObject({ status: 200, body: { role: 'viewer' } })
    expect(await setRole(admin, member, 'viewer')).toMatchObject(forbidden)
    expect((await setRole(owner, member, 'owner')).status).toBe(200)
    expect(await roles()).toEqual({
      [owner.userId]: 'owner',
      [admin.userId]: 'viewer',
      [member.userId]: 'owner',
      [viewer.userId]: 'admin',
    })
  })

  test('are removed by admins, and are out with the next request', async () => {
    const { owner, admin, member, viewer, remove } = await newTeam()
    expect(await remove(member, viewer)).toMatchObject(forbidden)
    expect(await remove(viewer, viewer)).toMatchObject({ status: 204 })
    expect(await remove(admin, owner)).toMatchObject(forbidden)
    expect((await remove(admin, member)).status).toBe(204)
    for (const { client } of [viewer, member]) expect(await client.get('/usage')).toMatchObject(notFound)
    expect(await remove(admin, member)).toMatchObject(notFound)
    expect((await remove(owner, admin)).status).toBe(204)
    expect(await admin.client.get('/usage')).toMatchObject(notFound)
  })

  test.each(['viewer', 'member', 'admin'] as const)('may leave as %s', async (role) => {
    const team = await newTeam()
    expect((await team.remove(team[role], team[role])).status).toBe(204)
    expect(await team[role].client.get('/usage')).toMatchObject(notFound)
    expect((await team[role].client.get<{ workspaces: unknown[] }>('/auth/me')).body.workspaces).toEqual([])
  })

  test('always have an owner among them', async () => {
    const { owner, admin, member, setRole, remove } = await newTeam()
    const lastOwner = refusal(409, 'last_owner')
    expect(await remove(owner, owner)).toMatchObject(lastOwner)
    expect(await setRole(owner, owner, 'admin')).toMatchObject(lastOwner)
    await setRole(owner, member, 'owner')
    expect((await setRole(owner, owner, 'admin')).status).toBe(200)
    expect(await remove(admin, member)).toMatchObject(forbidden)
    expect(await remove(member, member)).toMatchObject(lastOwner)
  })
})

test('only the owner hands the workspace over, to another member', async () => {
  const { base, owner, admin, member, roles } = await newTeam()
  const transfer = (by: { client: Client }, userId: string) => by.client.post(`${base}/transfer`, { userId })
  expect(await transfer(admin, admin.userId)).toMatchObject(forbidden)
  expect(await transfer(owner, (await signUp()).userId)).toMatchObject(notFound)
  expect(await transfer(owner, owner.userId)).toMatchObject(refusal(422, 'validation_failed'))
  expect((await transfer(owner, member.userId)).status).toBe(204)
  expect(await roles()).toMatchObject({ [owner.userId]: 'admin', [member.userId]: 'owner' })
  expect(await transfer(owner, admin.userId)).toMatchObject(forbidden)
  expect((await member.client.delete(`${base}/members/${owner.userId}`)).status).toBe(204)
})

describe('an invite', () => {
  test('shows its token once, stores a hash, and lives for 7 days', async () => {
    const { workspaceId, admin, base } = await newTeam()
    const email = newEmail()
    const created = await invite(admin, workspaceId, email.toUpperCase(), 'viewer')
    const { token, ...shown } = created.body
    expect(created).toMatchObject({ status: 201, body: { email, role: 'viewer' } })
    expect(created.headers.get('cache-control')).toBe('no-store')
    expect(created.headers.get('location')).toBe(`/api/v1${base}/invites/${shown.id}`)
    expect(token).toMatch(/^[\w-]{43}$/)
    expect(Date.parse(shown.expiresAt as string) - Date.parse(shown.createdAt as string)).toBe(7 * 86_400_000)
    expect((await admin.client.get<Page<Invite>>(`${base}/invites`)).body).toEqual({
      data: [shown],
      nextCursor: null,
    })
    const [row] = await asOwner('select * from invites where id = $1', [shown.id])
    expect(JSON.stringify(row)).not.toContain(token)
    expect(row?.token_hash).toMatch(/^[0-9a-f]{64}$/)
  })

  test('gives a role of at most the inviter, who is an admin', async () => {
    const { workspaceId, owner, admin, member } = await newTeam()
    expect(await invite(admin, workspaceId, newEmail(), 'owner')).toMatchObject(forbidden)
    expect(await invite(member, workspaceId, newEmail(), 'viewer')).toMatchObject(forbidden)
    expect((await invite(admin, workspaceId, newEmail(), 'admin')).status).toBe(201)
    expect((await invite(owner, workspaceId, newEmail(), 'owner')).status).toBe(201)
  })

  test('is withdrawn, or replaced by the next to the same address', async () => {
    const { workspaceId, admin, base } = await newTeam()
    const guest = await signUp()
    const first = await invite(admin, workspaceId, guest.email)
    const second = await invite(admin, workspaceId, guest.email.toUpperCase(), 'viewer')
    expect(await accept(guest, first.body.token)).toMatchObject(notFound)
    const listed = await admin.client.get<Page<Invite>>(`${base}/invites`)
    expect(listed.body.data.map(({ id }) => id)).toEqual([second.body.id])
    expect((await admin.client.delete(`${base}/invites/${second.body.id}`)).status).toBe(204)
    expect(await admin.client.delete(`${base}/invites/${second.body.id}`)).toMatchObject(notFound)
    expect(await accept(guest, second.body.token)).toMatchObject(notFound)
  })

  test('is for nobody but the invited address, once', async () => {
    const { workspaceId, owner, member, base } = await newTeam()
    const guest = await signUp()
    const { body } = await invite(owner, workspaceId, guest.email.toUpperCase(), 'admin')
    for (const other of [owner, member, await signUp()]) {
      expect(await accept(other, body.token)).toMatchObject(notFound)
    }
    expect(await accept(guest, `${body.token}x`)).toMatchObject(notFound)
    const joined = await accept(guest, body.token)
    expect(joined).toMatchObject({ status: 200, body: { id: workspaceId, role: 'admin' } })
    expect(await accept(guest, body.token)).toMatchObject({ status: 200, body: joined.body })
    expect(await invite(owner, workspaceId, guest.email)).toMatchObject(refusal(409, 'already_member'))
    expect((await owner.client.get<Page<Invite>>(`${base}/invites`)).body.data).toEqual([])
    await owner.client.delete(`${base}/members/${guest.userId}`)
    expect(await accept(guest, body.token)).toMatchObject(refusal(409, 'invite_used'))
    expect(await guest.client.get(base)).toMatchObject(notFound)
  })

  test('ends in time', async () => {
    const { workspaceId, owner, base } = await newTeam()
    const guest = await signUp()
    const { body } = await invite(owner, workspaceId, guest.email)
    await asOwner('update invites set expires_at = now() where id = $1', [body.id])
    expect(await accept(guest, body.token)).toMatchObject(refusal(409, 'invite_expired'))
    expect((await owner.client.get<Page<Invite>>(`${base}/invites`)).body.data).toEqual([])
    expect((await invite(owner, workspaceId, guest.email)).status).toBe(201)
  })

  test.each(['demoted', 'removed'])('is void when its inviter is %s', async (fate) => {
    const { workspaceId, owner, admin, base, setRole, remove } = await newTeam()
    const accomplice = await signUp()
    const { body } = await invite(admin, workspaceId, accomplice.email, 'admin')
    const other = await invite(owner, workspaceId, newEmail(), 'owner')
    if (fate === 'demoted') await setRole(owner, admin, 'member')
    else await remove(owner, admin)
    expect(await accept(accomplice, body.token)).toMatchObject(notFound)
    const listed = await owner.client.get<Page<Invite>>(`${base}/invites`)
    expect(listed.body.data.map(({ id }) => id)).toEqual([other.body.id])
  })
})

describe('the plan', () => {
  const full = refusal(402, 'plan_limit_reached')

  test('allows five members, when they are invited and when they come', async () => {
    const { workspaceId, owner, viewer, base } = await newTeam()
    const [first, second] = [await signUp(), await signUp()]
    const invites = [
      await invite(owner, workspaceId, first.email),
      await invite(owner, workspaceId, second.email),
    ]
    expect((await accept(first, invites[0]?.body.token as string)).status).toBe(200)
    expect(await accept(second, invites[1]?.body.token as string)).toMatchObject(full)
    expect(await second.client.get(base)).toMatchObject(notFound)
    expect(await invite(owner, workspaceId, newEmail())).toMatchObject(full)
    await viewer.client.delete(`${base}/members/${viewer.userId}`)
    expect((await accept(second, invites[1]?.body.token as string)).status).toBe(200)
    await asOwner(`update workspaces set plan = 'pro' where id = $1`, [workspaceId])
    expect((await invite(owner, workspaceId, newEmail())).status).toBe(201)
  })

  test('allows ten free workspaces an owner', async () => {
    const owner = await signUp()
    const create = () => owner.client.post<{ id: string }>('/workspaces', { name: 'Store' })
    const answers = []
    for (let i = 0; i < 10; i++) answers.push(await create())
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 201))
    expect(await create()).toMatchObject(full)
    await asOwner(`update workspaces set plan = 'pro' where id = $1`, [answers[0]?.body.id])
    expect((await create()).status).toBe(201)
    expect(await create()).toMatchObject(full)
    expect((await owner.client.delete(`/workspaces/${answers[1]?.body.id}`)).status).toBe(204)
    expect((await create()).status).toBe(201)
  })
})
