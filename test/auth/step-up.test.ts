/** Proving oneself once more: what is dangerous asks for it, and what counts as a proof. */
import { encode } from '@auth/core/jwt'
import { v7 as uuidv7 } from 'uuid'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { rowsOfRequest } from '../support/audit.ts'
import { addPasskey, ORIGIN, requestOptions } from '../support/authenticator.ts'
import { type Answer, type Client, createClient } from '../support/client.ts'
import type { Json } from '../support/contract.ts'
import { asOwner } from '../support/database.ts'
import { addTotp, codeOf, confirmLogin, forgetUse, mfaTokenOf } from '../support/factors.ts'
import { databaseRequestsOf } from '../support/routes.ts'
import {
  addMember,
  invite,
  logIn,
  NOBODY,
  newEmail,
  newKey,
  newTenant,
  PASSWORD,
  type Role,
  signUp,
} from '../support/tenants.ts'
import { newClaims, resign, secrets, signToken } from '../support/tokens.ts'

const stepUp = (client: Client, proof: object) => client.post('/auth/step-up', proof)

const grow = (userId: string, minutes: number) =>
  asOwner('update sessions set proved_at = now() - make_interval(mins => $2) where user_id = $1', [
    userId,
    minutes,
  ])

/** Of somebody with a second factor, and yet by the password alone. */
const byPassword = async (userId: string, workspaceId?: string) => {
  const id = uuidv7()
  await asOwner(
    `insert into sessions (id, user_id, refresh_hash, expires_at) values ($1, $2, $3, now() + interval '1 day')`,
    [id, userId, crypto.randomUUID()],
  )
  return createClient({ token: await signToken(newClaims(userId, id)), workspaceId })
}

/** Something dangerous that harms nothing here. */
const tryIt = (client: Client) => client.delete('/auth/mfa')
const statusOf = async (client: Client) => (await tryIt(client)).status

describe('without a second factor', () => {
  test('signing in and the password count, for 15 minutes', async () => {
    const { client, userId, email } = await signUp()
    expect(await statusOf(client)).toBe(204)
    await grow(userId, 14)
    expect(await statusOf(client)).toBe(204)
    await grow(userId, 15)
    expect(await tryIt(client)).toMatchObject({ status: 403, body: { code: 'step_up_required' } })
    expect((await client.get('/auth/me')).status).toBe(200)

    const wrong = await stepUp(client, { password: 'not the password' })
    expect(wrong).toMatchObject({ status: 401, body: { code: 'invalid_credentials' } })
    expect(await rowsOfRequest(wrong.headers)).toMatchObject([
      { action: 'session.refuse', actor_id: userId, resource_id: userId },
    ])
    expect(await statusOf(client)).toBe(403)
    const proved = await stepUp(client, { password: PASSWORD })
    expect(proved.status).toBe(204)
    expect(databaseRequestsOf(proved)).toBe(2)
    expect(proved.headers.get('set-cookie')).toBeNull()
    expect(await rowsOfRequest(proved.headers)).toMatchObject([{ action: 'session.prove', actor_id: userId }])
    expect(await statusOf(client)).toBe(204)
    const login = await logIn(email)
    expect(await statusOf(createClient({ token: login.body.access_token }))).toBe(204)
  })

  test('it is the session that is proved, and no other', async () => {
    const { client, userId, email } = await signUp()
    const other = createClient({ token: (await logIn(email)).body.access_token })
    await grow(userId, 20)
    await stepUp(other, { password: PASSWORD })
    expect([await statusOf(client), await statusOf(other)]).toEqual([403, 204])
  })

  test('a refresh proves nothing', async () => {
    const { email, userId } = await signUp()
    const { body } = await logIn(email)
    await grow(userId, 20)
    const answer = await createClient().post<{ access_token: string }>('/auth/refresh', {
      refresh_token: body.refresh_token,
    })
    expect(await statusOf(createClient({ token: answer.body.access_token }))).toBe(403)
  })

  test.each([
    {},
    null,
    { password: PASSWORD, code: '123456' },
    { password: 7 },
    { password: undefined },
    { passkey: {} },
    { password: 'x'.repeat(1025) },
  ])('%j is no proof', async (proof) => {
    const { client } = await signUp()
    expect((await client.post('/auth/step-up', proof)).status).toBe(422)
  })

  test('says what was wrong: the password, or that there is no second factor', async () => {
    const { client } = await signUp()
    expect(await stepUp(client, { password: 'x' })).toMatchObject({
      status: 401,
      body: { code: 'invalid_credentials', detail: 'The password is wrong.' },
    })
    expect(await stepUp(client, { code: '123456' })).toMatchObject({
      status: 401,
      body: { code: 'invalid_code', detail: expect.stringContaining('You have no second factor') },
    })
  })

  test('guesses are limited, and an API key has no person', async () => {
    const { client } = await newTenant()
    const key = createClient({ token: (await newKey(client, ['asset.list'])).key })
    expect((await stepUp(key, { password: PASSWORD })).status).toBe(403)
    const statuses: number[] = []
    for (let i = 0; i < 11; i++) statuses.push((await stepUp(client, { code: 'AAAAA-AAAAA' })).status)
    expect(statuses).toEqual([...Array(10).fill(401), 429])
  })
})

