/** Accounts: registration, signing in and out, passwords, and which access tokens are refused. */
import { createLocalJWKSet, generateKeyPair, type JSONWebKeySet, jwtVerify, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { createClient } from '../support/client.ts'
import { asOwner, holdRow } from '../support/database.ts'
import { mailTo, tokenIn, whenSettled } from '../support/mail.ts'
import { logIn, newEmail, newMailToken, PASSWORD, signUp } from '../support/tenants.ts'
import { claimsOf } from '../support/tokens.ts'

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] as number

describe('registration', () => {
  test('registers, signs in, and answers who is signed in', async () => {
    const email = newEmail()
    const client = createClient()
    const registered = await client.post('/auth/register', {
      email: email.toUpperCase(),
      password: PASSWORD,
      name: 'Ann',
    })
    expect(registered.status).toBe(201)
    expect(registered.body).toMatchObject({
      user: { email, name: 'Ann' },
      token_type: 'Bearer',
      expires_in: 900,
    })
    const login = await logIn(email)
    expect(login.status).toBe(200)
    const me = await client.with({ token: login.body.access_token }).get('/auth/me')
    expect(me.body).toMatchObject({ email, workspaces: [] })
  })

  test('answers 409 for an address that is taken, in any case', async () => {
    const { email } = await signUp()
    const answer = await createClient().post('/auth/register', {
      email: email.toUpperCase(),
      password: PASSWORD,
    })
    expect(answer).toMatchObject({ status: 409, body: { code: 'email_taken' } })
  })

  test('asked for ten times at once, or again after an answer that was lost, makes one account', async () => {
    const email = newEmail()
    const register = (password = PASSWORD) =>
      createClient().post<{ access_token: string; device_token: string; user: { id: string } }>(
        '/auth/register',
        { email, password },
      )
    const answers = [...(await times(10, () => register())), await register()]
    expect(tally(answers)).toEqual({ 201: 11 })
    const [id, ...others] = new Set(answers.map(({ body }) => body.user.id))
    expect(others).toEqual([])
    for (const { body } of answers) {
      const me = await createClient({ token: body.access_token }).get('/auth/me')
      expect(me).toMatchObject({ status: 200, body: { id, email } })
    }
    const input = { email, password: PASSWORD, device_token: answers[10]?.body.device_token }
    expect((await createClient().post('/auth/login', input)).status).toBe(200)
    expect(await whenSettled(email)).toHaveLength(1)
    const log = await asOwner(
      `select action, count(*)::int from audit_logs where actor_id = $1 group by action order by action`,
      [id],
    )
    expect(log).toEqual([
      { action: 'session.create', count: 11 },
      { action: 'user.create', count: 1 },
    ])

    // A quarter of an hour later the same password is another's.
    await asOwner(`update users set created_at = now() - interval '16 minutes' where email = $1`, [email])
    expect((await register()).body.user.id).not.toBe(id)
    await asOwner('update users set disabled_at = now() where email = $1', [email])
    expect((await register()).status).toBe(201)
  })

  test('is no way to try passwords: after a wrong one the right one makes another account, too', async () => {
    const email = newEmail()
    const register = async (password: string) => {
      const { body } = await createClient().post<{ user: { id: string } }>('/auth/register', {
        email,
        password,
      })
      return body.user.id
    }
    const ids = [await register(PASSWORD), await register('not the password'), await register(PASSWORD)]
    expect(new Set(ids).size).toBe(3)
  })

  test('a second time while a second factor comes makes no session without it', async () => {
    const email = newEmail()
    const register = () =>
      createClient().post<{ user: { id: string } }>('/auth/register', { email, password: PASSWORD })
    const { id } = (await register()).body.user
    const held = await holdRow('users', id)
    const again = register()
    await held.whenWaiting(1)
    await held.release(
      `insert into totp_secrets (user_id, secret, confirmed_at) values ('${id}', 'x', clock_timestamp())`,
    )
    expect((await again).body.user.id).not.toBe(id)
    expect(await asOwner('select from sessions where user_id = $1', [id])).toHaveLength(1)
  })

  test('an e-mail address is ASCII, and once proved names one account in any case', async () => {
    for (const email of 'ü@example.com|a@exämple.com|a＠example.com|a b@c.de|a@b|a@b..de|a\n@b.de'.split(
      '|',
    )) {
      const answer = await createClient().post('/auth/register', { email, password: PASSWORD })
      expect(answer.status, email).toBe(422)
    }
    const email = `k.o'brien-${newEmail()}`
    const shouted = `  ${email.toUpperCase().replace('K', '\u212a')} `
    const registered = await createClient().post<{ access_token: string }>('/auth/register', {
      email: shouted,
      password: PASSWORD,
    })
    expect(registered).toMatchObject({ status: 201, body: { user: { email } } })
    const token = tokenIn(await mailTo(email, /Confirm/))
    const owner = createClient({ token: registered.body.access_token })
    expect((await owner.post('/auth/email/verify/confirm', { token })).status).toBe(200)
    expect((await createClient().post('/auth/register', { email, password: PASSWORD })).status).toBe(409)
  })

  test.each([
    ['a short password', { password: 'short' }],
    ['a long password', { password: 'x'.repeat(129) }],
    ['a common password', { password: 'Password123' }],
    ['NUL in the password', { password: '\0'.repeat(10) }],
    ['the address as the password', { email: 'somebody@shop.example', password: ' Somebody@Shop.example' }],
    ['65 characters before the @', { email: `${'x'.repeat(65)}@shop.example` }],
    ['no address', { email: 'nobody' }],
    ['a number for a password', { password: 1234567890 }],
    ['an unknown field', { admin: true }],
    ['__proto__', JSON.parse('{"__proto__": {"admin": true}}') as object],
    ['NUL in the name', { name: 'a\u0000b' }],
    ['a line break in the name', { name: 'a\nb' }],
    ['what turns the name around', { name: 'a\u202eb' }],
    ['what is a line break, too, in the name', { name: 'a\u2028b' }],
    ['a paragraph break in the name', { name: 'a\u2029b' }],
    ['a mark of Arabic in the name', { name: 'a\u061cb' }],
    ['a lone surrogate in the name', { name: 'a\ud800' }],
    ['a long name', { name: 'x'.repeat(101) }],
  ])('answers 422 to a registration with %s', async (_, change) => {
    const body = JSON.stringify({ email: newEmail(), password: PASSWORD }).slice(0, -1)
    const answer = await createClient().post('/auth/register', `${body},${JSON.stringify(change).slice(1)}`, {
      'content-type': 'application/json',
    })
    expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
  })
})

