/** Mails: what they say and to whom, that each is sent once whatever the service does, and how many may be caused. */
import { expect, test } from 'vitest'
import { times } from '../support/at-once.ts'
import { createClient } from '../support/client.ts'
import { control, stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { codeIn, mailRowsOf, mailsTo, mailTo, tokenIn, whenSettled } from '../support/mail.ts'
import { newEmail, PASSWORD, signUp } from '../support/tenants.ts'
import { newClaims, signToken } from '../support/tokens.ts'
import { waitFor } from '../support/wait-for.ts'

/** Each time somebody else, with a password of their own. */
let strangers = 0
const register = (email: string, headers: Record<string, string> = {}, client = createClient()) =>
  client.post('/auth/register', { email, password: `${PASSWORD} ${++strangers}` }, headers)

/** The sweeper comes by, and the mail is due. */
const sweep = async (address: string) => {
  await asOwner(
    `update outbox o set available_at = now() from mails m where o.kind = 'mail' and o.subject_id = m.id and m.recipient = $1`,
    [address],
  )
  await control('cron')
}

test.each([
  [undefined, 'en', 'Confirm your e-mail address'],
  ['fr-FR, en;q=0.3', 'en', 'Confirm your e-mail address'],
  ['de-AT,de;q=0.9,en;q=0.8', 'de', 'Bestätigen Sie Ihre E-Mail-Adresse'],
  ['en;q=0.1, zh-CN', 'zh', '请确认您的邮箱地址'],
  ['de;q=0, *', 'en', 'Confirm your e-mail address'],
  ['x'.repeat(5000), 'en', 'Confirm your e-mail address'],
])('a registration that reads %s is answered by one mail, in %s', async (header, language, subject) => {
  const email = newEmail()
  await register(email, header === undefined ? {} : { 'accept-language': header })
  const mail = await mailTo(email, /./)
  expect(mail).toMatchObject({ to: email, from: 'Merchant Content <no-reply@example.com>', subject })
  expect(mail.html).toContain(`<html lang="${language}">`)
  for (const part of [mail.text, mail.html]) {
    expect(part).toContain(`http://localhost:3000/confirm-email#token=${tokenIn(mail)}`)
    expect(part).toContain(codeIn(mail))
  }
  expect(await whenSettled(email)).toMatchObject([{ kind: 'verify', status: 'sent', attempts: 1 }])
  const [row] = await asOwner('select to_jsonb(m) as mail from mails m where recipient = $1', [email])
  for (const secret of [tokenIn(mail), codeIn(mail).replace(' ', '')])
    expect(JSON.stringify(row)).not.toContain(secret)
})

test('a service that is down for a while gets the mail later, once', async () => {
  const email = newEmail()
  await control('failMail', { to: email, code: 'E_INTERNAL_SERVER_ERROR', times: 3 })
  await register(email)
  for (let attempt = 1; attempt <= 3; attempt++) {
    await waitFor('a refused attempt', async () => {
      const [row] = await mailRowsOf(email)
      return row?.status === 'pending' && row.attempts === attempt
    })
    expect(await mailsTo(email)).toEqual([])
    await sweep(email)
  }
  expect(await whenSettled(email)).toMatchObject([{ status: 'sent', attempts: 4, error: null }])
  expect(await mailsTo(email)).toHaveLength(1)
})

test.each([
  ['whose answer is lost', 'lost', 1],
  ['that breaks off before', 'cut', 0],
])('a call %s is not made again, since nobody knows', async (_, code, arrived) => {
  const email = newEmail()
  await control('failMail', { to: email, code })
  await register(email)
  expect(await whenSettled(email)).toMatchObject([{ status: 'unknown', attempts: 1 }])
  await sweep(email)
  expect(await mailsTo(email)).toHaveLength(arrived)
  expect(
    await asOwner('select from outbox join mails m on m.id = subject_id where recipient = $1', [email]),
  ).toEqual([])
})

test('messages that come many times, at once and later, send one mail', async () => {
  const email = newEmail()
  await control('failMail', { to: email, code: 'E_RATE_LIMIT_EXCEEDED', times: 1 })
  await register(email)
  const [row] = await waitFor('its row', async () => {
    const rows = await mailRowsOf(email)
    return rows[0]?.status === 'pending' && rows[0].attempts === 1 && rows
  })
  const message = { kind: 'mail', workspaceId: '00000000-0000-0000-0000-000000000000', subjectId: row?.id }
  await control('enqueue', Array(20).fill(message))
  await whenSettled(email)
  await control('enqueue', Array(5).fill(message))
  await sweep(email)
  expect(await mailsTo(email)).toHaveLength(1)
})

test('a consumer that died while it called leaves a mail that may have been sent, and is not sent again', async () => {
  const email = newEmail()
  await control('failMail', { to: email, code: 'E_INTERNAL_SERVER_ERROR', times: 1 })
  await register(email)
  await waitFor('a refused attempt', async () => (await mailRowsOf(email))[0]?.attempts === 1)
  await waitFor('its end', async () => (await mailRowsOf(email))[0]?.status === 'pending')
  await asOwner(
    `update mails set status = 'sending', taker = gen_random_uuid(), lease_expires_at = now() where recipient = $1`,
    [email],
  )
  await sweep(email)
  expect(await whenSettled(email)).toMatchObject([{ status: 'unknown' }])
  expect(await mailsTo(email)).toEqual([])
})

test('an address that the service refuses is noted, told to its owner, and gets no more', async () => {
  const { client, email } = await signUp()
  await asOwner('update users set email_verified_at = null where email = $1', [email])
  await control('failMail', { to: email, code: 'E_RECIPIENT_SUPPRESSED', times: 1 })
  expect((await client.post('/auth/email/verify')).status).toBe(202)
  expect(await whenSettled(email)).toMatchObject([{ status: 'refused', error: 'E_RECIPIENT_SUPPRESSED' }])
  expect((await client.get('/auth/me')).body).toMatchObject({ emailBounced: true, emailVerified: false })
  await client.post('/auth/email/verify')
  expect(await whenSettled(email, 2)).toMatchObject([
    {},
    { status: 'refused', error: 'bounced', attempts: 0 },
  ])
  await asOwner('delete from bounces where address = $1', [email])
  await client.post('/auth/email/verify')
  await mailTo(email, /Confirm/)
})

test('what is wrong with a mail itself is not tried again, and is no bounce', async () => {
  const email = newEmail()
  await control('failMail', { to: email, code: 'E_CONTENT_TOO_LARGE' })
  await register(email)
  expect(await whenSettled(email)).toMatchObject([{ status: 'refused', error: 'E_CONTENT_TOO_LARGE' }])
  expect(await asOwner('select from bounces where address = $1', [email])).toEqual([])
})

test('what the service tells later: hard bounces and complaints are noted, the rest is not', async () => {
  const addresses = await times(5, async () => newEmail())
  const [hard, soft, complained, delivered, suppressed] = addresses as [
    string,
    string,
    string,
    string,
    string,
  ]
  const event = (type: string, recipient: string, more: object = {}) => ({
    type: `cf.email.sending.message.${type}`,
    source: { type: 'email.sending', domain: 'example.com' },
    payload: { eventId: crypto.randomUUID(), recipient, terminal: true, ...more },
    metadata: { eventSchemaVersion: 1 },
  })
  await control('tellMails', [
    event('deferred', soft, { bounce: { type: 'soft' } }),
    event('bounced', soft, { bounce: { type: 'soft', reason: '452 4.2.2 Mailbox full' } }),
    event('delivered', delivered),
    event('bounced', hard.toUpperCase(), { bounce: { type: 'hard', reason: '550 5.1.1 User unknown' } }),
    event('complained', complained, { complaint: { type: 'abuse' } }),
    event('rejected', suppressed, { rejection: { reason: 'suppressed', party: 'recipient' } }),
    event('bounced', hard, { bounce: { type: 'hard', reason: '550 5.1.1 User unknown' } }),
  ])
  const noted = () =>
    asOwner<{ address: string; reason: string }>(
      'select address, reason from bounces where address = any($1)',
      [addresses],
    )
  await waitFor('three of them', async () => (await noted()).length === 3)
  expect(Object.fromEntries((await noted()).map(({ address, reason }) => [address, reason]))).toEqual({
    [hard]: '550 5.1.1 User unknown',
    [complained]: 'complaint',
    [suppressed]: 'suppressed',
  })
  // The ways back into an account stay open to who complained, and to nobody whose mailbox is not there.
  for (const email of [hard, complained]) {
    await register(email)
    await createClient().post('/auth/password/reset', { email })
  }
  const statuses = async (email: string) =>
    Object.fromEntries((await whenSettled(email, 2)).map(({ kind, status }) => [kind, status]))
  expect(await statuses(complained)).toEqual({ verify: 'refused', reset: 'sent' })
  expect(await statuses(hard)).toEqual({ verify: 'refused', reset: 'refused' })
})

test('of one network an address gets three mails by registrations a day, and its owner the one that they ask for', async () => {
  const email = newEmail()
  const ip = `203.0.113.${Math.floor(Math.random() * 256)}`
  const { body } = await register(email, {}, createClient({ ip }))
  for (let i = 0; i < 4; i++) await register(email, {}, createClient({ ip }))
  expect(await whenSettled(email, 3)).toHaveLength(3)
  await times(3, () => register(email))
  expect(await whenSettled(email, 5)).toHaveLength(5)
  const owner = createClient({ token: (body as { access_token: string }).access_token })
  await owner.post('/auth/email/verify')
  expect(await mailRowsOf(email)).toHaveLength(5)
  await asOwner(`update users set created_at = created_at - interval '2 hours' where email = $1`, [email])
  await asOwner(
    `update mails set created_at = created_at - interval '2 hours' where user_id = (select id from users where email = $1 order by id limit 1)`,
    [email],
  )
  await asOwner(
    `update mails set created_at = now() where recipient = $1 and user_id <> (select id from users where email = $1 order by id limit 1)`,
    [email],
  )
  await times(2, () => register(email))
  for (let i = 0; i < 2; i++) await owner.post('/auth/email/verify')
  const own = await asOwner(
    `select from mails where user_id = (select id from users where email = $1 order by id limit 1)`,
    [email],
  )
  expect(own).toHaveLength(2)
})

test('of many accounts that claim an address one is mailed beyond five an hour', async () => {
  const email = newEmail()
  await asOwner(
    `with claims as (insert into users (id, email, created_at) select app.uuid_v7(), $1, now() - interval '2 hours' from generate_series(1, 9) returning id)
     insert into sessions (id, user_id, refresh_hash, expires_at) select app.uuid_v7(), id, gen_random_uuid(), now() + interval '1 day' from claims`,
    [email],
  )
  const sessions = await asOwner<{ id: string; user_id: string }>(
    'select s.id, user_id from sessions s join users u on u.id = user_id where email = $1',
    [email],
  )
  for (const { id, user_id } of sessions) {
    const client = createClient({ token: await signToken(newClaims(user_id, id)) })
    expect((await client.post('/auth/email/verify')).status).toBe(202)
  }
  expect(await whenSettled(email, 6)).toHaveLength(6)
})

test('strangers can cause five mails of a kind an hour to an address, from wherever they ask', async () => {
  const email = newEmail()
  const answers = await times(8, () => register(email))
  expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(201))
  expect(await whenSettled(email, 5)).toHaveLength(5)
  await asOwner(`update mails set created_at = created_at - interval '2 hours' where recipient = $1`, [email])
  await register(email)
  expect(await whenSettled(email, 6)).toHaveLength(6)
})

