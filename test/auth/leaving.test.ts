/** The end of an account: asked for, undone by signing in, and carried out when its day has come. */
import { describe, expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { newCookie } from '../support/authjs.ts'
import { type Client, createClient } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner, holdRow } from '../support/database.ts'
import { breakModels, generate, newPrompt } from '../support/generations.ts'
import { mailRowsOf, mailTo, whenSettled } from '../support/mail.ts'
import {
  acceptInvite,
  addMember,
  invite,
  logIn,
  newEmail,
  newKey,
  newMailToken,
  newTenant,
  PASSWORD,
  signUp,
} from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const NOWHERE = '00000000-0000-0000-0000-000000000000'
const DAY = 86_400_000

const leave = (client: Client) => client.delete<{ deletesAt: string }>('/auth/me')
const userOf = async (id: string) =>
  (await asOwner<{ leaves_at: Date | null; email: string }>('select * from users where id = $1', [id]))[0]
const auditOf = (id: string) =>
  asOwner<{ action: string; actor_type: string; before: object | null; after: object | null }>(
    `select action, actor_type, before, after from audit_logs where resource_id = $1 and workspace_id is null
       and action in ('user.delete', 'user.restore', 'user.erase') order by id`,
    [id],
  )
const countIn = async (table: string, workspaceId: string) =>
  (await asOwner(`select from ${table} where workspace_id = $1`, [workspaceId])).length

/** Its day has come; the sweeper does not come by. */
const age = (id: string) => asOwner(`update users set leaves_at = now() where id = $1`, [id])
const erase = async (id: string) => {
  await age(id)
  await asOwner(`update outbox set available_at = now() where subject_id = $1`, [id])
  await control('cron')
  await waitFor('the account is gone', async () => (await userOf(id)) === undefined)
}

describe('who deletes their account', () => {
  test('is told when, by the answer and by mail, and signed out at once, with their keys', async () => {
    const { client, email, userId, workspaceId } = await newTenant()
    const { key } = await newKey(client, ['usage.get'])
    const server = createClient({ token: key })
    const other = createClient({ token: (await logIn(email)).body.access_token })
    expect((await server.get('/usage')).status).toBe(200)
    const { status, body } = await leave(client)
    expect(status).toBe(202)
    expect(new Date(body.deletesAt).getTime() - Date.now()).toBeGreaterThan(7 * DAY - 60_000)
    expect(new Date(body.deletesAt).getTime() - Date.now()).toBeLessThanOrEqual(7 * DAY)
    for (const each of [client, other, server])
      expect(await each.get('/usage')).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
    expect(await leave(client)).toMatchObject({ status: 401 })
    const mail = await mailTo(email, /will be deleted/)
    expect(mail.text).toContain(body.deletesAt.slice(0, 10))
    expect(await auditOf(userId)).toEqual([
      {
        action: 'user.delete',
        actor_type: 'user',
        before: { leaves_at: null },
        after: { leaves_at: expect.any(String) },
      },
    ])
    // What they have stays for now.
    expect(await countIn('memberships', workspaceId)).toBe(1)
    // A message that comes early does nothing.
    await control('enqueue', [{ kind: 'user.erase', workspaceId: NOWHERE, subjectId: userId }])
    await control('cron')
    expect(await userOf(userId)).toMatchObject({ email })
  })

  test('asks once, however often at once', async () => {
    const { client, email, userId } = await signUp()
    const answers = await times(5, () => leave(client))
    for (const { status } of answers) expect([202, 401]).toContain(status)
    const days = new Set(answers.filter(({ status }) => status === 202).map(({ body }) => body.deletesAt))
    expect(days.size).toBe(1)
    expect(await whenSettled(email)).toMatchObject([{ kind: 'leaving', status: 'sent' }])
    expect(await auditOf(userId)).toHaveLength(1)
  })

  test('of an address that nobody has proved gets no mail there', async () => {
    const { client, email, userId } = await signUp()
    await asOwner('update users set email_verified_at = null where id = $1', [userId])
    expect((await leave(client)).status).toBe(202)
    expect(await mailRowsOf(email)).toEqual([])
  })

  test('needs no mail service to be there', async () => {
    const { client, email } = await signUp()
    await control('failMail', { to: email, code: 'E_INTERNAL_SERVER_ERROR', times: 1 })
    expect((await leave(client)).status).toBe(202)
    await waitFor('a refused attempt', async () => (await mailRowsOf(email))[0]?.attempts === 1)
    await waitFor('its end', async () => (await mailRowsOf(email))[0]?.status === 'pending')
    expect((await logIn(email)).status).toBe(200)
    await asOwner(
      `update outbox o set available_at = now() from mails m where m.id = o.subject_id and m.recipient = $1`,
      [email],
    )
    await control('cron')
    const kinds = (await whenSettled(email, 3)).map(({ kind, status }) => `${kind} ${status}`)
    expect(kinds.sort()).toEqual(['leaving sent', 'new_device sent', 'staying sent'])
  })
})