describe('passwords', () => {
  test('an address that is refused is told what is wrong with it', async () => {
    const messageOf = async (email: string) => {
      const answer = await createClient().post('/auth/register', { email, password: PASSWORD })
      return (answer.body as unknown as { errors: [{ message: string }] }).errors.map(
        ({ message }) => message,
      )
    }
    expect(await messageOf('a@münchen.de')).toEqual([
      'must have ASCII characters only: write a domain such as münchen.de as xn--mnchen-3ya.de',
    ])
    expect(await messageOf(`${'x'.repeat(65)}@shop.example`)).toEqual([
      'must have at most 64 characters before the @',
    ])
    expect(await messageOf('a@b')).toEqual(['must be an e-mail address'])
    const long = `${crypto.randomUUID()}${'x'.repeat(28)}@${'y'.repeat(60)}.example`
    expect((await createClient().post('/auth/register', { email: long, password: PASSWORD })).status).toBe(
      201,
    )
  })

  test('a password is not the address, neither changed nor reset to it', async () => {
    const person = await signUp()
    const refusal = {
      status: 422,
      body: { errors: [{ pointer: '/newPassword', message: 'must not be your e-mail address' }] },
    }
    const newPassword = person.email.toUpperCase()
    const change = { currentPassword: PASSWORD, newPassword }
    expect(await person.client.post('/auth/password', change)).toMatchObject(refusal)
    const token = await newMailToken(person, 'reset')
    const reset = (password: string) =>
      createClient().post('/auth/password/reset/confirm', { token, newPassword: password })
    expect(await reset(newPassword)).toMatchObject(refusal)
    expect((await person.client.get('/auth/me')).status).toBe(200)
    // The link is as good as before.
    expect((await reset('another password')).status).toBe(200)
  })

  test('stores the password as scrypt in PHC form, and the refresh token as a hash', async () => {
    const client = createClient()
    const email = newEmail()
    const { body } = await client.post<{ refresh_token: string }>('/auth/register', {
      email,
      password: PASSWORD,
    })
    const [row] = await asOwner<{ password_hash: string; refresh_hash: string }>(
      'select password_hash, refresh_hash from users join sessions on user_id = users.id where email = $1',
      [email],
    )
    expect(row?.password_hash).toMatch(/^\$scrypt\$ln=14,r=8,p=5\$[\w+/]{22}\$[\w+/]{43}$/)
    expect(row?.refresh_hash).not.toContain(body.refresh_token)
  })

  test('every character of a password counts', async () => {
    const email = newEmail()
    const password = 'pässword\u{1f600} long'
    expect((await createClient().post('/auth/register', { email, password })).status).toBe(201)
    expect((await logIn(email, password)).status).toBe(200)
    for (const other of ['pässword', `${password}\0x`, `${password}\ud800`, `${password} `]) {
      expect((await logIn(email, other)).status, JSON.stringify(other)).toBe(401)
    }
  })
})

