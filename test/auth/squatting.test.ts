/** An address belongs to whoever proves it: what others who claim it see, keep and lose, in every order of events. */
import { hash, randomBytes, scryptSync } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import { describe, expect, test } from 'vitest'
import { times } from '../support/at-once.ts'
import { newCookie } from '../support/authjs.ts'
import { type Answer, type Client, createClient } from '../support/client.ts'
import { asOwner } from '../support/database.ts'
import { addTotp } from '../support/factors.ts'
import { mailRowsOf, mailTo, tokenIn, whenSettled } from '../support/mail.ts'
import { invite, logIn, newEmail, newTenant, PASSWORD, signUp } from '../support/tenants.ts'
import { newClaims, signToken } from '../support/tokens.ts'

const ORIGIN = 'http://localhost:3000'
const OWN_PASSWORD = "the owner's own password"

interface Person {
  get: Client['get']
  post: Client['post']
  /** Undefined where they sign in elsewhere. */
  password?: string
}

const withPassword = async (email: string, password: string) => {
  const { status, body } = await createClient().post<{ access_token: string; device_token: string }>(
    '/auth/register',
    { email, password },
  )
  expect(status).toBe(201)
  return { ...createClient({ token: body.access_token }), password, device: body.device_token }
}
const withCookie = async (email: string, verified: boolean): Promise<Person> => {
  const headers = { cookie: await newCookie(email, verified), origin: ORIGIN }
  const client = createClient()
  return {
    get: (path) => client.get(path, headers),
    post: (path, body) => client.post(path, body, headers),
  }
}
const me = async ({ get }: Person) => (await get<Record<string, unknown>>('/auth/me')).body

/** How somebody comes to claim an address that is not theirs. */
const claims: Record<string, (email: string) => Promise<Person>> = {
  registers: (email) => withPassword(email, PASSWORD),
  'signs in by a provider that has not verified it': (email) => withCookie(email, false),
}

/** Of another session of somebody. */
const tokenOf = async (userId: string) => {
  const id = uuidv7()
  await asOwner(
    `insert into sessions (id, user_id, refresh_hash, expires_at) values ($1, $2, $3, now() + interval '1 day')`,
    [id, userId, crypto.randomUUID()],
  )
  return signToken(newClaims(userId, id))
}

/** Another's workspace, to which the address is invited. */
const inviteTo = async (email: string) => {
  const host = await newTenant()
  const { body } = await invite(host.client, host.workspaceId, email)
  return { ...host, shown: body.token }
}

const proveByMail = async (person: Person, email: string) => {
  await whenSettled(email)
  // By the mail to this account; a person would try the newest ones.
  const token = randomBytes(32).toString('base64url')
  await asOwner(
    `update mails set token_hash = $3 where id = (
       select id from mails where recipient = $1 and user_id = $2 and kind = 'verify' order by id desc limit 1)`,
    [email, (await me(person)).id, hash('sha256', token)],
  )
  expect((await person.post('/auth/email/verify/confirm', { token })).status).toBe(200)
}

/** How the owner proves it. In between, somebody else may come. */
const proofs: Record<string, (email: string, meanwhile: () => Promise<void>) => Promise<Person>> = {
  'registers and confirms': async (email, meanwhile) => {
    const owner = await withPassword(email, OWN_PASSWORD)
    await meanwhile()
    await proveByMail(owner, email)
    return owner
  },
  'resets a password': async (email, meanwhile) => {
    await createClient().post('/auth/register', { email, password: OWN_PASSWORD })
    await createClient().post('/auth/password/reset', { email })
    const token = tokenIn(await mailTo(email, /new password/))
    await meanwhile()
    const body = { token, newPassword: OWN_PASSWORD }
    expect((await createClient().post('/auth/password/reset/confirm', body)).status).toBe(200)
    const { access_token } = (await logIn(email, OWN_PASSWORD)).body
    return { ...createClient({ token: access_token }), password: OWN_PASSWORD }
  },
  'signs in by a provider that has verified it': async (email, meanwhile) => {
    await meanwhile()
    const owner = await withCookie(email, true)
    // The first request makes the account.
    await me(owner)
    return owner
  },
  'accepts an invite by its mail': async (email, meanwhile) => {
    const owner = await withPassword(email, OWN_PASSWORD)
    const host = await inviteTo(email)
    const token = tokenIn(await mailTo(email, /invitation/))
    await meanwhile()
    expect((await owner.post('/workspaces/invites/accept', { token })).status).toBe(200)
    expect((await host.client.get(`/workspaces/${host.workspaceId}/members`)).status).toBe(200)
    return owner
  },
  'changes from another address': async (email, meanwhile) => {
    const { client, email: former } = await signUp()
    await client.post('/auth/email/change', { email })
    await meanwhile()
    for (const mail of [await mailTo(former, /change your/), await mailTo(email, /new e-mail/)])
      expect((await client.post('/auth/email/verify/confirm', { token: tokenIn(mail) })).status).toBe(200)
    return { ...client, password: PASSWORD }
  },
}

