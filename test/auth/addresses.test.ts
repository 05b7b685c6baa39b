/** Addresses: proved by mail, changed by two proofs, taken back; passwords reset; and invites that prove an address. */

import { hash } from 'node:crypto'
import { expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { type Client, createClient } from '../support/client.ts'
import { asOwner, holdRow } from '../support/database.ts'
import { codeIn, mailRowsOf, mailsTo, mailTo, tokenIn, whenSettled } from '../support/mail.ts'
import {
  acceptInvite,
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

const NEW_PASSWORD = 'a new and longer password'

/** Somebody who has registered, and proved nothing yet. */
const newcomer = async (email = newEmail()) => {
  const { body } = await createClient().post<{ access_token: string; user: { id: string } }>(
    '/auth/register',
    {
      email,
      password: PASSWORD,
    },
  )
  return { email, userId: body.user.id, client: createClient({ token: body.access_token }) }
}
const confirm = (client: Client, proof: object) => client.post('/auth/email/verify/confirm', proof)
const me = async (client: Client) => (await client.get('/auth/me')).body
const expire = (address: string) =>
  asOwner(`update mails set expires_at = now() where recipient = $1`, [address])
const invalid = { status: 409, body: { code: 'invalid_token' } }

test.each([
  ['the link', tokenIn, 'token'],
  ['the code', codeIn, 'code'],
  [
    'the code without its blank',
    (mail: Parameters<typeof codeIn>[0]) => codeIn(mail).replace(' ', ''),
    'code',
  ],
])('an address is proved by %s, and stays it when that is sent again', async (_, read, field) => {
  const { client, email } = await newcomer()
  expect(await me(client)).toMatchObject({ email, emailVerified: false })
  const mail = await mailTo(email, /Confirm/)
  const answer = await confirm(client, { [field]: read(mail) })
  expect(answer).toMatchObject({ status: 200, body: { email, emailVerified: true, awaits: null } })
  expect(await confirm(client, { [field]: read(mail) })).toEqual({ ...answer, headers: expect.anything() })
  expect(await confirm((await signUp()).client, { [field]: read(mail) })).toMatchObject(invalid)
  expect(await me(client)).toMatchObject({ email, emailVerified: true })
  // There is nothing left to prove.
  expect((await client.post('/auth/email/verify')).status).toBe(202)
  expect(await mailRowsOf(email)).toHaveLength(1)
})

test('opening a link proves nothing, nor does posting it as nobody or somebody else', async () => {
  const { client, email } = await newcomer()
  const token = tokenIn(await mailTo(email, /Confirm/))
  const stranger = await signUp()
  const path = '/api/v1/auth/email/verify/confirm'
  expect((await createClient().request('GET', `${path}?token=${token}`)).status).toBe(405)
  expect((await confirm(createClient(), { token })).status).toBe(401)
  expect(await confirm(stranger.client, { token })).toMatchObject(invalid)
  expect(await me(client)).toMatchObject({ emailVerified: false })
  expect((await confirm(client, { token })).status).toBe(200)
})

test('what can be no code uses up none of the tries', async () => {
  const { client, email } = await newcomer()
  const mail = await mailTo(email, /Confirm/)
  for (let i = 0; i < 12; i++) {
    expect((await confirm(client, { code: '123' })).status).toBe(422)
  }
  expect((await confirm(client, { code: ` ${codeIn(mail)} ` })).status).toBe(200)
})

test('a link or code is refused when it has expired, is of another form, or was guessed', async () => {
  const { client, email } = await newcomer()
  const mail = await mailTo(email, /Confirm/)
  for (const proof of [
    {},
    { token: 'x' },
    { code: '1' },
    { code: 12345678 },
    { token: tokenIn(mail), code: codeIn(mail) },
  ])
    expect((await confirm((await signUp()).client, proof)).status, JSON.stringify(proof)).toBe(422)
  expect(await confirm(client, { token: 'x'.repeat(43) })).toMatchObject(invalid)
  const wrong = codeIn(mail) === '0000 0000' ? '1111 1111' : '0000 0000'
  for (let i = 0; i < 5; i++) expect(await confirm(client, { code: wrong })).toMatchObject(invalid)
  // Whoever guesses has five tries, also those at once.
  expect(await confirm(client, { code: codeIn(mail) })).toMatchObject(invalid)
  await client.post('/auth/email/verify')
  const next = (await whenSettled(email, 2)) && (await mailsTo(email))[0]
  await expire(email)
  expect(await confirm(client, { token: tokenIn(next as never) })).toMatchObject(invalid)
})

test('a mail that is sent late is good for an hour from then on', async () => {
  const { client, email } = await newcomer()
  await mailTo(email, /Confirm/)
  const [row] = await asOwner<{ minutes: number }>(
    `select round(extract(epoch from expires_at - now()) / 60)::int as minutes from mails where recipient = $1`,
    [email],
  )
  expect(row?.minutes).toBe(60)
  expect((await client.get('/auth/me')).status).toBe(200)
})

test('an address changes when both are proved; the old one is told, and takes it back for a day', async () => {
  const { client, email, userId } = await signUp()
  const next = newEmail()
  expect((await client.post('/auth/email/change', { email: next.toUpperCase() })).status).toBe(202)
  const [forOld, forNew] = [await mailTo(email, /change your/), await mailTo(next, /new e-mail/)]
  expect(forOld.text).toContain(next)
  // Each of them twice, as by a double click.
  for (let i = 0; i < 2; i++) {
    expect(await confirm(client, { code: codeIn(forNew) })).toMatchObject({
      status: 200,
      body: { email, awaits: 'current' },
    })
  }
  expect((await logIn(next)).status).toBe(401)
  for (const answer of await times(2, () => confirm(client, { token: tokenIn(forOld) }))) {
    expect(answer).toMatchObject({
      status: 200,
      body: { email: next, emailVerified: true, awaits: null },
    })
  }
  expect([(await logIn(email)).status, (await logIn(next)).status]).toEqual([401, 200])
  const told = await mailTo(email, /was changed/)
  expect(told.text).toContain(next)
  const rows = await asOwner(
    `select action, before, after from audit_logs where actor_id = $1 and action like 'email.%' order by id`,
    [userId],
  )
  expect(rows).toMatchObject([
    { action: 'email.change', after: { email: next } },
    { action: 'email.confirm', after: { email: next } },
    { action: 'email.confirm', before: { email }, after: { email: next } },
  ])

  // What somebody who changed it may have left behind.
  const { body: workspace } = await client.post<{ id: string }>('/workspaces', { name: 'Shop' })
  const { key } = await newKey(client.with({ workspaceId: workspace.id }), ['usage.get'])
  await asOwner(
    `insert into accounts (provider, provider_account_id, user_id) values ('evil', $1::text, $1::uuid)`,
    [userId],
  )
  const undo = (token: string) => createClient().post('/auth/email/change/undo', { token })
  expect(await undo('x'.repeat(43))).toMatchObject(invalid)
  const answers = await times(2, () => undo(tokenIn(told)))
  expect(answers.map(({ status }) => status).sort()).toEqual([204, 409])
  expect((await client.get('/auth/me')).status).toBe(401)
  expect((await createClient({ token: key }).get('/usage')).status).toBe(401)
  expect(await asOwner('select from accounts where user_id = $1', [userId])).toEqual([])
  expect([(await logIn(email)).status, (await logIn(next)).status]).toEqual([401, 401])
  const way = await mailTo(email, /new password/)
  expect(way.text).toContain('This is the address of your account again: the change was undone.')
  const token = tokenIn(way)
  expect(
    (await createClient().post('/auth/password/reset/confirm', { token, newPassword: NEW_PASSWORD })).status,
  ).toBe(200)
  const again = await logIn(email, NEW_PASSWORD)
  expect(await me(createClient({ token: again.body.access_token }))).toMatchObject({ id: userId, email })
})

test('whoever takes an address back is rid of the invites and endpoints that the thief has made', async () => {
  const owner = await newTenant()
  const { workspaceId, userId, email } = owner
  const [early, joined, thief] = [await signUp(), await signUp(), await signUp()]
  const tokenFor = async (guest: { email: string }) =>
    (await invite(owner.client, workspaceId, guest.email, 'admin')).body.token
  const ofOwner = await tokenFor(early)
  const { body: kept } = await owner.client.post<{ id: string }>('/webhooks', { url: 'http://127.0.0.1:9/' })
  for (const table of ['invites', 'webhook_endpoints'])
    await asOwner(`update ${table} set created_at = now() - interval '2 days' where workspace_id = $1`, [
      workspaceId,
    ])
  // Made before the change, as a thief may who then changes the address.
  const ofThief = await tokenFor(thief)
  const next = newEmail()
  await owner.client.post('/auth/email/change', { email: next })
  for (const mail of [await mailTo(email, /change your/), await mailTo(next, /new e-mail/)])
    await confirm(owner.client, { token: tokenIn(mail) })
  const { body: endpoint } = await owner.client.post<{ id: string }>('/webhooks', {
    url: 'http://127.0.0.1:9/',
  })
  expect((await acceptInvite(joined.client, await tokenFor(joined))).status).toBe(200)

  const token = tokenIn(await mailTo(email, /was changed/))
  expect((await createClient().post('/auth/email/change/undo', { token })).status).toBe(204)
  expect((await acceptInvite(thief.client, ofThief)).status).toBe(404)
  const disabled = await asOwner(
    'select id, disabled_at is not null as is_disabled from webhook_endpoints where workspace_id = $1 order by id',
    [workspaceId],
  )
  expect(disabled).toEqual([
    { id: kept.id, is_disabled: false },
    { id: endpoint.id, is_disabled: true },
  ])
  // What is older stays, and who has joined.
  expect((await acceptInvite(early.client, ofOwner)).status).toBe(200)
  expect(await asOwner('select from memberships where user_id = $1', [joined.userId])).toHaveLength(1)
  const audit = await asOwner(
    `select action, actor_id, resource_id from audit_logs where workspace_id = $1 and action in ('invite.delete', 'webhook.update') order by action`,
    [workspaceId],
  )
  expect(audit).toMatchObject([
    { action: 'invite.delete', actor_id: userId },
    { action: 'webhook.update', actor_id: userId, resource_id: endpoint.id },
  ])
})

test('what the thief asks for while an address is taken back is refused', async () => {
  const { client, workspaceId, ...owner } = await newTenant()
  const token = await newMailToken(owner, 'email_changed')
  const row = await holdRow('workspaces', workspaceId)
  const undone = createClient().post('/auth/email/change/undo', { token })
  await row.whenWaiting(1)
  const invited = invite(client, workspaceId)
  await row.whenWaiting(2)
  await row.release()
  expect([(await undone).status, (await invited).status]).toEqual([204, 401])
  expect(await asOwner('select from invites where workspace_id = $1', [workspaceId])).toEqual([])
})

test('of two changes the later replaces the earlier, also at once', async () => {
  const { client, email } = await signUp()
  const [first, second] = [newEmail(), newEmail()]
  await client.post('/auth/email/change', { email: first })
  const late = [tokenIn(await mailTo(email, /change your/)), tokenIn(await mailTo(first, /new e-mail/))]
  await client.post('/auth/email/change', { email: second })
  for (const token of late) expect(await confirm(client, { token })).toMatchObject(invalid)
  const other = await signUp()
  const wishes = [newEmail(), newEmail(), newEmail()]
  await Promise.all(wishes.map((wish) => other.client.post('/auth/email/change', { email: wish })))
  await whenSettled(other.email, 3)
  const open = await asOwner<{ recipient: string }>(
    `select recipient from mails where user_id = $1 and used_at is null order by recipient`,
    [other.userId],
  )
  expect(open).toHaveLength(2)
})

test('the way back from an earlier change stays good after later ones', async () => {
  const { client, email } = await signUp()
  const change = async (from: string, to: string) => {
    await client.post('/auth/email/change', { email: to })
    await confirm(client, { token: tokenIn(await mailTo(from, /change your/)) })
    expect((await confirm(client, { token: tokenIn(await mailTo(to, /new e-mail/)) })).status).toBe(200)
    return tokenIn(await mailTo(from, /was changed/))
  }
  const [second, third] = [newEmail(), newEmail()]
  const way = await change(email, second)
  const thief = await change(second, third)
  const undo = (token: string) => createClient().post('/auth/email/change/undo', { token })
  expect((await undo(thief)).status).toBe(204)
  expect((await undo(way)).status).toBe(204)
  const [user] = await asOwner('select email from users where email = any($1)', [[email, second, third]])
  expect(user).toEqual({ email })
})

test("somebody else's address is mailed as any other, and given to nobody but its owner", async () => {
  const [owner, other] = [await signUp(), await signUp()]
  const answer = await other.client.post('/auth/email/change', { email: owner.email })
  expect(answer.status).toBe(202)
  expect((await other.client.post('/auth/email/change', { email: other.email })).status).toBe(422)
  await confirm(other.client, { token: tokenIn(await mailTo(other.email, /change your/)) })
  const stolen = await confirm(other.client, { token: tokenIn(await mailTo(owner.email, /new e-mail/)) })
  expect(stolen).toMatchObject({ status: 409, body: { code: 'email_taken' } })
  expect(await me(owner.client)).toMatchObject({ email: owner.email, emailVerified: true })
  expect(await me(other.client)).toMatchObject({ email: other.email })
})

test('an address that somebody has proved in the meantime is not taken back', async () => {
  const { client, email } = await signUp()
  const next = newEmail()
  await client.post('/auth/email/change', { email: next })
  for (const mail of [await mailTo(email, /change your/), await mailTo(next, /new e-mail/)])
    await confirm(client, { token: tokenIn(mail) })
  const told = await mailTo(email, /was changed/)
  const successor = await newcomer(email)
  await confirm(successor.client, { token: tokenIn(await mailTo(email, /Confirm/)) })
  const undone = await createClient().post('/auth/email/change/undo', { token: tokenIn(told) })
  expect(undone).toMatchObject({ status: 409, body: { code: 'email_taken' } })
  expect(await me(client)).toMatchObject({ email: next })
})

const reset = (email: string) => createClient().post('/auth/password/reset', { email })
const setPassword = (token: string, newPassword = NEW_PASSWORD) =>
  createClient().post('/auth/password/reset/confirm', { token, newPassword })

test('a password is reset by mail: once, all sessions end, and a mail says so', async () => {
  const { client, email } = await signUp()
  expect((await reset(email)).status).toBe(202)
  const token = tokenIn(await mailTo(email, /new password/))
  for (const weak of ['short', 'Password123']) expect((await setPassword(token, weak)).status).toBe(422)
  let ended = false
  const used: number[] = []
  const use = async () => {
    while (!ended) await client.get('/auth/me')
    used.push((await client.get('/auth/me')).status)
  }
  const users = times(5, use)
  const answers = await times(3, () => setPassword(token))
  ended = true
  await users
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409])
  expect(used).toEqual(Array(5).fill(401))
  expect([(await logIn(email)).status, (await logIn(email, NEW_PASSWORD)).status]).toEqual([401, 200])
  expect((await mailTo(email, /was reset/)).text).toContain('All sessions were ended: sign in again.')
  expect(await setPassword(token)).toMatchObject(invalid)
  await reset(email)
  await whenSettled(email, 3)
  const late = tokenIn((await mailsTo(email)).find(({ subject }) => /new password/.test(subject)) as never)
  await expire(email)
  expect(await setPassword(late)).toMatchObject(invalid)
})