test('to give or take ownership takes a proof, and other roles do not', async () => {
  const { client, userId, workspaceId } = await newTenant()
  const base = `/workspaces/${workspaceId}`
  const [owner, member] = [await addMember(workspaceId, 'owner'), await addMember(workspaceId, 'member')]
  const setRole = (of: { userId: string }, role: Role) =>
    client.patch(`${base}/members/${of.userId}`, { role })
  const changes = [
    () => invite(client, workspaceId, newEmail(), 'owner'),
    () => setRole(member, 'owner'),
    () => setRole(owner, 'admin'),
  ]
  const remove = (id: string) => client.delete(`${base}/members/${id}`)
  await grow(userId, 15)
  for (const change of [...changes, () => remove(owner.userId), () => remove(userId)]) {
    expect(await change()).toMatchObject({ status: 403, body: { code: 'step_up_required' } })
  }
  expect((await setRole(member, 'admin')).status).toBe(200)
  expect((await invite(client, workspaceId, newEmail(), 'admin')).status).toBe(201)
  const roles = await asOwner('select role from memberships where workspace_id = $1 order by role', [
    workspaceId,
  ])
  expect(roles).toEqual([{ role: 'admin' }, { role: 'owner' }, { role: 'owner' }])
  await stepUp(client, { password: PASSWORD })
  const statuses: number[] = []
  for (const change of [...changes, () => remove(member.userId)]) statuses.push((await change()).status)
  expect(statuses).toEqual([201, 200, 200, 204])
  // A second factor is asked for where there is one.
  await addTotp(client)
  const before = await byPassword(userId, workspaceId)
  expect(await before.patch(`${base}/members/${owner.userId}`, { role: 'owner' })).toMatchObject({
    status: 403,
    body: { code: 'step_up_required' },
  })
})

describe('with a second factor', () => {
  test('the password is not enough, and a code counts', async () => {
    const { client, userId } = await signUp()
    const { secret, recoveryCodes } = await addTotp(client)
    // The session that set it up has shown it; another one that the password alone made has not, however young.
    const before = await byPassword(userId)
    expect((await client.post('/auth/mfa/totp')).body.code).toBe('already_enrolled')
    expect((await tryIt(before)).body.code).toBe('step_up_required')
    expect(await stepUp(before, { password: PASSWORD })).toMatchObject({
      status: 403,
      body: { code: 'second_factor_required' },
    })
    expect((await stepUp(before, { code: codeOf(secret) })).status).toBe(204)
    expect((await before.post('/auth/mfa/totp')).body.code).toBe('already_enrolled')
    await grow(userId, 16)
    expect((await tryIt(before)).body.code).toBe('step_up_required')
    // A code once, here as elsewhere.
    for (const proof of [{ code: codeOf(secret) }, { code: '000000' }, { code: 'AAAAA-AAAAA' }]) {
      expect(await stepUp(before, proof)).toMatchObject({ status: 401, body: { code: 'invalid_code' } })
    }
    expect((await stepUp(before, { code: recoveryCodes[0] as string })).status).toBe(204)
    expect((await stepUp(client, { code: recoveryCodes[0] as string })).status).toBe(401)
    expect(await statusOf(before)).toBe(204)
  })

  test("a passkey counts, another person's does not, and an assertion is used up", async () => {
    const [person, other] = [await signUp(), await signUp()]
    const { authenticator } = await addPasskey(person.client)
    const theirs = await addPasskey(other.client)
    await grow(person.userId, 16)
    const foreign = theirs.authenticator.get(await requestOptions())
    expect((await stepUp(person.client, { passkey: foreign })).body.code).toBe('invalid_passkey')
    const passkey = authenticator.get(await requestOptions())
    expect((await stepUp(person.client, { passkey })).status).toBe(204)
    expect((await stepUp(person.client, { passkey })).status).toBe(401)
    expect((await person.client.post('/auth/passkeys/options')).status).toBe(200)
  })

  test('whoever has removed the last one is proved by the password again', async () => {
    const { client, userId } = await signUp()
    await addTotp(client)
    await client.delete('/auth/mfa')
    expect(await statusOf(client)).toBe(204)
    await grow(userId, 16)
    expect((await stepUp(client, { password: PASSWORD })).status).toBe(204)
    const [session] = await asOwner('select second_factor from sessions where user_id = $1', [userId])
    expect(session).toEqual({ second_factor: false })
  })
})