describe('signing in again', () => {
  test('by password undoes it: told by mail, audited, and keys work again', async () => {
    const { client, email, userId, workspaceId } = await newTenant()
    const { key } = await newKey(client, ['usage.get'])
    await leave(client)
    await mailTo(email, /will be deleted/)
    expect((await logIn(email, 'a wrong password')).status).toBe(401)
    expect((await userOf(userId))?.leaves_at).not.toBeNull()
    const { status, body } = await logIn(email)
    expect(status).toBe(200)
    expect((await userOf(userId))?.leaves_at).toBeNull()
    const back = createClient({ token: body.access_token, workspaceId })
    expect((await back.get('/usage')).status).toBe(200)
    expect((await createClient({ token: key }).get('/usage')).status).toBe(200)
    expect(await client.get('/usage')).toMatchObject({ status: 401 })
    await control('cron')
    await mailTo(email, /stays/)
    expect((await auditOf(userId)).map(({ action }) => action)).toEqual(['user.delete', 'user.restore'])
    // Nothing is owed any more, and a late message does nothing.
    expect(
      await asOwner(`select from outbox where kind = 'user.erase' and subject_id = $1`, [userId]),
    ).toEqual([])
    await control('enqueue', [{ kind: 'user.erase', workspaceId: NOWHERE, subjectId: userId }])
    await control('cron')
    expect((await back.get('/usage')).status).toBe(200)
  })

  test('is still needed after a new password by mail, which says so', async () => {
    const { client, email, userId } = await signUp()
    const { body: left } = await leave(client)
    const reset = async () =>
      (
        await createClient().post('/auth/password/reset/confirm', {
          token: await newMailToken({ userId, email }, 'reset'),
          newPassword: `another ${PASSWORD}`,
        })
      ).body
    expect(await reset()).toMatchObject({ deletesAt: left.deletesAt })
    expect((await mailTo(email, /was reset/)).text).toContain(
      `deleted on ${left.deletesAt.slice(0, 10)} (UTC)`,
    )
    expect((await userOf(userId))?.leaves_at).not.toBeNull()
    await logIn(email, `another ${PASSWORD}`)
    expect(await reset()).toMatchObject({ deletesAt: null })
  })

  test('many times at once undoes it once', async () => {
    const { client, email, userId } = await signUp()
    await leave(client)
    expect(tally(await times(4, () => logIn(email)))).toEqual({ 200: 4 })
    expect((await auditOf(userId)).map(({ action }) => action)).toEqual(['user.delete', 'user.restore'])
  })

  test('at the front end undoes it, and a session there from before does not', async () => {
    const { client, email, userId } = await signUp()
    const cookie = await newCookie(email, true)
    const me = (with_: string) => createClient().get('/auth/me', { cookie: with_ })
    expect(await me(cookie)).toMatchObject({ status: 200, body: { id: userId } })
    await leave(client)
    expect(await me(cookie)).toMatchObject({ status: 401 })
    expect((await userOf(userId))?.leaves_at).not.toBeNull()
    // A day later.
    await asOwner(`update users set leaves_at = leaves_at - interval '1 day' where id = $1`, [userId])
    expect(await me(cookie.slice(0, -4))).toMatchObject({ status: 401 })
    const answers = await times(3, () => me(cookie))
    for (const { body } of answers) expect(body).toMatchObject({ id: userId })
    expect((await auditOf(userId)).map(({ action }) => action)).toEqual(['user.delete', 'user.restore'])
  })

  test('at the moment of the end either keeps the account or finds none', async () => {
    const { client, email, userId } = await signUp()
    await leave(client)
    await age(userId)
    const row = await holdRow('users', userId)
    await control('enqueue', [{ kind: 'user.erase', workspaceId: NOWHERE, subjectId: userId }])
    await row.whenWaiting(1)
    const late = logIn(email)
    await row.whenWaiting(2)
    await row.release()
    expect(await late).toMatchObject({ status: 401, body: { code: 'invalid_credentials' } })
    expect(await userOf(userId)).toBeUndefined()

    const other = await signUp()
    await leave(other.client)
    await age(other.userId)
    const held = await holdRow('users', other.userId)
    const early = logIn(other.email)
    await held.whenWaiting(1)
    await control('enqueue', [{ kind: 'user.erase', workspaceId: NOWHERE, subjectId: other.userId }])
    await held.whenWaiting(2)
    await held.release()
    const { status, body } = await early
    expect(status).toBe(200)
    expect((await createClient({ token: body.access_token }).get('/auth/me')).status).toBe(200)
  })
})