const expectLost = async (squatter: Person, owner: Person, email: string) => {
  const [lost, has] = [await me(squatter), await me(owner)]
  // The owner: the address, and nothing of the squatter's.
  expect(has).toMatchObject({ email, emailVerified: true })
  expect(has.id).not.toBe(lost.id)
  expect((has.workspaces as { name: string }[]).map(({ name }) => name)).not.toContain('Trap')
  if (owner.password !== undefined) {
    const login = await logIn(email, owner.password)
    expect((await createClient({ token: login.body.access_token }).get('/auth/me')).body).toMatchObject({
      id: has.id,
    })
  }
  // The squatter: what they made, without the address, and nothing of the owner's.
  expect(lost).toMatchObject({ email: null, emailVerified: false, workspaces: [{ name: 'Trap' }] })
  if (squatter.password !== owner.password && squatter.password !== undefined) {
    expect((await logIn(email, squatter.password)).status).toBe(401)
  }
  expect((await squatter.post('/auth/email/verify')).status).toBe(404)
  // What comes to the address comes to the owner.
  const host = await inviteTo(email)
  const mailed = tokenIn(await mailTo(email, /invitation/))
  for (const token of [host.shown, mailed]) {
    expect((await squatter.post('/workspaces/invites/accept', { token })).status).toBe(404)
  }
  expect((await owner.post('/workspaces/invites/accept', { token: host.shown })).status).toBe(200)
  expect((await squatter.get(`/workspaces/${host.workspaceId}`)).status).toBe(404)
  // Nothing that was on its way to the squatter's account is good any more.
  expect(
    await asOwner('select from mails where user_id = $1 and recipient = $2 and used_at is null', [
      lost.id,
      email,
    ]),
  ).toEqual([])
  const [row] = await asOwner(
    `select before from audit_logs where action = 'email.lose' and resource_id = $1`,
    [lost.id],
  )
  expect(row).toEqual({ before: { email } })
}

/** Everything that a squatter can make. */
const settleIn = async (squatter: Person) => {
  const { body } = await squatter.post<{ id: string }>('/workspaces', { name: 'Trap' })
  expect((await me(squatter)).workspaces).toMatchObject([{ name: 'Trap' }])
  return body.id
}

describe.each(Object.entries(claims))('somebody who %s with an address', (_, claim) => {
  describe.each(Object.entries(proofs))('and whose owner %s', (_, prove) => {
    test('loses it, having come first', async () => {
      const email = newEmail()
      const squatter = await claim(email)
      const workspaceId = await settleIn(squatter)
      const owner = await prove(email, async () => undefined)
      await expectLost(squatter, owner, email)
      expect((await owner.get(`/workspaces/${workspaceId}`)).status).toBe(404)
    })

    test('loses it, having come between the two steps of the owner', async () => {
      const email = newEmail()
      let squatter: Person | undefined
      const owner = await prove(email, async () => {
        squatter = await claim(email)
        await settleIn(squatter)
      })
      await expectLost(squatter as Person, owner, email)
    })
  })
})

test('whoever comes after the proof gets no such account, or one without the address', async () => {
  const { email, client } = await signUp()
  const registered = await createClient().post('/auth/register', { email, password: PASSWORD })
  expect(registered).toMatchObject({ status: 409, body: { code: 'email_taken' } })
  const squatter = await withCookie(email, false)
  expect(await me(squatter)).toMatchObject({ email: null, workspaces: [] })
  expect((await client.get('/auth/me')).body).toMatchObject({ email })
  // And keeps it, whatever the provider says later.
  expect(await me(squatter)).toMatchObject({ email: null })
})