describe('a workspace that demands a second factor', () => {
  const demand = (client: Client, workspaceId: string, secondFactorRequired = true) =>
    client.patch(`/workspaces/${workspaceId}`, { secondFactorRequired })

  test('lets whoever removes their last factor in again with the next one', async () => {
    const { client, workspaceId } = await newTenant()
    await addTotp(client)
    expect((await demand(client, workspaceId)).status).toBe(200)
    expect((await client.delete('/auth/mfa')).status).toBe(204)
    expect(await client.get('/assets')).toMatchObject({
      status: 403,
      body: { code: 'second_factor_required', detail: expect.stringContaining('set one up') },
    })
    await addTotp(client)
    expect((await client.get('/assets')).status).toBe(200)
  })

  test('lets in sessions that were proved by one, and keys', async () => {
    const owner = await newTenant()
    const member = await addMember(owner.workspaceId, 'member')
    const { key } = await newKey(owner.client, ['asset.list'])
    expect(await demand(owner.client, owner.workspaceId)).toMatchObject({
      status: 403,
      body: { code: 'second_factor_required' },
    })
    await addTotp(owner.client)
    const answer = await demand(owner.client, owner.workspaceId)
    expect(answer).toMatchObject({ status: 200, body: { secondFactorRequired: true } })
    expect(await rowsOfRequest(answer.headers)).toMatchObject([
      {
        action: 'workspace.update',
        before: { second_factor_required: false },
        after: { second_factor_required: true },
      },
    ])
    const asked = await member.client.get('/assets')
    expect(asked).toMatchObject({ status: 403, body: { code: 'second_factor_required' } })
    expect(databaseRequestsOf(asked)).toBe(1)
    expect((await member.client.with({ workspaceId: undefined }).get('/assets')).status).toBe(403)
    expect((await owner.client.get('/assets')).status).toBe(200)
    expect((await createClient({ token: key }).get('/assets')).status).toBe(200)
    // Elsewhere nothing changes.
    const { body } = await member.client.post<{ id: string }>('/workspaces', { name: 'Own' })
    expect((await member.client.with({ workspaceId: body.id }).get('/assets')).status).toBe(200)

    const { secret } = await addTotp(member.client)
    const before = await byPassword(member.userId, owner.workspaceId)
    expect((await member.client.get('/assets')).status).toBe(200)
    expect((await before.get('/assets')).status).toBe(403)
    await stepUp(before, { code: codeOf(secret) })
    const read = await before.get('/assets')
    expect([read.status, databaseRequestsOf(read)]).toEqual([200, 1])
    // Old proofs do, for this.
    await grow(member.userId, 600)
    expect((await before.get('/assets')).status).toBe(200)
    await forgetUse(member.userId)
    const login = await confirmLogin(await mfaTokenOf(member.email), codeOf(secret))
    const again = createClient({ token: login.body.access_token, workspaceId: owner.workspaceId })
    expect((await again.get('/assets')).status).toBe(200)
    // Without the factor nobody is in any more.
    expect((await again.delete('/auth/mfa')).status).toBe(204)
    expect([(await again.get('/assets')).status, (await before.get('/assets')).status]).toEqual([403, 403])
    expect((await demand(owner.client, owner.workspaceId, false)).status).toBe(200)
    expect((await again.get('/assets')).status).toBe(200)
  })

  test('lets whoever has none leave, and remove nobody else', async () => {
    const owner = await newTenant()
    const [admin, member, other] = [
      await addMember(owner.workspaceId, 'admin'),
      await addMember(owner.workspaceId, 'member'),
      await addMember(owner.workspaceId, 'owner'),
    ]
    const { key } = await newKey(admin.client, ['asset.list'])
    await addTotp(owner.client)
    expect((await demand(owner.client, owner.workspaceId)).status).toBe(200)
    const remove = (by: Client, { userId }: { userId: string }) =>
      by.delete(`/workspaces/${owner.workspaceId}/members/${userId}`)
    for (const whom of [member, owner, { userId: NOBODY }]) {
      const refused = await remove(admin.client, whom)
      expect(refused).toMatchObject({ status: 403, body: { code: 'second_factor_required' } })
      expect(databaseRequestsOf(refused)).toBe(1)
    }
    // A thief of the password of somebody who has one.
    const careful = await addMember(owner.workspaceId, 'member')
    await addTotp(careful.client)
    const thief = await byPassword(careful.userId, owner.workspaceId)
    expect((await remove(thief, careful)).body.code).toBe('second_factor_required')
    expect((await remove(careful.client, careful)).status).toBe(204)
    for (const who of [member, admin]) {
      const left = await remove(who.client, who)
      expect([left.status, databaseRequestsOf(left)]).toEqual([204, 1])
      expect(await rowsOfRequest(left.headers)).toContainEqual(
        expect.objectContaining({ action: 'member.remove' }),
      )
      expect((await who.client.get('/assets')).status).toBe(404)
    }
    expect((await createClient({ token: key }).get('/assets')).status).toBe(401)
    // An owner's place is given up by who has proved themselves of late, as everywhere.
    await grow(other.userId, 20)
    expect((await remove(other.client, other)).body.code).toBe('step_up_required')
    await stepUp(other.client, { password: PASSWORD })
    expect((await remove(other.client, other)).status).toBe(204)
    expect((await remove(owner.client, owner)).body.code).toBe('last_owner')
  })

  test('is demanded by owners only', async () => {
    const owner = await newTenant()
    const admin = await addMember(owner.workspaceId, 'admin')
    await addTotp(admin.client)
    for (const value of [true, false]) {
      expect(await demand(admin.client, owner.workspaceId, value)).toMatchObject({
        status: 403,
        body: { code: 'forbidden' },
      })
    }
    expect((await admin.client.patch(`/workspaces/${owner.workspaceId}`, { name: 'x' })).status).toBe(200)
    expect(
      (await admin.client.patch(`/workspaces/${owner.workspaceId}`, { secondFactorRequired: 'x' })).status,
    ).toBe(422)
  })
})