test('a reset is answered alike, in the same time, whether there is an account', async () => {
  const known: string[] = []
  for (let i = 0; i < 12; i++) known.push((await signUp()).email)
  const unknown = known.map(() => newEmail())
  const took: Record<'known' | 'unknown', number[]> = { known: [], unknown: [] }
  const shapes = new Set<string>()
  const time = async (kind: keyof typeof took, email: string) => {
    const started = performance.now()
    const { status, body, headers } = await reset(email)
    took[kind].push(performance.now() - started)
    const shown = ['content-type', 'content-length', 'ratelimit-policy', 'server-timing'].map((name) =>
      headers.get(name)?.replace(/dur=\d+/g, ''),
    )
    shapes.add(JSON.stringify([status, body, shown]))
    // What the job does with it would be time of the next one.
    await whenSettled(email)
  }
  for (const [i, email] of known.entries()) {
    await time('known', email)
    await time('unknown', unknown[i] as string)
  }
  expect(shapes.size).toBe(1)
  // Of the undisturbed ones; whatever else the machine does comes on top.
  const [quickest, other] = [Math.min(...took.known), Math.min(...took.unknown)]
  console.log(`reset: known ${quickest.toFixed(1)} ms, unknown ${other.toFixed(1)} ms`)
  expect(other / quickest).toBeGreaterThan(0.6)
  expect(other / quickest).toBeLessThan(1.7)
  for (const email of known) await mailTo(email, /new password/)
  for (const email of unknown) {
    expect(await whenSettled(email)).toMatchObject([{ status: 'void' }])
    expect(await mailsTo(email)).toEqual([])
  }
})