const signedIn = async (answer: Promise<Answer<{ access_token: string }>>) =>
  me(createClient({ token: (await answer).body.access_token }))

test('all who claim an address sign in by their passwords until somebody proves it', async () => {
  const email = newEmail()
  const elsewhere = await withCookie(email, false)
  const first = await withPassword(email, PASSWORD)
  const second = await withPassword(email, 'a password until it is changed')
  const change = { currentPassword: second.password, newPassword: OWN_PASSWORD }
  expect((await second.post('/auth/password', change)).status).toBe(200)
  expect(await signedIn(logIn(email))).toMatchObject({ id: (await me(first)).id })
  expect(await signedIn(logIn(email, OWN_PASSWORD))).toMatchObject({ id: (await me(second)).id })
  expect((await logIn(email, 'of none of them')).status).toBe(401)
  expect(await me(elsewhere)).toMatchObject({ email })
  await proveByMail(second, email)
  expect([(await logIn(email)).status, (await logIn(email, OWN_PASSWORD)).status]).toEqual([401, 200])
})

test('those who claimed an address before the keys were rotated sign in as those after', async () => {
  const email = newEmail()
  const before = await withPassword(email, PASSWORD)
  const salt = randomBytes(16)
  const key = scryptSync(PASSWORD, salt, 32, { N: 2 ** 14, r: 8, p: 5, maxmem: 2 ** 26 })
  const base64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
  await asOwner('update users set password_hash = $2 where email = $1', [
    email,
    `$scrypt$ln=14,r=8,p=5$${base64(salt)}$${base64(key)}`,
  ])
  const after = await withPassword(email, OWN_PASSWORD)
  expect(await signedIn(logIn(email))).toMatchObject({ id: (await me(before)).id })
  expect(await signedIn(logIn(email, OWN_PASSWORD))).toMatchObject({ id: (await me(after)).id })
  expect((await logIn(email, 'of none of them')).status).toBe(401)
})

test('who has claimed an address first may be its owner, and later ones lose it', async () => {
  const email = newEmail()
  const owner = await withPassword(email, OWN_PASSWORD)
  const squatter = await withPassword(email, PASSWORD)
  await settleIn(squatter)
  await proveByMail(owner, email)
  await expectLost(squatter, owner, email)
})

test('of two who prove it at once one has it', async () => {
  const email = newEmail()
  const people = [await withPassword(email, PASSWORD), await withPassword(email, OWN_PASSWORD)]
  const ids = await Promise.all(people.map(async (person) => (await me(person)).id as string))
  const tokens = ids.map((id) => hash('sha256', id, 'base64url'))
  await whenSettled(email, 2)
  for (const [i, id] of ids.entries()) {
    await asOwner('update mails set token_hash = $2 where user_id = $1', [
      id,
      hash('sha256', tokens[i] as string),
    ])
  }
  const answers = await Promise.all(
    people.map((person, i) => person.post('/auth/email/verify/confirm', { token: tokens[i] })),
  )
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 409])
  const holders = await asOwner('select id from users where email = $1', [email])
  expect(holders).toHaveLength(1)
})

test('the owner who follows the link of a squatter proves nothing for them', async () => {
  const email = newEmail()
  const squatter = await withPassword(email, PASSWORD)
  const link = tokenIn(await mailTo(email, /Confirm/))
  const owner = await withPassword(email, OWN_PASSWORD)
  expect((await owner.post('/auth/email/verify/confirm', { token: link })).status).toBe(409)
  expect((await createClient().post('/auth/email/verify/confirm', { token: link })).status).toBe(401)
  expect(await me(squatter)).toMatchObject({ email, emailVerified: false })
})

test('a reset of an address that was only claimed says so, makes a new account, and ends no session of the claim', async () => {
  const email = newEmail()
  const squatter = await withPassword(email, PASSWORD)
  await createClient().post('/auth/password/reset', { email })
  const mail = await mailTo(email, /new password/)
  expect(mail.text).toContain('Nobody has confirmed this address yet.')
  await createClient().post('/auth/password/reset/confirm', {
    token: tokenIn(mail),
    newPassword: OWN_PASSWORD,
  })
  const login = await logIn(email, OWN_PASSWORD)
  const owner = createClient({ token: login.body.access_token })
  expect((await owner.get('/auth/me')).body).toMatchObject({ email, emailVerified: true, workspaces: [] })
  expect(await me(squatter)).toMatchObject({ email: null })
})

