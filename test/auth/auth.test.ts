import { generateKeyPair, SignJWT } from 'jose'
import { expect, test } from 'vitest'
import { asOwner, createClient, newEmail, PASSWORD, signUp, stack } from '../support/client.ts'

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] as number

test('registers, says who I am, and signs in again', async () => {
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
  const login = await client.post<{ access_token: string }>('/auth/login', { email, password: PASSWORD })
  expect(login.status).toBe(200)
  const me = await client.with({ token: login.body.access_token }).get('/auth/me')
  expect(me.body).toMatchObject({ email, workspaces: [] })
})

test('refuses an address that is taken, in any case', async () => {
  const { email } = await signUp()
  const answer = await createClient().post('/auth/register', {
    email: email.toUpperCase(),
    password: PASSWORD,
  })
  expect(answer).toMatchObject({ status: 409, body: { code: 'email_taken' } })
})

test('stores passwords as scrypt in PHC form, and no token in clear', async () => {
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

test.each([
  ['short password', { password: 'short' }],
  ['long password', { password: 'x'.repeat(129) }],
  ['common password', { password: 'Password123' }],
  ['no address', { email: 'nobody' }],
  ['number for a password', { password: 1234567890 }],
  ['unknown field', { admin: true }],
  ['prototype key', JSON.parse('{"__proto__": {"admin": true}}') as object],
  ['NUL in the name', { name: 'a\u0000b' }],
  ['lone surrogate in the name', { name: 'a\ud800' }],
  ['long name', { name: 'x'.repeat(101) }],
])('refuses to register with %s', async (_, change) => {
  const body = JSON.stringify({ email: newEmail(), password: PASSWORD }).slice(0, -1)
  const answer = await createClient().post('/auth/register', `${body},${JSON.stringify(change).slice(1)}`, {
    'content-type': 'application/json',
  })
  expect(answer).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
})

test('answers an unknown address and a wrong password alike, in the same time', async () => {
  const { email } = await signUp()
  const time = async (address: string) => {
    const started = performance.now()
    const answer = await createClient().post('/auth/login', { email: address, password: 'not the password' })
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

test('a session ends at once', async () => {
  const { client } = await signUp()
  expect((await client.post('/auth/logout')).status).toBe(204)
  const answer = await client.get('/auth/me')
  expect(answer).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
  expect(answer.headers.get('www-authenticate')).toBe('Bearer')
})

test('a disabled user is out at once', async () => {
  const { client, userId } = await signUp()
  await asOwner('update users set disabled_at = now() where id = $1', [userId])
  expect((await client.get('/auth/me')).status).toBe(401)
})

test('refuses tokens that are expired, tampered with, foreign or unsigned', async () => {
  const { client } = await signUp()
  const token = client.token as string
  const [header, payload, signature] = token.split('.') as [string, string, string]
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
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

test('publishes the keys that verify its tokens', async () => {
  const answer = await createClient().request<{ keys: object[] }>('GET', '/.well-known/jwks.json')
  expect(answer.body.keys).toHaveLength(1)
  expect(answer.body.keys[0]).not.toHaveProperty('d')
  expect(answer.headers.get('cache-control')).toContain('max-age')
  expect(stack.api).toContain('127.0.0.1')
})

test('a hundred parallel sign-ins leave room for others', async () => {
  const { client } = await signUp()
  const attempt = () =>
    createClient().post('/auth/login', { email: newEmail(), password: 'not the password' })
  let signedIn = false
  const signIns = Promise.all(Array.from({ length: 100 }, attempt)).finally(() => {
    signedIn = true
  })
  const waits: number[] = []
  while (!signedIn) {
    const started = performance.now()
    expect((await client.get('/auth/me')).status).toBe(200)
    waits.push(performance.now() - started)
  }
  expect((await signIns).every(({ status }) => status === 401)).toBe(true)
  // Hashing them all takes many seconds; nobody else waits for more than a few of them.
  expect(median(waits)).toBeLessThan(2000)
  expect(waits.length).toBeGreaterThan(5)
}, 90_000)
