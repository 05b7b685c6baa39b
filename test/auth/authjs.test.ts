/** Session cookies of an Auth.js front end, made by Auth.js itself: which are accepted, and as whom. */
import { hkdfSync } from 'node:crypto'
import { encode } from '@auth/core/jwt'
import { base64url, calculateJwkThumbprint, EncryptJWT, SignJWT } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import { type AssetBody, createClient } from '../support/client.ts'
import { stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { formOf } from '../support/send.ts'
import { newEmail, signUp } from '../support/tenants.ts'
import { secrets } from '../support/tokens.ts'

const NAME = 'authjs.session-token'
const SECURE_NAME = `__Secure-${NAME}`
const ORIGIN = 'http://localhost:3000'
const { AUTH_SECRET = '' } = secrets

const client = createClient()

/** What Auth.js puts into its token by itself: `sub` is a number that it makes up. */
const newProfile = () => ({ name: 'Ann', email: newEmail(), picture: '/a.png', sub: crypto.randomUUID() })
/** With what the front end's `jwt` callback adds. */
const newGoogleProfile = (changes: object = {}) => ({
  ...newProfile(),
  provider: 'google',
  providerAccountId: crypto.randomUUID(),
  emailVerified: true,
  ...changes,
})

const mint = (
  token: object,
  {
    secret = AUTH_SECRET,
    salt = NAME,
    maxAge = 3600,
  }: { secret?: string; salt?: string; maxAge?: number } = {},
) => encode({ token: { ...token }, secret, salt, maxAge })

const request = <T = Record<string, unknown>>(
  cookie: string,
  [method, path, body]: [method: string, path: string, body?: unknown] = ['GET', '/auth/me'],
  headers: Record<string, string> = {},
) => client.request<T>(method, `/api/v1${path}`, body, { cookie, ...headers })
const me = (value: string, name = NAME) => request<{ id: string; email: string }>(`${name}=${value}`)
const meAs = async (token: object) => me(await mint(token))

const userOf = async (email: string) => {
  const accounts = `array(select provider || ':' || provider_account_id from accounts where user_id = users.id)`
  const [user] = await asOwner(`select *, ${accounts} as accounts from users where email = $1`, [email])
  return user
}

describe('a session cookie is accepted', () => {
  let profile: ReturnType<typeof newGoogleProfile>
  let userId: string
  beforeAll(async () => {
    profile = newGoogleProfile()
    userId = (await meAs(profile)).body.id
  })

  test.each([NAME, SECURE_NAME])('as %s, with one database request', async (name) => {
    const answer = await me(await mint(profile, { salt: name }), name)
    expect(answer).toMatchObject({ status: 200, body: { id: userId, email: profile.email } })
    expect(answer.headers.get('server-timing')).toMatch(/^db;desc="1";/)
  })

  test.each([NAME, SECURE_NAME])('as %s in chunks, in any order, if none is missing', async (name) => {
    const value = await mint({ ...profile, picture: 'x'.repeat(6000) }, { salt: name })
    const size = Math.ceil(value.length / 12)
    const chunks = Array.from(
      { length: 12 },
      (_, i) => `${name}.${i}=${value.slice(i * size, (i + 1) * size)}`,
    )
    expect((await request(chunks.toReversed().join('; '))).body.id).toBe(userId)
    expect((await request(['theme=dark', ...chunks, `${name}=`].sort().join('; '))).body.id).toBe(userId)
    expect((await request(chunks.slice(0, -1).join('; '))).status).toBe(401)
    expect((await request(chunks.toSpliced(3, 1).join('; '))).status).toBe(401)
  })

  test('when made with the present or the former secret, and no other', async () => {
    for (const secret of [AUTH_SECRET, stack.newAuthSecret]) {
      expect((await me(await mint(profile, { secret }))).body.id).toBe(userId)
    }
    expect((await me(await mint(profile, { secret: `${AUTH_SECRET}.` }))).status).toBe(401)
    expect((await me(await mint(profile, { secret: ' ' }))).status).toBe(401)
  })

  test('until it expires, with the tolerance of Auth.js', async () => {
    expect((await me(await mint(profile, { maxAge: -5 }))).status).toBe(200)
    expect((await me(await mint(profile, { maxAge: -20 }))).status).toBe(401)
  })

  test('only under the name that it was made for', async () => {
    expect((await me(await mint(profile, { salt: SECURE_NAME }), NAME)).status).toBe(401)
    expect((await me(await mint(profile, { salt: NAME }), SECURE_NAME)).status).toBe(401)
    for (const name of ['next-auth.session-token', '__Host-authjs.session-token', 'authjs.session-tokenx']) {
      expect((await me(await mint(profile, { salt: name }), name)).status, name).toBe(401)
    }
  })

  test('only unchanged', async () => {
    const parts = (await mint(profile)).split('.')
    for (const [i, part] of parts.entries()) {
      const bytes = Buffer.from(part || 'AAAA', 'base64url')
      const middle = bytes.length >> 1
      bytes[middle] = (bytes[middle] as number) ^ 1
      expect((await me(parts.with(i, bytes.toString('base64url')).join('.'))).status, `part ${i}`).toBe(401)
    }
    const other = (await mint(newProfile())).split('.')
    expect((await me(parts.with(3, other[3] as string).join('.'))).status).toBe(401)
    const garbage = ['', '.', '....', 'a.b.c.d.e', '%00', '"', 'null', 'x'.repeat(8000), '.'.repeat(8000)]
    for (const value of garbage) expect((await me(value)).status, value.slice(0, 20)).toBe(401)
  })

  test('only with the algorithms of Auth.js', async () => {
    const derive = (length: number, secret: string) =>
      new Uint8Array(hkdfSync('sha256', secret, NAME, `Auth.js Generated Encryption Key (${NAME})`, length))
    const [key, newKey] = [derive(64, AUTH_SECRET), derive(64, stack.newAuthSecret)]
    const short = derive(32, AUTH_SECRET)
    const kid = await calculateJwkThumbprint({ kty: 'oct', k: base64url.encode(key) }, 'sha512')
    const encrypt = (header: { alg?: string; enc?: string; kid?: string }, by: Uint8Array) =>
      new EncryptJWT({ ...profile })
        .setProtectedHeader({ alg: 'dir', enc: 'A256CBC-HS512', ...header })
        .setExpirationTime('1h')
        .encrypt(by)
    const sign = (alg: string) =>
      new SignJWT({ ...profile }).setProtectedHeader({ alg, kid }).setExpirationTime('1h').sign(key)
    const json = (part: object) => base64url.encode(JSON.stringify(part))
    // Auth.js, too, takes a token without a key's id for one of the newest secret.
    for (const good of [encrypt({ kid }, key), encrypt({}, newKey)]) {
      expect((await me(await good)).body.id).toBe(userId)
    }
    const refused = {
      'another enc': encrypt({ enc: 'A256GCM', kid }, short),
      'a key that is wrapped': encrypt({ alg: 'A256KW', kid }, short),
      'a key that is wrapped by GCM': encrypt({ alg: 'A256GCMKW', kid }, short),
      'a key from a password': encrypt(
        { alg: 'PBES2-HS512+A256KW', kid },
        new TextEncoder().encode(AUTH_SECRET),
      ),
      "no key's id": encrypt({}, key),
      "another key's id": encrypt({ kid: 'another' }, key),
      "the other secret's key": encrypt({ kid }, newKey),
      'a signed token': sign('HS512'),
      'an unsigned token': `${json({ alg: 'none', kid })}.${json({ ...profile, exp: 9e9 })}.`,
      'no end': new EncryptJWT({ ...profile })
        .setProtectedHeader({ alg: 'dir', enc: 'A256CBC-HS512', kid })
        .encrypt(key),
    }
    for (const [name, value] of Object.entries(refused))
      expect((await me(await value)).status, name).toBe(401)
  })
})

describe('a session cookie stands for', () => {
  test('the user of its provider account, whatever else the token says later', async () => {
    const profile = newGoogleProfile()
    const first = await meAs(profile)
    expect(first.headers.get('server-timing')).toMatch(/^db;desc="1";/)
    const later = await meAs({ ...profile, sub: 'another', email: newEmail(), name: 'Another' })
    expect(later.body).toEqual(first.body)
    const [other, same] = [await meAs(newGoogleProfile()), await meAs({ ...profile, emailVerified: false })]
    expect(other.body.id).not.toBe(first.body.id)
    expect(same.body.id).toBe(first.body.id)
  })

  test.each([
    ['a verified address', newGoogleProfile(), true],
    ['an address that nobody verified', newGoogleProfile({ emailVerified: false }), false],
    ['a date for a proof', newGoogleProfile({ emailVerified: new Date() }), false],
    ['a text for a proof', newGoogleProfile({ emailVerified: 'true' }), false],
    ['what Auth.js says by itself', newProfile(), false],
  ])('one new user, even when its first twenty requests come at once: %s', async (_, profile, isVerified) => {
    const cookie = await mint(profile)
    const answers = await Promise.all(Array.from({ length: 20 }, () => me(cookie)))
    expect(new Set(answers.map(({ status, body }) => `${status} ${body.id}`)).size).toBe(1)
    const user = await userOf(profile.email)
    expect(user).toMatchObject({ id: answers[0]?.body.id, name: 'Ann', password_hash: null })
    expect(user?.email_verified_at !== null).toBe(isVerified)
    expect(user?.accounts).toHaveLength(1)
  })

  test('the user of an address that two provider accounts have verified, in any case', async () => {
    const google = newGoogleProfile()
    const first = await meAs(google)
    const github = newGoogleProfile({ provider: 'github', email: google.email.toUpperCase() })
    expect((await meAs(github)).body).toEqual(first.body)
    expect((await userOf(google.email))?.accounts).toHaveLength(2)
  })

  test('the user who has proved its verified address by mail, and nobody who only claims it', async () => {
    const proved = await signUp()
    expect((await meAs(newGoogleProfile({ email: proved.email }))).body).toMatchObject({ id: proved.userId })

    const owner = newGoogleProfile()
    const { body } = await meAs(owner)
    const known = await userOf(owner.email)
    for (const attacker of [
      newGoogleProfile({ email: owner.email, emailVerified: false }),
      newGoogleProfile({ email: owner.email, emailVerified: 'true' }),
      { ...newProfile(), email: owner.email },
    ]) {
      const answer = await meAs(attacker)
      expect(answer).toMatchObject({
        status: 200,
        body: { email: null, emailVerified: false, workspaces: [] },
      })
      expect(answer.body.id).not.toBe(body.id)
    }
    const registered = await client.post('/auth/register', {
      email: owner.email,
      password: 'a long password',
    })
    expect(registered.status).toBe(409)
    expect(await userOf(owner.email)).toEqual(known)
    expect((await meAs(owner)).body).toEqual(body)
  })

  test("the user of its account when its token takes on somebody else's address", async () => {
    const victim = newGoogleProfile()
    await meAs(victim)
    const attacker = newGoogleProfile({ emailVerified: false })
    const { body } = await meAs(attacker)
    const moved = { ...attacker, email: victim.email, emailVerified: true }
    expect((await meAs(moved)).body).toEqual(body)
    expect(await userOf(attacker.email)).toMatchObject({ email_verified_at: null })
    expect((await userOf(victim.email))?.accounts).toHaveLength(1)
  })

  test.each([undefined, null, '', 'nobody', 'zoë@münchen.example'])(
    'a user without an address whose e-mail is %j, whatever the token says of it, who may prove one',
    async (email) => {
      const profile = newGoogleProfile({ email })
      const answers = await Promise.all(Array.from({ length: 5 }, () => meAs(profile)))
      for (const answer of answers) {
        expect(answer).toMatchObject({
          status: 200,
          body: { email: null, emailVerified: false, name: 'Ann' },
        })
      }
      expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
      const cookie = `${NAME}=${await mint(profile)}`
      const send = (method: string, path: string, body?: unknown) =>
        request<{ id: string; code: string }>(cookie, [method, path, body], { origin: ORIGIN })
      const { body: workspace } = await send('POST', '/workspaces', { name: 'Shop' })
      expect(await send('GET', `/workspaces/${workspace.id}/members`)).toMatchObject({
        status: 200,
        body: { data: [{ email: null, emailVerified: false, role: 'owner' }] },
      })
      const job = await send('POST', '/generations', { task: 'scene', prompt: 'x' })
      expect(job).toMatchObject({ status: 402, body: { code: 'insufficient_credits' } })
      expect((await send('POST', '/auth/email/verify')).status).toBe(404)
      expect((await send('POST', '/auth/mfa/totp')).status).toBe(201)
      expect((await send('POST', '/auth/email/change', { email: newEmail() })).status).toBe(202)
      // Once the provider tells one, and has verified it, it is theirs.
      const verified = { ...profile, email: newEmail() }
      expect(await meAs(verified)).toMatchObject({
        body: { id: answers[0]?.body.id, email: verified.email, emailVerified: true },
      })
      expect((await meAs(profile)).body).toMatchObject({ email: verified.email, emailVerified: true })
    },
  )

  test('nobody who has proved an address that the token does not name', async () => {
    const profile = newGoogleProfile({ emailVerified: false })
    const { body } = await meAs(profile)
    for (const email of [null, 'nobody']) {
      expect((await meAs({ ...profile, email, emailVerified: true })).body).toEqual(body)
    }
    expect(await userOf(profile.email)).toMatchObject({ id: body.id, email_verified_at: null })
  })

  test('nobody without an account', async () => {
    for (const claims of [{ sub: undefined }, { sub: '' }, { sub: 7 }]) {
      const answer = await meAs({ ...newProfile(), ...claims })
      expect(answer, JSON.stringify(claims)).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
    }
  })

  test.each([
    ['NUL', 'a\u0000b'],
    ['a lone surrogate', 'a\ud800'],
  ])('nobody, if what identifies its account has %s, and a user without such a name', async (_, odd) => {
    for (const claim of ['provider', 'providerAccountId']) {
      expect((await meAs(newGoogleProfile({ [claim]: odd }))).status, claim).toBe(401)
    }
    expect((await meAs({ ...newProfile(), sub: odd })).status).toBe(401)
    const profile = newGoogleProfile({ name: odd })
    expect((await meAs(profile)).status).toBe(200)
    expect(await userOf(profile.email)).toMatchObject({ name: null })
  })

  test('nobody who is disabled', async () => {
    const profile = newGoogleProfile()
    const cookie = `${NAME}=${await mint(profile)}`
    await request(cookie)
    await asOwner('update users set disabled_at = now() where email = $1', [profile.email])
    expect((await request(cookie)).status).toBe(401)
    const answer = await request(cookie, ['POST', '/auth/logout'], { origin: ORIGIN })
    expect(answer.status).toBe(401)
  })
})

describe('changes by session cookie', () => {
  const create: [string, string, unknown] = ['POST', '/workspaces', { name: 'Shop' }]

  const foreign = `null https://example.com https://localhost:3000 http://localhost http://localhost:3000/
    http://LOCALHOST:3000 http://localhost:30000 http://localhost:3000.example.com http://evil.localhost:3000
    http://localhost:3000,http://example.com`
  test.each([undefined, '', ...foreign.split(/\s+/)])('are refused from the origin %s', async (origin) => {
    const profile = newGoogleProfile()
    const cookie = `${NAME}=${await mint(profile)}`
    const headers = { ...(origin !== undefined && { origin }), referer: `${ORIGIN}/` }
    for (const call of [create, ['PATCH', '/auth/me', { name: 'x' }], ['POST', '/auth/logout']] as const) {
      const answer = await request(cookie, [...call], headers)
      expect(answer).toMatchObject({ status: 403, body: { code: 'origin_not_allowed' } })
    }
    expect(await userOf(profile.email)).toBeUndefined()
  })

  test('are made from the front end, in a workspace and in a role like any other', async () => {
    const cookie = `${NAME}=${await mint(newGoogleProfile())}`
    const created = await request<{ id: string }>(cookie, create, { origin: ORIGIN })
    expect(created).toMatchObject({ status: 201, body: { role: 'owner' } })
    expect(created.headers.get('access-control-allow-origin')).toBe(ORIGIN)
    const form = formOf('file.txt', 'some text')
    const asset = await request<AssetBody>(cookie, ['POST', '/assets/upload', form], { origin: ORIGIN })
    const { body: user } = await request(cookie)
    expect(asset).toMatchObject({ status: 201, body: { workspaceId: created.body.id, createdBy: user.id } })
    expect((await request(cookie, ['GET', `/assets/${asset.body.id}`])).status).toBe(200)
    await asOwner(`update memberships set role = 'viewer' where user_id = $1`, [user.id])
    const refused = await request(cookie, ['DELETE', `/assets/${asset.body.id}`], { origin: ORIGIN })
    expect(refused).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  })

  test("don't include signing out, which would end nothing: that is the front end's", async () => {
    const cookie = `${NAME}=${await mint(newGoogleProfile())}`
    const refused = await request(cookie, ['POST', '/auth/logout'], { origin: ORIGIN })
    expect(refused).toMatchObject({
      status: 403,
      body: { code: 'forbidden', detail: expect.stringContaining('front end') },
    })
    expect((await request(cookie)).status).toBe(200)
  })

  test('are made as the caller of the Authorization header where there is one', async () => {
    const account = await signUp()
    const cookie = `${NAME}=${await mint(newGoogleProfile())}`
    const authorization = `Bearer ${account.client.token}`
    const renamed = await request(cookie, ['PATCH', '/auth/me', { name: 'Bob' }], { authorization })
    expect(renamed).toMatchObject({ status: 200, body: { id: account.userId, name: 'Bob' } })
    for (const wrong of ['Bearer x', 'Basic eDp4']) {
      expect((await request(cookie, undefined, { authorization: wrong })).status, wrong).toBe(401)
    }
  })
})
