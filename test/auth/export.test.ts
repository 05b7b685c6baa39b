/** What is known of somebody, as a file for themselves. */
import { expect, test } from 'vitest'
import { times } from '../support/at-once.ts'
import { type Client, createClient } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { mailRowsOf, mailTo } from '../support/mail.ts'
import { addMember, invite, logIn, newEmail, newKey, newTenant, signUp } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const NOWHERE = '00000000-0000-0000-0000-000000000000'
interface Exported {
  status: string
  url: string
  expiresAt: string
}

const ask = (client: Client) => client.get<Exported>('/auth/me/export')
const ready = (client: Client) =>
  waitFor('the file', async () => {
    const { status, body } = await ask(client)
    return status === 200 && body
  })
const idOf = async (userId: string) =>
  (await asOwner<{ id: string }>('select id from user_exports where user_id = $1', [userId]))[0]?.id as string

test('has everything of the caller, nothing of others and no secret, by a URL that ends', async () => {
  const { client, email, userId, workspaceId } = await newTenant()
  const other = await addMember(workspaceId, 'admin')
  const guest = newEmail()
  await invite(client, workspaceId, guest)
  await invite(other.client, workspaceId)
  const { key } = await newKey(client, ['usage.get'])
  await newKey(other.client, ['usage.get'], { name: 'of somebody else' })
  await client.patch('/auth/me', { name: 'Ann Example' })
  await logIn(email)
  expect(await ask(client)).toMatchObject({
    status: 202,
    body: { status: 'pending', url: null, expiresAt: null },
  })
  const { url, expiresAt } = await ready(client)
  expect(Date.parse(expiresAt) - Date.now()).toBeGreaterThan(23 * 3_600_000)
  const file = await fetch(url)
  expect(file.headers.get('content-type')).toBe('application/json')
  const text = await file.text()
  const known = JSON.parse(text)
  expect(known).toMatchObject({
    user: { id: userId, email, name: 'Ann Example', hasPassword: true },
    workspaces: [{ id: workspaceId, name: 'Test Store', role: 'owner' }],
    apiKeys: [{ name: 'server', scopes: ['usage.get'] }],
    invitesSent: [{ email: guest }],
  })
  expect(known.sessions.length).toBeGreaterThanOrEqual(2)
  for (const time of [known.exportedAt, known.user.createdAt, known.auditLog[0].createdAt])
    expect(new Date(time).toISOString()).toBe(time)
  expect(text).not.toContain('+00:00')
  expect(known.auditLog.map((entry: { action: string }) => entry.action)).toEqual(
    expect.arrayContaining(['user.update', 'session.create', 'user.export']),
  )
  for (const secret of [key, other.email, other.userId, 'of somebody else', 'scrypt', '_hash'])
    expect(text, secret).not.toContain(secret)
  const mail = await mailTo(email, /data is ready/)
  expect(mail.text).toContain('http://localhost:3000/account-export\n')
  expect(mail.text).not.toContain('token')
  // Nobody else's, and by no other way than a signed URL.
  expect(await ask(other.client)).toMatchObject({ status: 202 })
  expect((await fetch(url.split('?')[0] as string)).status).toBeGreaterThanOrEqual(400)
})

test('takes a proof of the last 15 minutes', async () => {
  const { client, userId } = await signUp()
  await asOwner(`update sessions set proved_at = now() - interval '16 minutes' where user_id = $1`, [userId])
  expect(await ask(client)).toMatchObject({ status: 403, body: { code: 'step_up_required' } })
  expect(await asOwner('select from user_exports where user_id = $1', [userId])).toEqual([])
})

test('is one, however often it is asked for at once, and however often its message comes', async () => {
  const { client, email, userId } = await signUp()
  const answers = await times(6, () => ask(client))
  for (const { status } of answers) expect([200, 202]).toContain(status)
  await ready(client)
  const message = { kind: 'user.export', workspaceId: NOWHERE, subjectId: await idOf(userId) }
  await control('enqueue', [message, message])
  await mailTo(email, /data is ready/)
  await control('cron')
  expect((await mailRowsOf(email)).filter(({ kind }) => kind === 'export')).toHaveLength(1)
  expect(
    await asOwner(`select from audit_logs where resource_id = $1 and action = 'user.export'`, [userId]),
  ).toHaveLength(1)
})