test('strangers who ask for resets all day keep nobody from one: there is always a link that works', async () => {
  const { email, client } = await signUp()
  const unknown = newEmail()
  const pass = async (time: string) => {
    for (const column of ['created_at', 'expires_at'])
      await asOwner(`update mails set ${column} = ${column} - $2::interval where recipient = any($1)`, [
        [email, unknown],
        time,
      ])
  }
  /** Good for a quarter of an hour. */
  const links = async () => {
    const mails = (await mailsTo(email)).filter(({ subject }) => /new password/.test(subject))
    const tokens = new Map(mails.map((mail) => [hash('sha256', tokenIn(mail)), tokenIn(mail)]))
    const open = await asOwner<{ token_hash: string }>(
      `select token_hash from mails where token_hash = any($1) and used_at is null and expires_at > now() + interval '14 minutes'`,
      [[...tokens.keys()]],
    )
    return open.map(({ token_hash }) => tokens.get(token_hash))
  }
  for (let hour = 0; hour < 12; hour++) {
    // Of many networks, and so as often as they like.
    const answers = await times(8, () => reset(email))
    answers.push(...(await times(8, () => reset(unknown))))
    expect(tally(answers)).toEqual({ 202: 16 })
    await whenSettled(email)
    // The owner asks some time later, and is answered as all are.
    await pass('10 minutes')
    expect((await reset(email)).status).toBe(202)
    await whenSettled(email)
    expect((await links()).length).toBeGreaterThan(0)
    await pass('50 minutes')
  }
  const counts = await asOwner<{ recipient: string; count: number }>(
    `select recipient, count(*)::int from mails where recipient = any($1) and kind = 'reset' group by recipient`,
    [[email, unknown]],
  )
  // Not many more than before, and the same for an address of nobody.
  for (const { count } of counts) expect(count).toBeLessThanOrEqual(32)
  await times(8, () => reset(email))
  await whenSettled(email)
  const [token] = await links()
  expect((await setPassword(token as string)).status).toBe(200)
  expect((await client.get('/auth/me')).status).toBe(401)
  expect((await logIn(email, NEW_PASSWORD)).status).toBe(200)
}, 120_000)