describe("a front end's session", () => {
  const NAME = 'authjs.session-token'
  /** As Auth.js makes it, which says itself when. */
  const cookieOf = async ({ iat, ...claims }: Record<string, number>) => {
    const token = {
      sub: crypto.randomUUID(),
      provider: 'google',
      email: newEmail(),
      emailVerified: true,
      ...claims,
    }
    const encoded = () => encode({ token, secret: secrets.AUTH_SECRET as string, salt: NAME })
    if (iat === undefined) return encoded()
    vi.useFakeTimers({ now: iat * 1000, toFake: ['Date'] })
    return encoded().finally(() => vi.useRealTimers())
  }
  let client: (cookies?: string) => {
    request: (method: string, path: string, body?: unknown) => Promise<Answer>
  }
  let workspaceId: string
  beforeAll(async () => {
    const token = { sub: crypto.randomUUID(), provider: 'google', email: newEmail(), emailVerified: true }
    const value = await encode({ token, secret: secrets.AUTH_SECRET as string, salt: NAME })
    const api = createClient()
    client = (cookies = '') => ({
      request: (method, path, body) =>
        api.request<Json>(method, `/api/v1${path}`, body, {
          cookie: `${NAME}=${value}; ${cookies}`,
          origin: ORIGIN,
          ...(workspaceId && { 'x-workspace-id': workspaceId }),
        }),
    })
    workspaceId = (await client().request('POST', '/workspaces', { name: 'Store' })).body.id as string
  })

  test.each([
    [{ signedInAt: -901 }, 403],
    [{ signedInAt: -880 }, 201],
    [{ iat: -901 }, 403],
    [{ signedInAt: -880, iat: -901 }, 201],
    [{ signedInAt: -901, iat: 0 }, 403],
  ])('with %j s it may set up the first factor: %i', async (ages, status) => {
    const now = Math.floor(Date.now() / 1000)
    const times = Object.fromEntries(Object.entries(ages).map(([claim, age]) => [claim, now + age]))
    const request = createClient().request
    const headers = { cookie: `${NAME}=${await cookieOf(times)}`, origin: ORIGIN }
    const answer = await request<Json>('POST', '/api/v1/auth/mfa/totp', undefined, headers)
    expect(answer.status).toBe(status)
    if (status === 403) expect(answer.body.code).toBe('step_up_required')
    expect((await request('POST', '/api/v1/auth/passkeys/options', undefined, headers)).status).toBe(
      status === 201 ? 200 : 403,
    )
    // What else is dangerous the front end vouches for.
    expect((await request('DELETE', '/api/v1/auth/mfa', undefined, headers)).status).toBe(204)
  })

  test('is exempt until its person has a factor here, and then has to show it', async () => {
    const { request } = client()
    expect((await request('DELETE', '/auth/mfa')).status).toBe(204)
    const begun = await request('POST', '/auth/mfa/totp')
    const secret = begun.body.secret as string
    const confirmed = await request('POST', '/auth/mfa/totp/confirm', { code: codeOf(secret, -1) })
    expect(confirmed.status).toBe(200)
    const ownerInvite = { email: newEmail(), role: 'owner' }
    for (const [method, path, body] of [
      ['DELETE', '/auth/mfa'],
      ['POST', '/api-keys', { name: 'x', scopes: ['asset.list'] }],
      ['POST', `/workspaces/${workspaceId}/invites`, ownerInvite],
    ] as const) {
      expect(await request(method, path, body)).toMatchObject({
        status: 403,
        body: { code: 'step_up_required' },
      })
    }
    const demand = { secondFactorRequired: true }
    expect((await request('PATCH', `/workspaces/${workspaceId}`, demand)).body.code).toBe(
      'second_factor_required',
    )

    expect((await request('POST', '/auth/step-up', { code: '000000' })).status).toBe(401)
    const proved = await request('POST', '/auth/step-up', { code: codeOf(secret) })
    expect(proved.status).toBe(204)
    expect(await rowsOfRequest(proved.headers)).toMatchObject([
      { action: 'session.prove', actor_type: 'user' },
    ])
    const cookie = proved.headers.get('set-cookie') ?? ''
    expect(cookie).toMatch(/^step-up=[\w.-]+; Max-Age=43200; Path=\/api\/v1; HttpOnly; SameSite=Lax$/)
    const [pair = ''] = cookie.split(';')
    const with_ = client(pair)
    expect((await with_.request('PATCH', `/workspaces/${workspaceId}`, demand)).status).toBe(200)
    expect((await with_.request('GET', '/assets')).status).toBe(200)
    expect((await request('GET', '/assets')).body.code).toBe('second_factor_required')
    expect((await with_.request('POST', '/api-keys', { name: 'x', scopes: ['asset.list'] })).status).toBe(201)
    expect((await with_.request('POST', `/workspaces/${workspaceId}/invites`, ownerInvite)).status).toBe(201)
    // Of another browser or person, forged, or of another purpose, it is nothing.
    const other = await newTenant()
    await addTotp(other.client)
    const token = await mfaTokenOf(other.email)
    const [name, mac] = pair.slice('step-up='.length).split('.')
    const claims = JSON.parse(Buffer.from(name ?? '', 'base64url').toString())
    const renewed = Buffer.from(JSON.stringify({ ...claims, at: claims.at + 900 })).toString('base64url')
    for (const value of ['x', '', token, `${renewed}.${mac}`]) {
      expect((await client(`step-up=${value}`).request('GET', '/assets')).status, value).toBe(403)
    }
    const agedBy = (seconds: number) =>
      client(`step-up=${resign(pair.slice('step-up='.length), 'step-up', { at: claims.at - seconds })}`)
    expect((await agedBy(0).request('POST', '/api-keys', { name: 'x', scopes: ['asset.list'] })).status).toBe(
      201,
    )
    expect((await agedBy(901).request('GET', '/assets')).status).toBe(200)
    expect((await agedBy(901).request('POST', '/auth/mfa/totp')).body.code).toBe('step_up_required')
    // Nor is it once a password was set, as by a reset.
    const setPassword = (hash: string | null) =>
      asOwner('update users set password_hash = $2 where id = $1', [claims.userId, hash])
    await setPassword('x')
    expect((await with_.request('GET', '/assets')).status).toBe(403)
    await setPassword(null)
    expect((await with_.request('GET', '/assets')).status).toBe(200)
    // Without factors nothing is left of it, nor with another one.
    expect((await with_.request('DELETE', '/auth/mfa')).status).toBe(204)
    expect((await with_.request('GET', '/assets')).status).toBe(403)
    expect((await request('DELETE', '/auth/mfa')).status).toBe(204)
    const next = (await request('POST', '/auth/mfa/totp')).body.secret as string
    expect((await request('POST', '/auth/mfa/totp/confirm', { code: codeOf(next, -1) })).status).toBe(200)
    expect((await with_.request('GET', '/assets')).status).toBe(403)
    expect((await request('POST', '/auth/step-up', { code: codeOf(next) })).status).toBe(204)
  })
})