describe('the last owner of a workspace', () => {
  test('with other members is refused, by its name, until it is handed over', async () => {
    const { client, userId, workspaceId } = await newTenant()
    const member = await addMember(workspaceId, 'member')
    const refused = await leave(client)
    expect(refused).toMatchObject({ status: 409, body: { code: 'last_owner' } })
    expect(JSON.stringify(refused.body)).toContain('“Test Store”')
    expect((await client.get('/usage')).status).toBe(200)
    expect(await auditOf(userId)).toEqual([])
    await client.post(`/workspaces/${workspaceId}/transfer`, { userId: member.userId })
    expect((await leave(client)).status).toBe(202)
  })

  test('is the other one, when one of two has left', async () => {
    const { client, workspaceId, userId } = await newTenant()
    const other = await addMember(workspaceId, 'owner')
    const member = await addMember(workspaceId, 'member')
    const base = `/workspaces/${workspaceId}`
    expect(tally(await Promise.all([leave(client), leave(other.client)]))).toEqual({ 202: 1, 409: 1 })
    const stayed = (await userOf(userId))?.leaves_at ? other : { client, userId }
    const gone = stayed === other ? userId : other.userId
    const lastOwner = { status: 409, body: { code: 'last_owner' } }
    expect(await leave(stayed.client)).toMatchObject(lastOwner)
    expect(await stayed.client.delete(`${base}/members/${stayed.userId}`)).toMatchObject(lastOwner)
    expect(await stayed.client.patch(`${base}/members/${stayed.userId}`, { role: 'admin' })).toMatchObject(
      lastOwner,
    )
    expect(await stayed.client.post(`${base}/transfer`, { userId: gone })).toMatchObject(lastOwner)
    expect((await stayed.client.post(`${base}/transfer`, { userId: member.userId })).status).toBe(204)
  })

  test('is not made anew by a session at the front end from before, but by signing in there again', async () => {
    const email = newEmail()
    const account = crypto.randomUUID()
    const cookie = await newCookie(email, true, account)
    const me = (with_: string) => createClient().get<{ id: string }>('/auth/me', { cookie: with_ })
    const { body } = await me(cookie)
    const headers = { cookie, origin: 'http://localhost:3000' }
    expect((await createClient().request('DELETE', '/api/v1/auth/me', undefined, headers)).status).toBe(202)
    await erase(body.id)
    expect(await me(cookie)).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
    expect(await asOwner('select from users where email = $1', [email])).toEqual([])
    // Nobody can tell from what is kept who it was.
    expect(JSON.stringify(await asOwner('select * from erased_accounts'))).not.toContain(account)
    await asOwner(`update erased_accounts set erased_at = erased_at - interval '1 minute'`)
    const answers = await times(3, async () => me(await newCookie(email, true, account)))
    expect(tally(answers)).toEqual({ 200: 3 })
    expect(new Set(answers.map((answer) => answer.body.id)).size).toBe(1)
    expect(answers[0]?.body).toMatchObject({ email })
    expect(answers[0]?.body.id).not.toBe(body.id)
  })

  test('who is so only in the end is followed by the member of the highest role', async () => {
    const { client, workspaceId, userId } = await newTenant()
    const other = await addMember(workspaceId, 'owner')
    await addMember(workspaceId, 'viewer')
    const admin = await addMember(workspaceId, 'admin')
    const { key } = await newKey(client, ['usage.get'])
    await leave(client)
    // By hand, past what the API allows.
    await asOwner('delete from memberships where user_id = $1', [other.userId])
    await erase(userId)
    expect((await admin.client.get(`/workspaces/${workspaceId}`)).body).toMatchObject({ role: 'owner' })
    expect(await createClient({ token: key }).get('/usage')).toMatchObject({ status: 401 })
    const log = await asOwner(
      `select action, actor_type, before, after from audit_logs where workspace_id = $1
          and action in ('workspace.transfer', 'member.remove') order by sequence`,
      [workspaceId],
    )
    expect(log).toEqual([
      {
        action: 'workspace.transfer',
        actor_type: 'system',
        before: { owner_id: userId },
        after: { owner_id: admin.userId },
      },
      {
        action: 'member.remove',
        actor_type: 'system',
        before: { role: 'owner', user_id: userId },
        after: null,
      },
    ])
    expect((await admin.client.get(`/audit-logs/verify`)).body).toMatchObject({ valid: true })
  })
})