test('a reset is mailed after five that were for nobody yet, or for a link that is used', async () => {
  const email = newEmail()
  await times(5, () => reset(email))
  expect(await whenSettled(email, 5)).toMatchObject(Array(5).fill({ status: 'void' }))
  await createClient().post('/auth/register', { email, password: NEW_PASSWORD })
  const used = new Set<string>()
  for (const password of ['the first of two', 'the second of two']) {
    await reset(email)
    const token = await waitFor('a link', async () => {
      const mails = (await mailsTo(email)).filter(({ subject }) => /new password/.test(subject))
      return mails.map(tokenIn).find((one) => !used.has(one))
    })
    expect((await setPassword(token, password)).status).toBe(200)
    used.add(token)
  }
})

test('who shares a network with strangers asks for a reset by their device', async () => {
  const { email } = await signUp()
  const { device_token } = (await logIn(email)).body as unknown as { device_token: string }
  const office = createClient({ ip: `203.0.113.${Math.floor(Math.random() * 256)}` })
  const strangers = await times(14, () => office.post('/auth/password/reset', { email: newEmail() }))
  expect(tally(strangers)[429]).toBeGreaterThan(0)
  expect((await office.post('/auth/password/reset', { email })).status).toBe(429)
  expect((await office.post('/auth/password/reset', { email, device_token })).status).toBe(202)
  await mailTo(email, /new password/)
  // It says nothing of another address, and is counted itself.
  const other = { email: newEmail(), device_token }
  expect((await office.post('/auth/password/reset', other)).status).toBe(429)
  const own = await times(6, () => createClient().post('/auth/password/reset', { email, device_token }))
  expect(tally(own)[429]).toBeGreaterThan(0)
})