describe('access tokens', () => {
  test('refuses access tokens that are tampered with, unsigned, or signed with another key', async () => {
    const { client, token } = await signUp()
    const [header, payload, signature] = token.split('.') as [string, string, string]
    const claims = claimsOf(token)
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const { privateKey } = await generateKeyPair('EdDSA')
    const sign = (changes: object, kid = 'local-only') =>
      new SignJWT({ ...claims, ...changes })
        .setProtectedHeader({ alg: 'EdDSA', typ: 'at+jwt', kid })
        .sign(privateKey)
    const forged = {
      tampered: `${header}.${encode({ ...claims, sub: crypto.randomUUID() })}.${signature}`,
      'alg none': `${encode({ alg: 'none', typ: 'at+jwt' })}.${payload}.`,
      HS256: `${encode({ alg: 'HS256', typ: 'at+jwt', kid: 'local-only' })}.${payload}.${signature}`,
      foreign: await sign({}),
      'foreign with another kid': await sign({}, 'theirs'),
      empty: '',
      garbage: 'a.b.c',
    }
    for (const [name, value] of Object.entries(forged)) {
      expect((await client.with({ token: value }).get('/auth/me')).status, name).toBe(401)
    }
    expect((await client.get('/auth/me')).status).toBe(200)
  })

  test('a session ends with the sign-out', async () => {
    const { client } = await signUp()
    expect((await client.post('/auth/logout')).status).toBe(204)
    const answer = await client.get('/auth/me')
    expect(answer).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
    expect(answer.headers.get('www-authenticate')).toBe('Bearer')
  })

  test('a disabled user is refused with the next request', async () => {
    const { client, userId } = await signUp()
    await asOwner('update users set disabled_at = now() where id = $1', [userId])
    expect((await client.get('/auth/me')).status).toBe(401)
  })

  test('publishes the keys that verify its access tokens', async () => {
    const answer = await createClient().request<JSONWebKeySet>('GET', '/.well-known/jwks.json')
    // The second verifies checkpoints of audit logs.
    expect(answer.body.keys.map(({ kid }) => kid)).toEqual([
      'local-only',
      'local-only-former',
      'local-only-audit',
    ])
    for (const key of answer.body.keys) expect(key).not.toHaveProperty('d')
    expect(answer.headers.get('cache-control')).toContain('max-age')
    const { email } = await signUp()
    const token = (await logIn(email)).body.access_token
    const { payload } = await jwtVerify(token, createLocalJWKSet(answer.body))
    expect(payload).toEqual(claimsOf(token))
  })
})

describe('signing in', () => {
  test('answers an unknown address and a wrong password alike, in the same time', async () => {
    const { email } = await signUp()
    const time = async (address: string) => {
      const started = performance.now()
      const answer = await logIn(address, 'not the password')
      expect(answer.status).toBe(401)
      return { milliseconds: performance.now() - started, body: { ...answer.body, requestId: '' } }
    }
    const known: number[] = []
    const unknown: number[] = []
    for (let i = 0; i < 7; i++) {
      const [wrong, nobody] = [await time(email), await time(newEmail())]
      expect(nobody.body).toEqual(wrong.body)
      known.push(wrong.milliseconds)
      unknown.push(nobody.milliseconds)
    }
    expect(median(unknown) / median(known)).toBeGreaterThan(0.6)
    expect(median(unknown) / median(known)).toBeLessThan(1.7)
  })

  test('a malformed sign-in is answered with 422, and counts against no limit', async () => {
    const bodies = [
      { email: { toString: 1, valueOf: 1 }, password: 'x' },
      {},
      [],
      null,
      { email: 7, password: 'x' },
    ]
    for (let round = 0; round < 4; round++) {
      for (const body of bodies) {
        expect((await createClient().post('/auth/login', body)).status).toBe(422)
      }
    }
    const nested = `{"email":${'['.repeat(50_000)}${']'.repeat(50_000)},"password":"x"}`
    const answer = await createClient().post('/auth/login', nested, { 'content-type': 'application/json' })
    expect(answer.status).toBe(422)
  })
})