describe('when the day has come', () => {
  test('everything of the person goes, with workspaces of theirs alone, jobs that run, and nothing of others', async () => {
    const { client, email, userId, workspaceId } = await newTenant()
    const host = await newTenant()
    const neighbour = await newTenant()
    const joined = (await invite(host.client, host.workspaceId, email)).body
    expect((await acceptInvite(client, joined.token)).status).toBe(200)
    await client.patch('/auth/me', { name: 'Ann Example' })
    await newCookie(email, true).then((cookie) => createClient().get('/auth/me', { cookie }))
    const { body: asset } = await client.upload('a.txt', 'some text')
    const download = (await client.get(`/assets/${asset.id}/download`)).headers.get('location') as string
    await neighbour.client.upload('a.txt', 'some text')
    const prompt = newPrompt()
    await breakModels(prompt, { kind: 'slow', times: 1, delayMs: 20_000 })
    const job = await generate(client, { prompt })
    await waitFor('the job runs', async () => {
      const [row] = await asOwner('select operation from provider_jobs where generation_id = $1', [job.id])
      return row?.operation
    })
    await leave(client)
    // It goes on until then.
    expect(await asOwner('select status from generations where id = $1', [job.id])).toEqual([
      { status: 'running' },
    ])
    await erase(userId)

    await waitFor('the contents are removed', async () => {
      await asOwner('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
      await control('cron')
      return (
        (
          await asOwner(`select from outbox where workspace_id = $1 and kind = 'workspace.delete'`, [
            workspaceId,
          ])
        ).length === 0
      )
    })
    for (const table of ['sessions', 'accounts', 'memberships', 'mails'])
      expect(await asOwner(`select from ${table} where user_id = $1`, [userId]), table).toEqual([])
    expect(await mailRowsOf(email)).toEqual([])
    expect(await asOwner('select status from generations where id = $1', [job.id])).toEqual([])
    expect(await asOwner('select from workspaces where id = $1', [workspaceId])).toEqual([])
    expect(await countIn('assets', workspaceId)).toBe(0)
    await asOwner('update outbox set available_at = now() where workspace_id = $1', [workspaceId])
    await control('cron')
    await waitFor('the file is gone', async () => (await fetch(download)).status === 404)

    // Of others nothing goes.
    expect(await countIn('assets', neighbour.workspaceId)).toBe(1)
    const { body } = await host.client.get<{ data: { userId: string }[] }>(
      `/workspaces/${host.workspaceId}/members`,
    )
    expect(body.data.map((member) => member.userId)).toEqual([host.userId])
    const rows = await auditOf(userId)
    expect(rows.at(-1)).toMatchObject({ action: 'user.erase', actor_type: 'system', after: null })
    expect(JSON.stringify(rows)).not.toContain(email)
    expect(JSON.stringify(rows)).not.toContain('Ann Example')

    // Again, and the address is free.
    await control('enqueue', [{ kind: 'user.erase', workspaceId: NOWHERE, subjectId: userId }])
    const again = await createClient().post('/auth/register', { email, password: 'another long password' })
    expect(again.status).toBe(201)
  })

  test("whom they had invited can join no more, and an invite to them stays the address owner's", async () => {
    const { client, email, userId, workspaceId } = await newTenant()
    const guest = await signUp()
    const host = await newTenant()
    const { token } = (await invite(client, workspaceId, guest.email)).body
    const { token: theirs } = (await invite(host.client, host.workspaceId, email)).body
    await leave(client)
    expect(await acceptInvite(guest.client, token)).toMatchObject({ status: 404 })
    expect(await acceptInvite(client, theirs)).toMatchObject({ status: 401 })
    const back = createClient({ token: (await logIn(email)).body.access_token })
    expect((await acceptInvite(back, theirs)).status).toBe(200)
    expect((await userOf(userId))?.leaves_at).toBeNull()
  })

  test('an invite that is accepted while its maker leaves makes either a member or a refusal', async () => {
    const { client, userId, workspaceId } = await newTenant()
    const guest = await signUp()
    const { token } = (await invite(client, workspaceId, guest.email)).body
    const row = await holdRow('workspaces', workspaceId)
    const accepted = acceptInvite(guest.client, token)
    await row.whenWaiting(1)
    const left = leave(client)
    await row.whenWaiting(2)
    await row.release()
    expect(await accepted).toMatchObject({ status: 200 })
    expect(await left).toMatchObject({ status: 409, body: { code: 'last_owner' } })
    expect((await userOf(userId))?.leaves_at).toBeNull()
  })

  test('a database that fails meanwhile costs time only', async () => {
    const { client, userId } = await newTenant()
    await leave(client)
    await age(userId)
    await control('failDatabase', { count: 1, kind: 'after_commit' })
    await control('enqueue', [{ kind: 'user.erase', workspaceId: NOWHERE, subjectId: userId }])
    await waitFor('the account is gone', async () => (await userOf(userId)) === undefined)
    await waitFor(
      'nothing is owed',
      async () => (await asOwner('select from outbox where subject_id = $1', [userId])).length === 0,
    )
  })
})