test('a reset of somebody who signs in elsewhere gives them a password', async () => {
  const { email, userId } = await signUp()
  await asOwner('update users set password_hash = null where id = $1', [userId])
  await reset(email)
  expect((await setPassword(tokenIn(await mailTo(email, /new password/)))).status).toBe(200)
  expect((await logIn(email, NEW_PASSWORD)).status).toBe(200)
})

test('a new password is told by mail', async () => {
  const { client, email } = await signUp()
  await client.post('/auth/password', { currentPassword: PASSWORD, newPassword: NEW_PASSWORD })
  await mailTo(email, /password was changed/)
})

test('an invite is mailed with a link that proves the address, too', async () => {
  const owner = await newTenant()
  await owner.client.patch('/auth/me', { name: 'Ann' })
  const guest = await newcomer()
  const { body } = await invite(owner.client, owner.workspaceId, guest.email)
  expect(body).toMatchObject({ mailed: true })
  const mail = await mailTo(guest.email, /invitation/)
  expect(mail.text).toContain('Ann has invited you to the workspace “Test Store”.')
  expect(mail.text).toContain('http://localhost:3000/accept-invite#token=')
  // Whoever invites may have handed the token to anybody.
  const shown = await acceptInvite(guest.client, body.token)
  expect(shown).toMatchObject({ status: 403, body: { code: 'email_not_verified' } })
  expect((await acceptInvite((await signUp()).client, tokenIn(mail))).status).toBe(404)
  expect(await acceptInvite(guest.client, tokenIn(mail))).toMatchObject({
    status: 200,
    body: { role: 'member' },
  })
  expect(await me(guest.client)).toMatchObject({
    emailVerified: true,
    workspaces: [{ id: owner.workspaceId }],
  })
  expect((await acceptInvite(guest.client, tokenIn(mail))).status).toBe(200)
})