test('who has lost an address proves another, and goes on', async () => {
  const email = newEmail()
  const squatter = await withPassword(email, PASSWORD)
  await settleIn(squatter)
  await withCookie(email, true).then(me)
  const other = newEmail()
  expect((await squatter.post('/auth/email/change', { email: other })).status).toBe(202)
  const token = tokenIn(await mailTo(other, /new e-mail/))
  const answer = await squatter.post('/auth/email/verify/confirm', { token })
  expect(answer).toMatchObject({ status: 200, body: { email: other, emailVerified: true, awaits: null } })
  expect((await logIn(other)).status).toBe(200)
  expect(await mailRowsOf(email)).toMatchObject([{ kind: 'verify' }])
})

test('whoever had two accounts hands over what is in the first, while they are signed in to it', async () => {
  const email = newEmail()
  const first = await withPassword(email, PASSWORD)
  const workspaceId = await settleIn(first)
  const second = await withCookie(email, true)
  const { id: userId } = await me(second)
  const { body } = await first.post<{ token: string; mailed: boolean }>(
    `/workspaces/${workspaceId}/invites`,
    {
      email,
      role: 'admin',
    },
  )
  expect(body.mailed).toBe(false)
  expect((await second.post('/workspaces/invites/accept', { token: body.token })).status).toBe(200)
  expect((await first.post(`/workspaces/${workspaceId}/transfer`, { userId })).status).toBe(204)
  expect(await me(second)).toMatchObject({ workspaces: [{ id: workspaceId, role: 'owner' }] })
  const usage = await second.get<{ credits: object }>('/usage')
  expect(usage.body.credits).toMatchObject({ granted: 50, free: { state: 'granted' } })
})

test('a person whose account elsewhere is verified later proves with it what they claim', async () => {
  const email = newEmail()
  const headers = { cookie: await newCookie(email, false), origin: ORIGIN }
  const { body } = await createClient().get('/auth/me', headers)
  expect(body).toMatchObject({ email, emailVerified: false })
  const squatter = await withPassword(email, PASSWORD)
  const owner = await withCookie(email, true)
  expect(await me(owner)).toMatchObject({ email, emailVerified: true })
  expect(await me(squatter)).toMatchObject({ email: null })
})

test('an account that is disabled holds an address only if it has proved it', async () => {
  const email = newEmail()
  const banned = await withPassword(email, PASSWORD)
  const { id } = await me(banned)
  await asOwner('update users set disabled_at = now() where id = $1', [id])
  const owner = await withPassword(email, OWN_PASSWORD)
  expect((await logIn(email, OWN_PASSWORD)).status).toBe(200)
  await proveByMail(owner, email)
  expect(await me(owner)).toMatchObject({ email, emailVerified: true })
})

test.each([
  ['an invite', proofs['accepts an invite by its mail']],
  ['another claim', proofs['registers and confirms']],
])('a change that was asked for before the address was proved by %s is void', async (_, prove) => {
  const [email, other] = [newEmail(), newEmail()]
  // Somebody has the session of an account that has proved nothing yet.
  let owner: Person | undefined
  let token = ''
  const proved = await (prove as NonNullable<typeof prove>)(email, async () => {
    const [{ id }] = (await asOwner('select id from users where email = $1', [email])) as [{ id: string }]
    owner = createClient({ token: await tokenOf(id) })
    expect((await owner.post('/auth/email/change', { email: other })).status).toBe(202)
    token = tokenIn(await mailTo(other, /new e-mail/))
  })
  expect(await (owner as Person).post('/auth/email/verify/confirm', { token })).toMatchObject({
    status: 409,
    body: { code: 'invalid_token' },
  })
  expect(await me(proved)).toMatchObject({ email, emailVerified: true })
})