test('is deleted after a day, and can be had anew', async () => {
  const { client, userId } = await signUp()
  await ask(client)
  const { url } = await ready(client)
  const id = await idOf(userId)
  await asOwner(`update user_exports set expires_at = now() where user_id = $1`, [userId])
  await asOwner(`update outbox set available_at = now() where subject_id = $1`, [id])
  await control('cron')
  await waitFor('the file is gone', async () => (await fetch(url)).status === 404)
  await waitFor(
    'nothing is owed',
    async () => (await asOwner('select from outbox where subject_id = $1', [id])).length === 0,
  )
  expect((await ask(client)).status).toBe(202)
  await ready(client)
  expect(await idOf(userId)).not.toBe(id)
})

test('goes with its person', async () => {
  const { client, userId } = await signUp()
  await ask(client)
  const { url } = await ready(client)
  const id = await idOf(userId)
  await client.delete('/auth/me')
  await asOwner(`update users set leaves_at = now() where id = $1`, [userId])
  await control('enqueue', [{ kind: 'user.erase', workspaceId: NOWHERE, subjectId: userId }])
  await waitFor(
    'the account is gone',
    async () => (await asOwner('select from users where id = $1', [userId])).length === 0,
  )
  await control('cron')
  await waitFor('the file is gone', async () => (await fetch(url)).status === 404)
  await waitFor(
    'nothing is owed',
    async () => (await asOwner('select from outbox where subject_id = $1', [id])).length === 0,
  )
})

test('of an address that nobody has proved is told to nobody, and of nobody is nothing', async () => {
  const { client, email, userId } = await signUp()
  await asOwner('update users set email_verified_at = null where id = $1', [userId])
  await ask(client)
  await ready(client)
  expect(await mailRowsOf(email)).toEqual([])
  expect(await ask(createClient())).toMatchObject({ status: 401 })
})

test('of much it has the newest that one answer of the database takes', async () => {
  const { client, userId } = await signUp()
  for (const many of [
    `insert into sessions (id, user_id, refresh_hash, expires_at, user_agent)
     select app.uuid_at(now() - make_interval(secs => i)), $1, gen_random_uuid()::text, now() + interval '30 days', repeat('ä', 400)
       from generate_series(1, 6000) i`,
    `insert into mails (id, kind, recipient, user_id, status)
     select app.uuid_at(now() - make_interval(secs => i)), 'new_device', i || '@shop.example', $1, 'sent' from generate_series(1, 6000) i`,
  ])
    await asOwner(many, [userId])
  await ask(client)
  const { url } = await ready(client)
  const text = await (await fetch(url)).text()
  expect(text.length).toBeLessThan(4_000_000)
  const { mails, sessions } = JSON.parse(text) as Record<'mails' | 'sessions', { to: string }[]>
  expect([mails.length, mails[0]?.to, mails.at(-1)?.to]).toEqual([
    5000,
    '5000@shop.example',
    '1@shop.example',
  ])
  expect(sessions.length).toBeGreaterThan(1000)
  expect(sessions.length).toBeLessThan(5000)
})

test('of which nothing came within an hour can be asked for anew', async () => {
  const { client, userId } = await signUp()
  await asOwner('insert into user_exports (user_id, id) values ($1, gen_random_uuid())', [userId])
  const lost = await idOf(userId)
  const age = (interval: string) =>
    asOwner('update user_exports set created_at = now() - $2::interval where user_id = $1', [
      userId,
      interval,
    ])
  await age('59 minutes')
  expect((await ask(client)).status).toBe(202)
  expect(await idOf(userId)).toBe(lost)
  await age('1 hour')
  expect((await ask(client)).status).toBe(202)
  await ready(client)
  expect(await idOf(userId)).not.toBe(lost)
})