test('a network causes a hundred mails a day by registrations, whomever they are for, and a hundred by who is signed in', async () => {
  const ip = `203.0.113.${Math.floor(Math.random() * 256)}`
  await asOwner(
    `insert into mails (id, kind, recipient, network, status, data)
     select gen_random_uuid(), 'verify', 'n' || i || '@example.com', $1, 'sent', '{"registers": "yes"}' from generate_series(1, 99) i`,
    [ip],
  )
  const [last, late] = [newEmail(), newEmail()]
  await register(last, {}, createClient({ ip }))
  const { status, body } = await register(late, {}, createClient({ ip }))
  expect(status).toBe(201)
  await mailTo(last, /Confirm/)
  expect(await mailRowsOf(late)).toEqual([])
  // Whoever has registered nevertheless asks for it.
  const client = createClient({ ip, token: (body as { access_token: string }).access_token })
  await client.post('/auth/email/verify')
  await mailTo(late, /Confirm/)
  await asOwner(
    `insert into mails (id, kind, recipient, network, status)
     select gen_random_uuid(), 'invite', 'n' || i || '@example.com', $1, 'sent' from generate_series(1, 99) i`,
    [ip],
  )
  await client.post('/auth/email/verify')
  expect(await mailRowsOf(late)).toHaveLength(1)
})

