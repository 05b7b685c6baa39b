/** The people of a workspace: roles, leaving, removal, handing over, invites and what the plan allows. */
import { describe, expect, test } from 'vitest'
import { type Client, listAll, type Page } from '../support/client.ts'
import { asOwner, setPlan } from '../support/database.ts'
import {
  acceptInvite,
  addMember,
  invite,
  NOBODY,
  newEmail,
  newTenant,
  type Role,
  signUp,
} from '../support/tenants.ts'

interface Member extends Record<string, unknown> {
  userId: string
  role: string
}
interface Invite extends Record<string, unknown> {
  id: string
}

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

describe('members', () => {
  test('are listed to every role, page by page', async () => {
    const { base, owner, admin, member, viewer } = await newTeam()
    const { body } = await viewer.client.get<Page<Member>>(`${base}/members`)
    expect(body.data.find(({ userId }) => userId === admin.userId)).toEqual({
      userId: admin.userId,
      email: admin.email,
      emailVerified: true,
      name: null,
      role: 'admin',
      leavesAt: null,
      createdAt: expect.any(String),
    })
    const first = await viewer.client.get<Page<Member>>(`${base}/members?limit=3`)
    expect(first.body.data).toHaveLength(3)
    const seen = await listAll<Member>(viewer.client, `${base}/members?limit=3`)
    expect(seen).toEqual(body.data)
    const everybody = [owner, admin, member, viewer].map(({ userId }) => userId)
    expect(seen.map(({ userId }) => userId).sort()).toEqual(everybody.sort())
  })

  test('are listed by when they joined, the newest first, whoever signed up when', async () => {
    const early = await signUp()
    const owner = await newTenant()
    const late = await addMember(owner.workspaceId, 'viewer')
    const { body } = await invite(owner.client, owner.workspaceId, early.email)
    expect((await acceptInvite(early.client, body.token)).status).toBe(200)
    const seen = await listAll<Member>(owner.client, `/workspaces/${owner.workspaceId}/members?limit=1`)
    expect(seen.map(({ userId }) => userId)).toEqual([early.userId, late.userId, owner.userId])
  })

  test("get a role from an admin, of at most that admin's own", async () => {
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

  test('are removed by admins, and refused with the next request', async () => {
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

  test.each(['viewer', 'member', 'admin'] as const)(
    'may leave as %s, and are refused with the next request',
    async (role) => {
      const team = await newTeam()
      expect((await team.remove(team[role], team[role])).status).toBe(204)
      expect(await team[role].client.get('/usage')).toMatchObject(notFound)
      expect((await team[role].client.get<{ workspaces: unknown[] }>('/auth/me')).body.workspaces).toEqual([])
    },
  )

  test('keep an owner among them: answers 409 to the last one who leaves or steps down', async () => {
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

test('of a member who is leaving it shows, and whoever would rely on them is told so', async () => {
  const { base, owner, admin } = await newTeam()
  const { body } = await admin.client.delete<{ deletesAt: string }>('/auth/me')
  const members = await owner.client.get<Page<Member>>(`${base}/members`)
  expect(members.body.data.filter(({ leavesAt }) => leavesAt !== null)).toMatchObject([
    { userId: admin.userId, leavesAt: body.deletesAt },
  ])
  expect(await owner.client.post(`${base}/transfer`, { userId: admin.userId })).toMatchObject({
    status: 409,
    body: { code: 'last_owner', detail: expect.stringContaining('This member has deleted their account') },
  })
})

test('only the owner transfers the workspace, and only to another member', async () => {
  const { base, owner, admin, member, roles } = await newTeam()
  const transfer = (by: { client: Client }, userId: string) => by.client.post(`${base}/transfer`, { userId })
  expect(await transfer(admin, admin.userId)).toMatchObject(forbidden)
  expect(await transfer(owner, (await signUp()).userId)).toMatchObject(notFound)
  expect(await transfer(owner, owner.userId)).toMatchObject({
    status: 422,
    body: { code: 'validation_failed', errors: [{ pointer: '/userId', message: expect.any(String) }] },
  })
  expect((await transfer(owner, member.userId)).status).toBe(204)
  expect(await roles()).toMatchObject({ [owner.userId]: 'admin', [member.userId]: 'owner' })
  expect(await transfer(owner, admin.userId)).toMatchObject(forbidden)
  expect((await member.client.delete(`${base}/members/${owner.userId}`)).status).toBe(204)
})

test('who is handed a workspace that they do not want gives it back or deletes it, keeps their free credits, and may leave', async () => {
  const { base, workspaceId, owner, admin, member } = await newTeam()
  await member.client.with({ workspaceId: undefined }).post('/workspaces', { name: 'Own Store' })
  const transfer = (by: { client: Client }, { userId }: { userId: string }) =>
    by.client.post(`${base}/transfer`, { userId })
  const [grant] = await asOwner('select * from free_grants where user_id = $1', [member.userId])
  expect((await transfer(owner, member)).status).toBe(204)
  expect(await asOwner('select * from free_grants where user_id = $1', [member.userId])).toEqual([grant])
  expect(await member.client.delete('/auth/me')).toMatchObject(refusal(409, 'last_owner'))
  expect((await transfer(member, owner)).status).toBe(204)
  expect((await member.client.delete('/auth/me')).status).toBe(202)

  expect((await transfer(owner, admin)).status).toBe(204)
  expect((await admin.client.delete(`/workspaces/${workspaceId}`)).status).toBe(204)
  expect((await admin.client.delete('/auth/me')).status).toBe(202)
})

describe('an invite', () => {
  test('shows its token once, stores a hash, and lives for 7 days', async () => {
    const { workspaceId, admin, base } = await newTeam()
    const email = newEmail()
    const created = await invite(admin.client, workspaceId, email.toUpperCase(), 'viewer')
    const { token, mailed, ...shown } = created.body
    expect(created).toMatchObject({ status: 201, body: { email, role: 'viewer' } })
    expect(mailed).toBe(true)
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

  test("is made by an admin, with a role of at most that admin's own", async () => {
    const { workspaceId, owner, admin, member } = await newTeam()
    expect(await invite(admin.client, workspaceId, newEmail(), 'owner')).toMatchObject(forbidden)
    expect(await invite(member.client, workspaceId, newEmail(), 'viewer')).toMatchObject(forbidden)
    expect((await invite(admin.client, workspaceId, newEmail(), 'admin')).status).toBe(201)
    expect((await invite(owner.client, workspaceId, newEmail(), 'owner')).status).toBe(201)
  })

  test('ends when it is withdrawn, or followed by another to the same address', async () => {
    const { workspaceId, admin, base } = await newTeam()
    const guest = await signUp()
    const first = await invite(admin.client, workspaceId, guest.email)
    const second = await invite(admin.client, workspaceId, guest.email.toUpperCase(), 'viewer')
    expect(await acceptInvite(guest.client, first.body.token)).toMatchObject(notFound)
    const listed = await admin.client.get<Page<Invite>>(`${base}/invites`)
    expect(listed.body.data.map(({ id }) => id)).toEqual([second.body.id])
    expect((await admin.client.delete(`${base}/invites/${second.body.id}`)).status).toBe(204)
    expect(await admin.client.delete(`${base}/invites/${second.body.id}`)).toMatchObject(notFound)
    expect(await acceptInvite(guest.client, second.body.token)).toMatchObject(notFound)
  })

  test('is accepted by the invited address only, once', async () => {
    const { workspaceId, owner, member, base } = await newTeam()
    const guest = await signUp()
    const { body } = await invite(owner.client, workspaceId, guest.email.toUpperCase(), 'admin')
    for (const other of [owner, member, await signUp()]) {
      expect(await acceptInvite(other.client, body.token)).toMatchObject(notFound)
    }
    expect(await acceptInvite(guest.client, `${body.token}x`)).toMatchObject(notFound)
    const joined = await acceptInvite(guest.client, body.token)
    expect(joined).toMatchObject({ status: 200, body: { id: workspaceId, role: 'admin' } })
    expect(await acceptInvite(guest.client, body.token)).toMatchObject({ status: 200, body: joined.body })
    expect(await invite(owner.client, workspaceId, guest.email)).toMatchObject(refusal(409, 'already_member'))
    expect((await owner.client.get<Page<Invite>>(`${base}/invites`)).body.data).toEqual([])
    await owner.client.delete(`${base}/members/${guest.userId}`)
    expect(await acceptInvite(guest.client, body.token)).toMatchObject(refusal(409, 'invite_used'))
    expect(await guest.client.get(base)).toMatchObject(notFound)
  })

  test('expires: answers 409, and is listed no more', async () => {
    const { workspaceId, owner, base } = await newTeam()
    const guest = await signUp()
    const { body } = await invite(owner.client, workspaceId, guest.email)
    await asOwner('update invites set expires_at = now() where id = $1', [body.id])
    expect(await acceptInvite(guest.client, body.token)).toMatchObject(refusal(409, 'invite_expired'))
    expect((await owner.client.get<Page<Invite>>(`${base}/invites`)).body.data).toEqual([])
    expect((await invite(owner.client, workspaceId, guest.email)).status).toBe(201)
  })

  test.each(['demoted', 'removed'])('ends when its inviter is %s', async (fate) => {
    const { workspaceId, owner, admin, base, setRole, remove } = await newTeam()
    const accomplice = await signUp()
    const { body } = await invite(admin.client, workspaceId, accomplice.email, 'admin')
    const other = await invite(owner.client, workspaceId, newEmail(), 'owner')
    if (fate === 'demoted') await setRole(owner, admin, 'member')
    else await remove(owner, admin)
    expect(await acceptInvite(accomplice.client, body.token)).toMatchObject(notFound)
    const listed = await owner.client.get<Page<Invite>>(`${base}/invites`)
    expect(listed.body.data.map(({ id }) => id)).toEqual([other.body.id])
  })
})

describe('the plan', () => {
  const full = refusal(402, 'plan_limit_reached')

  test('allows five members, counted when inviting and when accepting', async () => {
    const { workspaceId, owner, viewer, base } = await newTeam()
    const [first, second] = [await signUp(), await signUp()]
    const invites = [
      await invite(owner.client, workspaceId, first.email),
      await invite(owner.client, workspaceId, second.email),
    ]
    expect((await acceptInvite(first.client, invites[0]?.body.token as string)).status).toBe(200)
    expect(await acceptInvite(second.client, invites[1]?.body.token as string)).toMatchObject(full)
    expect(await second.client.get(base)).toMatchObject(notFound)
    expect(await invite(owner.client, workspaceId, newEmail())).toMatchObject(full)
    await viewer.client.delete(`${base}/members/${viewer.userId}`)
    expect((await acceptInvite(second.client, invites[1]?.body.token as string)).status).toBe(200)
    await setPlan(workspaceId, 'pro')
    expect((await invite(owner.client, workspaceId, newEmail())).status).toBe(201)
  })

  test('allows ten free workspaces for each owner', async () => {
    const owner = await signUp()
    const create = () => owner.client.post<{ id: string }>('/workspaces', { name: 'Store' })
    const answers = []
    for (let i = 0; i < 10; i++) answers.push(await create())
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 201))
    expect(await create()).toMatchObject(full)
    await setPlan(String(answers[0]?.body.id), 'pro')
    expect((await create()).status).toBe(201)
    expect(await create()).toMatchObject(full)
    expect((await owner.client.delete(`/workspaces/${answers[1]?.body.id}`)).status).toBe(204)
    expect((await create()).status).toBe(201)
  })
})