test('an address has twenty claims at most, and its owner proves it among them', async () => {
  const email = newEmail()
  const claims = (count: number) =>
    asOwner<{ id: string }>(
      'insert into users (id, email) select app.uuid_v7(), $1 from generate_series(1, $2) returning id',
      [email, count],
    )
  const busy = await withPassword(email, PASSWORD)
  await settleIn(busy)
  const idle = (await claims(19)).map(({ id }) => id).sort()
  const owners = await times(2, (i) => withPassword(email, OWN_PASSWORD + i))
  const people = await Promise.all([busy, ...owners].map(me))
  expect(people.map((person) => person.email)).toEqual([email, email, email])
  const lost = await asOwner('select id from users where id = any($1) and email is null order by id', [idle])
  expect(lost.map(({ id }) => id)).toEqual(idle.slice(0, 2))
  const owner = owners[1] as Person
  await proveByMail(owner, email)
  expect(await me(owner)).toMatchObject({ email, emailVerified: true })
  expect(await asOwner('select from users where email = $1', [email])).toHaveLength(1)
  const rows = await asOwner(
    `select from audit_logs where action = 'email.lose' and before ->> 'email' = $1`,
    [email],
  )
  expect(rows).toHaveLength(21)
})

test('a claim whose mail is open stays, however often one network signs up with its address', async () => {
  const email = newEmail()
  const owner = await withPassword(email, OWN_PASSWORD)
  await whenSettled(email)
  const ip = `203.0.113.${Math.floor(Math.random() * 256)}`
  for (let i = 0; i < 20; i++) {
    const body = { email, password: `${PASSWORD} ${i}` }
    expect((await createClient({ ip }).post('/auth/register', body)).status).toBe(201)
  }
  expect(await asOwner('select from users where email = $1', [email])).toHaveLength(20)
  expect(await me(owner)).toMatchObject({ email })
  expect((await logIn(email, OWN_PASSWORD)).status).toBe(200)
})

const claimsWithWorkspaces = `
  with claims as (insert into users (id, email) select app.uuid_v7(), $1 from generate_series(1, $2) returning id),
    made as (insert into workspaces (id, name, slug) select app.uuid_v7(), 'Trap', 'trap-' || id from claims returning id)
  insert into memberships (workspace_id, user_id, role)
  select m.id, c.id, 'owner' from (select id, row_number() over () n from made) m join (select id, row_number() over () n from claims) c using (n)`

test('who claims an address that has twenty claims with workspaces has none, and resets the password', async () => {
  const email = newEmail()
  await asOwner(claimsWithWorkspaces, [email, 20])
  for (const claim of Object.values(claims))
    expect(await me(await claim(email))).toMatchObject({ email: null })
  await createClient().post('/auth/password/reset', { email })
  const body = { token: tokenIn(await mailTo(email, /new password/)), newPassword: OWN_PASSWORD }
  expect((await createClient().post('/auth/password/reset/confirm', body)).status).toBe(200)
  expect((await logIn(email, OWN_PASSWORD)).status).toBe(200)
})

test('nobody guesses the password of the newest of twenty claims by signing up', async () => {
  const email = newEmail()
  await asOwner(claimsWithWorkspaces, [email, 19])
  const newest = await withPassword(email, OWN_PASSWORD)
  await settleIn(newest)
  const { id } = await me(newest)
  for (const password of [PASSWORD, OWN_PASSWORD]) {
    expect(await me(await withPassword(email, password))).not.toMatchObject({ id })
  }
})

test('whoever has signed in from a device signs in there again, and to nothing else', async () => {
  const email = newEmail()
  const stranger = await withPassword(email, PASSWORD)
  await asOwner(`update users set created_at = now() - interval '1 day' where email = $1`, [email])
  // Of two with one password the first enters elsewhere.
  const owner = await withPassword(email, PASSWORD)
  const login = (device_token: string | undefined, password: string) =>
    createClient().post<{ access_token: string }>('/auth/login', { email, password, device_token })
  expect(await signedIn(login(undefined, PASSWORD))).toMatchObject({ id: (await me(stranger)).id })
  expect(await signedIn(login(owner.device, PASSWORD))).toMatchObject({ id: (await me(owner)).id })
  // Guesses of a device count apart, and so are of its own account only.
  await withPassword(email, OWN_PASSWORD)
  expect((await login(owner.device, OWN_PASSWORD)).status).toBe(401)
  // The device is of no account that has proved the address.
  await withCookie(email, true).then(me)
  expect((await login(owner.device, PASSWORD)).status).toBe(401)
})