test('a network causes a hundred resets a day by whichever devices, but of addresses that are proved', async () => {
  const ip = `203.0.113.${Math.floor(Math.random() * 256)}`
  const office = createClient({ ip })
  const [last, late] = [newEmail(), newEmail()]
  const reset = async (email: string, device_token: unknown) =>
    expect((await office.post('/auth/password/reset', { email, device_token })).status).toBe(202)
  const devices: unknown[] = []
  for (const email of [last, late]) {
    const { body } = await register(email, {}, office)
    devices.push((body as { device_token: string }).device_token)
  }
  await asOwner(
    `insert into mails (id, kind, recipient, network, status)
     select gen_random_uuid(), 'reset', 'n' || i || '@example.com', $1, 'sent' from generate_series(1, 99) i`,
    [ip],
  )
  await reset(last, devices[0])
  await reset(late, devices[1])
  await mailTo(last, /new password/)
  expect((await mailRowsOf(late)).map(({ kind }) => kind)).toEqual(['verify'])
  const { email } = await signUp()
  await reset(email, undefined)
  await mailTo(email, /new password/)
})

test('a caller asks for five mails an hour', async () => {
  const { client } = await signUp()
  const answers = await times(7, () => client.post('/auth/email/verify'))
  expect(answers.map(({ status }) => status).sort()).toEqual([202, 202, 202, 202, 202, 429, 429])
})

test('the inbox of the local stack shows a mail, and has none by what is no id', async () => {
  const { email } = await signUp()
  await createClient().post('/auth/password/reset', { email })
  const { id } = await mailTo(email, /new password/)
  const statusOf = async (path: string) => (await fetch(`${stack.inbox}/mails/${path}`)).status
  expect(await statusOf(encodeURIComponent(id))).toBe(200)
  for (const path of ['%zz', 'x', '%']) expect(await statusOf(path)).toBe(404)
})