test('an invite carries no words that could be an address, and is mailed by nobody who has proved none', async () => {
  const owner = await newTenant()
  await owner.client.patch('/auth/me', { name: 'win at evil.example' })
  await owner.client.patch(`/workspaces/${owner.workspaceId}`, { name: '<b>http://evil.example</b>' })
  const email = newEmail()
  await invite(owner.client, owner.workspaceId, email)
  const mail = await mailTo(email, /invitation/)
  expect(mail.text + mail.html).not.toContain('evil')
  expect(mail.text).toContain('Somebody has invited you to a workspace.')
  const stranger = await newcomer()
  const { body: workspace } = await stranger.client.post<{ id: string }>('/workspaces', { name: 'Shop' })
  const other = newEmail()
  const { body } = await invite(stranger.client, workspace.id, other)
  expect(body).toMatchObject({ mailed: false, token: expect.any(String) })
  expect(await mailRowsOf(other)).toEqual([])
})

test.each([
  [
    true,
    [
      'Ann',
      'St. John',
      'Dr. Who',
      'A/B & Co: Mugs',
      'Smith (Bros.) Ltd.',
      '.NET?',
      '王小明',
      'And so on…then',
    ],
  ],
  [
    false,
    [
      'Mr.Bean',
      'evil。example',
      'evil｡example',
      'Bank․com',
      'Bank．com',
      'Bank﹒com',
      'Bank\u200b.com',
      'x@y',
      'x＠y',
      'go ://x',
      'a_.b',
    ],
  ],
])('what is no address is named in invites: %s', async (named, names) => {
  const owner = await newTenant()
  for (const name of names) {
    await owner.client.patch('/auth/me', { name })
    const email = newEmail()
    await invite(owner.client, owner.workspaceId, email)
    const { text } = await mailTo(email, /invitation/)
    expect(text, name).toContain(`${named ? name : 'Somebody'} has invited you to the workspace`)
  }
})