test('how many claim an address does not show by the time that a sign-in takes', async () => {
  const [one, many] = [newEmail(), newEmail()]
  for (const email of [one, many]) await withPassword(email, PASSWORD)
  await asOwner(
    `insert into users (id, email, password_hash) select app.uuid_v7(), email, password_hash from users, generate_series(1, 19)
      where email = $1`,
    [many],
  )
  const took = { [one]: Number.POSITIVE_INFINITY, [many]: Number.POSITIVE_INFINITY }
  for (let i = 0; i < 8; i++) {
    for (const email of [one, many]) {
      const started = performance.now()
      expect((await logIn(email, 'not the password')).status).toBe(401)
      took[email] = Math.min(took[email] as number, performance.now() - started)
    }
  }
  expect((took[many] as number) / (took[one] as number)).toBeLessThan(1.7)
})

/** The mailed link is opened by somebody who sends that as the token of their device. */
const resetOn = async (email: string, device_token: string | undefined) => {
  await createClient().post('/auth/password/reset', { email })
  const token = tokenIn(await mailTo(email, /new password/))
  const body = { token, newPassword: 'the password that is new', device_token }
  expect((await createClient().post('/auth/password/reset/confirm', body)).status).toBe(200)
  return signedIn(logIn(email, 'the password that is new'))
}

test('who has forgotten the password of an account that has proved nothing resets it on their device, and keeps what they made', async () => {
  const email = newEmail()
  const squatter = await withPassword(email, PASSWORD)
  await settleIn(squatter)
  const owner = await withPassword(email, OWN_PASSWORD)
  const { body: shop } = await owner.post<{ id: string }>('/workspaces', { name: 'Shop' })
  const { id } = await me(owner)
  expect(await resetOn(email, owner.device)).toMatchObject({
    id,
    email,
    emailVerified: true,
    workspaces: [{ id: shop.id, role: 'owner' }],
  })
  expect((await owner.get('/auth/me')).status).toBe(401)
  expect((await logIn(email, OWN_PASSWORD)).status).toBe(401)
  expect((await logIn(email, PASSWORD)).status).toBe(401)
  expect(await me(squatter)).toMatchObject({ email: null, workspaces: [{ name: 'Trap' }] })
})

test('so does who has changed the password since, or set up a second factor, which is asked for', async () => {
  const email = newEmail()
  const owner = await withPassword(email, PASSWORD)
  await settleIn(owner)
  const { id } = await me(owner)
  await addTotp(owner)
  await asOwner(`update totp_secrets set confirmed_at = now() - interval '2 days' where user_id = $1`, [id])
  const change = { currentPassword: PASSWORD, newPassword: OWN_PASSWORD }
  expect((await owner.post('/auth/password', change)).status).toBe(200)
  await createClient().post('/auth/password/reset', { email })
  const token = tokenIn(await mailTo(email, /new password/))
  const body = { token, newPassword: 'the password that is new', device_token: owner.device }
  expect((await createClient().post('/auth/password/reset/confirm', body)).status).toBe(200)
  expect((await logIn(email, 'the password that is new')).status).toBe(202)
  expect(
    await asOwner('select id from users where email = $1 and email_verified_at is not null', [email]),
  ).toEqual([{ id }])
})

test.each<[string, (email: string, squatter: Person & { device: string }) => Promise<string | undefined>]>([
  ['no device that is known', async () => undefined],
  ['one of another address', async () => (await withPassword(newEmail(), OWN_PASSWORD)).device],
  ['a forged one', async (_, { device }) => `${device.slice(0, -1)}${device.endsWith('A') ? 'B' : 'A'}`],
])('of a reset on %s nothing of the only claim comes along', async (_, deviceOf) => {
  const email = newEmail()
  const squatter = await withPassword(email, PASSWORD)
  await settleIn(squatter)
  const owner = await resetOn(email, await deviceOf(email, squatter))
  expect(owner).toMatchObject({ email, emailVerified: true, workspaces: [] })
  expect(owner.id).not.toBe((await me(squatter)).id)
  expect(await me(squatter)).toMatchObject({ email: null, workspaces: [{ name: 'Trap' }] })
})

test('a device decides nothing once the address is proved', async () => {
  const email = newEmail()
  const squatter = await withPassword(email, PASSWORD)
  const owner = await withPassword(email, OWN_PASSWORD)
  const { id } = await me(owner)
  await proveByMail(owner, email)
  expect(await resetOn(email, squatter.device)).toMatchObject({ id })
  expect(await me(squatter)).toMatchObject({ email: null })
})
