/** Sessions: refresh rotation and reuse, listing and ending them, passwords, and what an access token must say. */
import { createHash, createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { createClient, type Page } from '../support/client.ts'
import { asOwner, holdRow } from '../support/database.ts'
import { logIn, newEmail, PASSWORD, signUp } from '../support/tenants.ts'
import { formerNext, newClaims, signToken } from '../support/tokens.ts'

interface Tokens {
  access_token: string
  refresh_token: string
}
type Sessions = Page<{ id: string; current: boolean; ip: string; userAgent: string }>

const NEW_PASSWORD = 'a new and longer password'
const anonymous = createClient()

const sessionOf = (tokens: Tokens) => ({
  id: tokens.refresh_token.split('.')[0] as string,
  client: createClient({ token: tokens.access_token }),
  refreshToken: tokens.refresh_token,
})

/** Somebody new; all of a session's parts at hand. */
const newSession = async () => {
  const credentials = { email: newEmail(), password: PASSWORD }
  const { body } = await createClient().post<Tokens & { user: { id: string } }>('/auth/register', credentials)
  return { ...sessionOf(body), email: credentials.email, userId: body.user.id }
}
const anotherSession = async ({ email }: { email: string }) => sessionOf((await logIn(email)).body)

const refresh = (token: string) => anonymous.post<Tokens>('/auth/refresh', { refresh_token: token })
const rotate = async (token: string) => (await refresh(token)).body.refresh_token
const statusOfMe = async ({ client }: Pick<ReturnType<typeof sessionOf>, 'client'>) =>
  (await client.get('/auth/me')).status

const letPass = (id: string, seconds: number) =>
  asOwner('update sessions set refreshed_at = refreshed_at - make_interval(secs => $2) where id = $1', [
    id,
    seconds,
  ])
/** The grace of the last refresh is over. */
const passGrace = (id: string) => letPass(id, 61)
const stateOf = async (id: string) =>
  (await asOwner('select revoked_at, refresh_hash, refresh_generation from sessions where id = $1', [id]))[0]

test('a refresh gives new tokens, and the old access token stays valid', async () => {
  const session = await newSession()
  const answer = await refresh(session.refreshToken)
  expect(answer).toMatchObject({ status: 200, body: { token_type: 'Bearer', expires_in: 900 } })
  expect(answer.headers.get('cache-control')).toBe('no-store')
  expect(answer.body.refresh_token).not.toBe(session.refreshToken)
  expect(sessionOf(answer.body).id).toBe(session.id)
  expect([await statusOfMe(session), await statusOfMe(sessionOf(answer.body))]).toEqual([200, 200])
  expect(JSON.stringify(await stateOf(session.id))).not.toContain(answer.body.refresh_token)
})

test('a refresh that is repeated, even thirty times at once, gives the same next token', async () => {
  const session = await newSession()
  const first = await rotate(session.refreshToken)
  expect(await rotate(session.refreshToken)).toBe(first)
  const next = await Promise.all(Array.from({ length: 30 }, () => rotate(first)))
  expect([...new Set(next)]).toEqual([expect.stringMatching(`^${session.id}.2.`)])
  expect(await stateOf(session.id)).toMatchObject({ revoked_at: null, refresh_generation: 2 })
  const sql = `select * from audit_logs where action = 'session.refresh' and resource_id = $1`
  const rows = await asOwner(sql, [session.id])
  expect(rows).toMatchObject([1, 2].map(() => ({ actor_type: 'user', actor_id: session.userId })))
  expect(await statusOfMe(session)).toBe(200)
})

test('a client that heard nothing for as long as the server waits for its database may ask again', async () => {
  const session = await newSession()
  const next = await rotate(session.refreshToken)
  await letPass(session.id, 30)
  expect(await rotate(session.refreshToken)).toBe(next)
  expect((await refresh(next)).status).toBe(200)
})

test('a client that heard nothing asks again after the keys were rotated, and gets what the former key gave', async () => {
  const session = await newSession()
  const next = formerNext(session.refreshToken)
  await asOwner(
    'update sessions set refresh_hash = $2, refresh_generation = 1, refreshed_at = now() where id = $1',
    [session.id, createHash('sha256').update(next).digest('hex')],
  )
  expect(await rotate(session.refreshToken)).toBe(next)
  expect((await refresh(await rotate(next))).status).toBe(200)
})

test.each([
  ['later than the grace', 1],
  ['of two generations ago', 2],
])('a used refresh token %s ends the whole session at once', async (_, rotations) => {
  const session = await newSession()
  const other = await anotherSession(session)
  let current = session.refreshToken
  for (let i = 0; i < rotations; i++) current = await rotate(current)
  if (rotations === 1) await passGrace(session.id)
  const reused = await refresh(session.refreshToken)
  expect(reused).toMatchObject({ status: 401, body: { code: 'refresh_token_reused' } })
  expect([await statusOfMe(session), await statusOfMe(other)]).toEqual([401, 200])
  for (const token of [current, session.refreshToken]) expect((await refresh(token)).status).toBe(401)
})

test('forged refresh tokens are refused and end no session', async () => {
  const session = await newSession()
  const other = await newSession()
  const used = session.refreshToken
  const current = await rotate(used)
  await passGrace(session.id)
  const [, , mac = ''] = current.split('.')
  const swapFirst = (text: string) => (text.startsWith('A') ? 'B' : 'A') + text.slice(1)
  const before = [await stateOf(session.id), await stateOf(other.id)]
  const forged = {
    garbage: 'not a token',
    'an access token': session.client.token?.slice(0, 200) as string,
    'a wrong MAC': `${session.id}.1.${swapFirst(mac)}`,
    'a wrong MAC of a used generation': `${session.id}.0.${swapFirst(used.split('.')[2] as string)}`,
    'a generation to come': `${session.id}.2.${mac}`,
    'the largest generation': `${session.id}.999999999.${mac}`,
    "another session's MAC": `${other.id}.0.${used.split('.')[2]}`,
    'an unknown session': `${crypto.randomUUID()}.0.${mac}`,
    'no UUID': `${'-'.repeat(36)}.0.${mac}`,
    'more at the end': `${current}A`,
  }
  for (const [name, token] of Object.entries(forged)) {
    expect(await refresh(token), name).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
  }
  expect((await refresh('x'.repeat(401))).status).toBe(422)
  expect([await stateOf(session.id), await stateOf(other.id)]).toEqual(before)
  expect((await refresh(current)).status).toBe(200)
})

test.each([
  ['a revoked session', 'update sessions set revoked_at = now() where id = $1'],
  ['an expired session', `update sessions set expires_at = now() - interval '1 second' where id = $1`],
  [
    'a disabled user',
    'update users set disabled_at = now() from sessions s where user_id = users.id and s.id = $1',
  ],
])('%s refreshes nothing and is refused', async (_, change) => {
  const session = await newSession()
  await asOwner(change, [session.id])
  const before = await stateOf(session.id)
  expect(await refresh(session.refreshToken)).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
  expect(await stateOf(session.id)).toEqual(before)
  expect(await statusOfMe(session)).toBe(401)
})

test('a refresh token signed with a key that has been removed is exchanged for one of the present key', async () => {
  const session = await newSession()
  const body = `${session.id}.0.${createHash('sha256').update('some secret').digest('base64url')}`
  const old = `${body}.${createHmac('sha256', 'a former key').update(body).digest('base64url')}`
  const hash = createHash('sha256').update(old).digest('hex')
  await asOwner('update sessions set refresh_hash = $2 where id = $1', [session.id, hash])
  const next = await rotate(old)
  expect(await rotate(old)).toBe(next)
  expect((await refresh(await rotate(next))).status).toBe(200)
})

test("lists the caller's own active sessions, page by page", async () => {
  const first = await newSession()
  const second = await anotherSession(first)
  const gone = await anotherSession(first)
  await gone.client.post('/auth/logout')
  await newSession()
  const { body } = await second.client.get<Sessions>('/auth/sessions')
  expect(body.data).toMatchObject([
    { id: second.id, current: true, ip: expect.stringMatching(/^198\.51\./), userAgent: 'node' },
    { id: first.id, current: false },
  ])
  const page = await first.client.get<Sessions>('/auth/sessions?limit=1')
  const rest = await first.client.get<Sessions>(`/auth/sessions?limit=1&cursor=${page.body.nextCursor}`)
  expect([page, rest].map((answer) => answer.body.data.map(({ id }) => id))).toEqual([
    [second.id],
    [first.id],
  ])
  expect(rest.body.nextCursor).toBeNull()
})

test('a person has the newest 100 sessions, also when two sign in at once', async () => {
  const { userId, email, client } = await signUp()
  await asOwner(
    `insert into sessions (id, user_id, refresh_hash, expires_at, revoked_at)
     select app.uuid_at(now() - n * interval '1 minute'), $1, gen_random_uuid()::text, now() + interval '1 day', now()
       from generate_series(1, 149) n`,
    [userId],
  )
  // None of them ends another.
  await asOwner('update sessions set revoked_at = null where user_id = $1', [userId])
  const open = async () =>
    (
      await asOwner<{ id: string }>(
        'select id from sessions where user_id = $1 and revoked_at is null order by id desc',
        [userId],
      )
    ).map(({ id }) => id)
  const before = await open()
  const row = await holdRow('users', userId)
  const answers = [logIn(email), logIn(email)]
  await row.whenWaiting(2)
  await row.release()
  const added = (await Promise.all(answers)).map(({ body }) => sessionOf(body).id)
  expect(await open()).toEqual([...added.sort().reverse(), ...before.slice(0, 98)])
  expect((await client.get('/auth/me')).status).toBe(200)
  const ended = `select from audit_logs where actor_id = $1 and action = 'session.create' and before ? 'revoked_at'`
  expect(await asOwner(ended, [userId])).toHaveLength(52)
})

test("ends one of the caller's own sessions at once, and nobody else's", async () => {
  const mine = await newSession()
  const other = await anotherSession(mine)
  const stranger = await newSession()
  expect(await stranger.client.delete(`/auth/sessions/${other.id}`)).toMatchObject({
    status: 404,
    body: { detail: 'There is no such resource, or it is not yours.' },
  })
  expect(await statusOfMe(other)).toBe(200)
  expect((await mine.client.delete(`/auth/sessions/${other.id}`)).status).toBe(204)
  expect([await statusOfMe(other), (await refresh(other.refreshToken)).status]).toEqual([401, 401])
  expect((await mine.client.delete(`/auth/sessions/${other.id}`)).status).toBe(404)
  expect([await statusOfMe(mine), await statusOfMe(stranger)]).toEqual([200, 200])
})

test('no request that starts after a session has ended succeeds', async () => {
  const mine = await newSession()
  const other = await anotherSession(mine)
  let ended = false
  const late: number[] = []
  const use = async () => {
    while (!ended) await statusOfMe(other)
    late.push(await statusOfMe(other))
  }
  const users = Promise.all(Array.from({ length: 20 }, use))
  expect((await mine.client.delete(`/auth/sessions/${other.id}`)).status).toBe(204)
  ended = true
  await users
  expect(late).toEqual(Array(20).fill(401))
})

test("changes the caller's name and nothing else", async () => {
  const { client, email, userId } = await newSession()
  const answer = await client.patch('/auth/me', { name: '  Zoë ' })
  expect(answer).toMatchObject({ status: 200, body: { id: userId, email, name: 'Zoë' } })
  expect((await client.get('/auth/me')).body).toMatchObject({ email, name: 'Zoë' })
  for (const body of [{}, { name: '' }, { name: 'x', email: newEmail() }, { name: 'x', disabledAt: null }]) {
    expect((await client.patch('/auth/me', body)).status).toBe(422)
  }
})

test('a new password ends the other sessions and leaves no secret in the audit log', async () => {
  const mine = await newSession()
  const other = await anotherSession(mine)
  const change = (currentPassword: string, newPassword: string) =>
    mine.client.post('/auth/password', { currentPassword, newPassword })
  // Whether it is the present one shows to whoever knows that only.
  expect(await change('not the password', 'not the password')).toMatchObject({ status: 401 })
  expect(await change(PASSWORD, PASSWORD)).toMatchObject({
    status: 422,
    body: { errors: [{ pointer: '/newPassword', message: 'is the current password' }] },
  })
  const wrong = await change('not my password', NEW_PASSWORD)
  expect(wrong).toMatchObject({ status: 401, body: { code: 'invalid_credentials' } })
  for (const weak of ['short', 'Password123', 'x'.repeat(129), 'lone surrogate \ud800']) {
    expect((await change(PASSWORD, weak)).status, weak).toBe(422)
  }
  expect(await statusOfMe(other)).toBe(200)
  expect((await change(PASSWORD, NEW_PASSWORD)).status).toBe(200)
  expect([await statusOfMe(mine), await statusOfMe(other)]).toEqual([200, 401])
  expect((await refresh(other.refreshToken)).status).toBe(401)
  expect((await logIn(mine.email)).status).toBe(401)
  expect((await logIn(mine.email, NEW_PASSWORD)).status).toBe(200)
  const sql = `select * from audit_logs where actor_id = $1 and action = 'password.update'`
  const rows = await asOwner(sql, [mine.userId])
  expect(rows).toMatchObject([{ actor_type: 'user', resource_id: mine.userId, before: null, after: null }])
})

test('of two changes with the same current password one succeeds', async () => {
  const { client, userId, email } = await newSession()
  const row = await holdRow('users', userId)
  const choices = [NEW_PASSWORD, `${NEW_PASSWORD} as well`]
  const changes = choices.map((newPassword) =>
    client.post('/auth/password', { currentPassword: PASSWORD, newPassword }),
  )
  await row.whenWaiting(2)
  await row.release()
  const statuses = (await Promise.all(changes)).map(({ status }) => status)
  expect(statuses.toSorted()).toEqual([200, 401])
  const logIns = await Promise.all(choices.map(async (password) => (await logIn(email, password)).status))
  expect(logIns).toEqual(statuses)
})

test('a sign-in with the old password that overlaps the change gets no session', async () => {
  const { userId, email } = await newSession()
  const row = await holdRow('users', userId)
  const late = logIn(email)
  await row.whenWaiting(1)
  await row.release(`update users set password_hash = 'changed' where id = '${userId}'`)
  expect(await late).toMatchObject({ status: 401, body: { code: 'invalid_credentials' } })
})

test('an access token is refused when it has expired, or when a claim or its header is wrong', async () => {
  const session = await newSession()
  const ours = newClaims(session.userId, session.id)
  const now = ours.iat
  const status = async (claims: object, header: { typ?: string; kid?: string } = {}) => {
    const token = await signToken({ ...ours, ...claims }, header)
    return statusOfMe({ client: createClient({ token }) })
  }
  expect(await status({})).toBe(200)
  const wrong: Record<string, object> = {
    expired: { iat: now - 960, exp: now - 60 },
    'without an end': { exp: undefined },
    'from elsewhere': { iss: 'https://example.com' },
    'for somebody else': { aud: 'https://example.com' },
    'of an unknown session': { sid: crypto.randomUUID() },
    'of what is no session': { sid: `' or true --` },
    'of nobody': { sub: undefined },
  }
  for (const [name, claims] of Object.entries(wrong)) expect(await status(claims), name).toBe(401)
  expect([await status({}, { typ: 'JWT' }), await status({}, { kid: 'another' })]).toEqual([401, 401])
})