test.each([
  ['en', 'Your role there: admin. The invitation is good for 7 days.'],
  ['de', 'Ihre Rolle dort: Administrator. Die Einladung gilt 7 Tage lang.'],
  ['zh', '您在其中的角色：管理员。邀请 7 天内有效。'],
])('an invite says in %s as what and for how long', async (language, line) => {
  const owner = await newTenant()
  const email = newEmail()
  const path = `/workspaces/${owner.workspaceId}/invites`
  await owner.client.post(path, { email, role: 'admin' }, { 'accept-language': language })
  expect((await mailTo(email, /./)).text).toContain(line)
})

test('an invite that is made again leaves the links good that were mailed, for the newest role, until it is withdrawn', async () => {
  const owner = await newTenant()
  const guest = await newcomer()
  const made = []
  for (let i = 0; i < 6; i++)
    made.push(await invite(owner.client, owner.workspaceId, guest.email, i < 5 ? 'viewer' : 'admin'))
  expect(made.map(({ body }) => body.mailed)).toEqual([true, true, true, true, true, false])
  await whenSettled(guest.email, 6)
  const mails = (await mailsTo(guest.email)).filter(({ subject }) => /invitation/.test(subject))
  expect(mails).toHaveLength(5)
  const link = tokenIn(mails[2] as never)
  // What was shown is replaced.
  expect(await acceptInvite(guest.client, made[4]?.body.token as string)).toMatchObject({
    status: 404,
    body: { detail: expect.stringContaining('replaced by a newer one') },
  })
  const path = `/workspaces/${owner.workspaceId}/invites`
  expect((await owner.client.delete(`${path}/${made[5]?.body.id}`)).status).toBe(204)
  expect((await acceptInvite(guest.client, link)).status).toBe(404)
  expect(await me(guest.client)).toMatchObject({ emailVerified: false })
  await invite(owner.client, owner.workspaceId, guest.email, 'member')
  expect(await acceptInvite(guest.client, link)).toMatchObject({ status: 200, body: { role: 'member' } })
  expect((await acceptInvite(guest.client, link)).status).toBe(200)
})

test('a link whose hour ends while its request waits in line is good no more', async () => {
  const { userId, email } = await signUp()
  const token = await newMailToken({ userId, email }, 'reset')
  await asOwner(`update mails set expires_at = now() + interval '2 seconds' where recipient = $1`, [email])
  const held = await holdRow('users', userId)
  const waiting = setPassword(token)
  await held.whenWaiting(1)
  await waitFor('the end of its hour', async () => {
    const over = 'select from mails where recipient = $1 and expires_at <= now()'
    return (await asOwner(over, [email])).length === 1
  })
  await held.release()
  expect(await waiting).toMatchObject({ status: 409, body: { code: 'invalid_token' } })
})
