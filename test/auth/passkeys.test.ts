/** Passkeys: made and used by an authenticator in software, and refused when anything about them is wrong. */
import { describe, expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { rowsOfRequest } from '../support/audit.ts'
import {
  addPasskey,
  creationOptionsOf,
  type Faults,
  newAuthenticator,
  requestOptions,
  signInBy,
} from '../support/authenticator.ts'
import { type Client, createClient, type Page } from '../support/client.ts'
import { asOwner } from '../support/database.ts'
import { addTotp, codeOf, confirmLogin, mfaTokenOf } from '../support/factors.ts'
import { mailTo } from '../support/mail.ts'
import { databaseRequestsOf } from '../support/routes.ts'
import { logIn, newMailToken, PASSWORD, signUp } from '../support/tenants.ts'
import { claimsOf, inForce, over, resign } from '../support/tokens.ts'

const newPerson = async (authenticator = newAuthenticator()) => {
  const person = await signUp()
  const { id, recoveryCodes } = await addPasskey(person.client, authenticator)
  return { ...person, passkeyId: id, recoveryCodes, authenticator }
}

const register = (client: Client, passkey: unknown) => client.post('/auth/passkeys', { passkey })

const passkeysOf = async (client: Client) =>
  (await client.get<Page<{ id: string; name: string; lastUsedAt: string | null }>>('/auth/passkeys')).body
    .data

const confirmBy = (mfaToken: string, passkey: unknown) =>
  createClient().post('/auth/login/mfa', { mfa_token: mfaToken, passkey })

describe('a new passkey', () => {
  test('is made for the relying party, kept, listed, and comes with recovery codes', async () => {
    const { client, email, userId } = await signUp()
    const options = await client.post('/auth/passkeys/options')
    expect(options).toMatchObject({
      status: 200,
      body: {
        rp: { id: 'localhost' },
        user: { id: Buffer.from(userId.replaceAll('-', ''), 'hex').toString('base64url'), name: email },
        excludeCredentials: [],
        attestation: 'none',
      },
    })
    expect(databaseRequestsOf(options)).toBe(1)
    const authenticator = newAuthenticator()
    const answer = await client.post<{ id: string; recoveryCodes: string[] }>('/auth/passkeys', {
      name: 'Laptop',
      passkey: authenticator.create(options.body as never),
    })
    expect(answer).toMatchObject({ status: 201, body: { name: 'Laptop', backedUp: false, lastUsedAt: null } })
    expect(databaseRequestsOf(answer)).toBe(1)
    expect(answer.body.recoveryCodes.length).toBe(10)
    expect(await rowsOfRequest(answer.headers)).toMatchObject([
      { action: 'passkey.create', resource_id: answer.body.id, after: { name: 'Laptop' } },
    ])
    expect(await passkeysOf(client)).toMatchObject([{ id: answer.body.id, name: 'Laptop' }])
    expect((await creationOptionsOf(client)).excludeCredentials).toMatchObject([{ id: authenticator.id }])
    expect((await client.get('/auth/mfa')).body).toEqual({
      methods: ['passkey', 'recovery_code'],
      recoveryCodesLeft: 10,
    })
    // The second one brings none.
    expect((await addPasskey(client)).recoveryCodes).toBeUndefined()
  })

  test.each<[string, Faults, RegExp]>([
    ['from another origin', { origin: 'https://localhost.evil.example' }, /another origin/],
    ['from the same host by another port', { origin: 'http://localhost:3001' }, /another origin/],
    ['for another relying party', { relyingParty: 'evil.example' }, /relying party/],
    ['without a user who was verified', { unverified: true }, /verify/],
    ['with a challenge of its own', { challenge: Buffer.from('x.y').toString('base64url') }, /challenge/],
    ['with no challenge', { challenge: '' }, /challenge/],
    ['that is an assertion', { type: 'webauthn.get' }, /something else/],
    ['with certificates', { certificates: Buffer.from('x') }, /not what/],
  ])('%s is refused', async (_, faults, detail) => {
    const { client, email } = await signUp()
    const passkey = newAuthenticator().create(await creationOptionsOf(client), faults)
    const answer = await register(client, passkey)
    expect(answer).toMatchObject({ status: 401, body: { code: 'invalid_passkey' } })
    expect(answer.body.detail).toMatch(detail)
    expect(databaseRequestsOf(answer)).toBe(0)
    expect((await logIn(email)).status).toBe(200)
  })

  test('that is garbage is refused with 4xx', async () => {
    const { client } = await signUp()
    const passkey = newAuthenticator().create(await creationOptionsOf(client))
    const change = (response: object) => ({ ...passkey, response: { ...passkey.response, ...response } })
    const big = Buffer.alloc(9000, 0xbf).toString('base64url')
    for (const garbage of [
      change({ attestationObject: 'AAAA' }),
      change({ attestationObject: big }),
      change({ attestationObject: passkey.response.attestationObject.slice(0, -40) }),
      change({ clientDataJSON: 'AAAA' }),
      change({ clientDataJSON: Buffer.from('null').toString('base64url') }),
      { ...passkey, id: newAuthenticator().id },
    ]) {
      expect(await register(client, garbage)).toMatchObject({
        status: 401,
        body: { code: 'invalid_passkey' },
      })
    }
    for (const garbage of [
      null,
      {},
      [],
      { ...passkey, id: 'ü' },
      change({ attestationObject: 7 }),
      change({ attestationObject: 'A'.repeat(20_001) }),
      change({ transports: ['\u0000'] }),
      change({ transports: ['\ud800'] }),
      change({ transports: ['x'.repeat(21)] }),
    ]) {
      expect((await register(client, garbage)).status).toBe(422)
    }
    expect((await register(client, passkey)).status).toBe(201)
  })

  test('works once: neither twice, nor for somebody else, nor under a name that another has', async () => {
    const [one, other] = [await signUp(), await signUp()]
    const authenticator = newAuthenticator()
    const passkey = authenticator.create(await creationOptionsOf(one.client))
    // Somebody else's, before and after it is used.
    expect((await register(other.client, passkey)).body.code).toBe('invalid_passkey')
    const answers = await times(4, () => register(one.client, passkey))
    expect(tally(answers)).toEqual({ 201: 1, 401: 3 })
    expect(answers.find(({ status }) => status === 401)?.body.code).toBe('token_used')
    expect((await register(other.client, passkey)).body.code).toBe('invalid_passkey')
    const same = authenticator.create(await creationOptionsOf(other.client))
    expect(await register(other.client, same)).toMatchObject({
      status: 409,
      body: { code: 'already_enrolled' },
    })
    expect((await passkeysOf(other.client)).length).toBe(0)
  })

  test('is refused when there are twenty', async () => {
    const { client, userId } = await newPerson()
    await asOwner(
      `insert into passkeys (id, user_id, name, credential_id, public_key, counter, transports, backed_up)
       select gen_random_uuid(), $1, 'x', gen_random_uuid()::text, 'x', 0, '{}', false from generate_series(1, 18)`,
      [userId],
    )
    const options = await times(3, () => creationOptionsOf(client))
    const answers = await Promise.all(options.map((one) => register(client, newAuthenticator().create(one))))
    expect(tally(answers)).toEqual({ 201: 1, 409: 2 })
  })
})

describe('signing in by a passkey alone', () => {
  test.each([true, false])('makes a session, whether it counts (%s) or not', async (counts) => {
    const person = await newPerson(newAuthenticator({ counts }))
    const options = await createClient().post('/auth/login/passkey/options')
    expect(databaseRequestsOf(options)).toBe(0)
    const answer = await signInBy(person.authenticator.get(options.body as never))
    expect(answer.status, JSON.stringify(answer.body)).toBe(200)
    expect(databaseRequestsOf(answer)).toBe(2)
    expect(claimsOf(answer.body.access_token).sub).toBe(person.userId)
    expect(await rowsOfRequest(answer.headers)).toMatchObject([
      { action: 'session.assert', actor_id: person.userId },
    ])
    const [passkey] = await passkeysOf(person.client)
    expect(passkey?.lastUsedAt).not.toBeNull()
    expect((await signInBy(person.authenticator.get(await requestOptions()))).status).toBe(200)
  })

  test.each<[string, Faults, RegExp]>([
    ['from another origin', { origin: 'https://evil.example' }, /another origin/],
    ['for another relying party', { relyingParty: 'evil.example' }, /relying party/],
    ['without a user who was verified', { unverified: true }, /verify/],
    ['with a challenge of its own', { challenge: 'AAAA' }, /challenge/],
    ['whose counter went back', { counter: 1 }, /counter/],
    ['whose counter began again', { counter: 0 }, /counter/],
    ["with somebody else's handle", { userHandle: 'AAAA' }, /another account/],
    ['with a wrong signature', { broken: true }, /signature|changed/],
    ['that is a registration', { type: 'webauthn.create' }, /something else/],
  ])('is refused with an assertion %s', async (_, faults, detail) => {
    const person = await newPerson()
    expect((await signInBy(person.authenticator.get(await requestOptions()))).status).toBe(200)
    const answer = await signInBy(person.authenticator.get(await requestOptions(), faults))
    expect(answer).toMatchObject({ status: 401, body: { code: 'invalid_passkey' } })
    expect(answer.body.detail).toMatch(detail)
    expect(await rowsOfRequest(answer.headers)).toMatchObject([
      { action: 'session.refuse', resource_id: person.userId },
    ])
    expect((await signInBy(person.authenticator.get(await requestOptions(), { counter: 9 }))).status).toBe(
      200,
    )
  })

  test('is refused with an assertion that was used, also ten times at once', async () => {
    for (const counts of [true, false]) {
      const person = await newPerson(newAuthenticator({ counts }))
      const assertion = person.authenticator.get(await requestOptions())
      const answers = await times(10, () => signInBy(assertion))
      expect(tally(answers)).toEqual({ 200: 1, 401: 9 })
      const late = await signInBy(assertion)
      expect(late).toMatchObject({ status: 401 })
      expect(late.body.code).toBe(counts ? 'invalid_passkey' : 'token_used')
    }
  })

  test('is refused with a challenge that is over', async () => {
    const person = await newPerson()
    const signed = Buffer.from((await requestOptions()).challenge, 'base64url').toString()
    const use = (challenge: string) =>
      signInBy(person.authenticator.get({ challenge: Buffer.from(challenge).toString('base64url') }))
    const late = await use(resign(signed, 'challenge', over()))
    expect(late).toMatchObject({ status: 401, body: { code: 'invalid_passkey' } })
    expect(late.body.detail).toMatch(/challenge has expired/)
    expect((await use(resign(signed, 'challenge', inForce()))).status).toBe(200)
  })

  test('is refused with a challenge that was for a new passkey', async () => {
    const person = await newPerson()
    const answer = await signInBy(person.authenticator.get(await creationOptionsOf(person.client)))
    expect(answer).toMatchObject({ status: 401, body: { code: 'invalid_passkey' } })
  })

  test('is refused when the passkey is unknown, was deleted, or its person is disabled', async () => {
    const person = await newPerson()
    expect((await signInBy(newAuthenticator().get(await requestOptions()))).body.code).toBe('invalid_passkey')
    const deleted = await person.client.delete(`/auth/passkeys/${person.passkeyId}`)
    expect(deleted.status).toBe(204)
    expect((await rowsOfRequest(deleted.headers)).map(({ action }) => action)).toEqual(['passkey.delete'])
    expect((await signInBy(person.authenticator.get(await requestOptions()))).body.code).toBe(
      'invalid_passkey',
    )
    expect((await logIn(person.email)).status).toBe(200)
    const other = await newPerson()
    await asOwner('update users set disabled_at = now() where id = $1', [other.userId])
    expect((await signInBy(other.authenticator.get(await requestOptions()))).body.code).toBe('unauthorized')
  })

  test('another person can neither see nor delete it', async () => {
    const [person, other] = [await newPerson(), await signUp()]
    expect(await passkeysOf(other.client)).toEqual([])
    expect((await other.client.delete(`/auth/passkeys/${person.passkeyId}`)).status).toBe(404)
    expect((await signInBy(person.authenticator.get(await requestOptions()))).status).toBe(200)
  })
})

describe('with addresses', () => {
  test('whoever takes a former address back is rid of factors that were set up around the change', async () => {
    const person = await newPerson()
    await asOwner(`update passkeys set created_at = now() - interval '2 days' where id = $1`, [
      person.passkeyId,
    ])
    const { authenticator: thiefs } = await addPasskey(person.client)
    const { secret, recoveryCodes } = await addTotp(person.client)
    const token = await newMailToken(person, 'email_changed')
    const undone = await createClient().post('/auth/email/change/undo', { token })
    expect(undone.status, JSON.stringify(undone.body)).toBe(204)
    expect((await signInBy(thiefs.get(await requestOptions()))).body.code).toBe('invalid_passkey')
    await createClient().post('/auth/password/reset/confirm', {
      token: await newMailToken(person, 'reset'),
      newPassword: PASSWORD,
    })
    expect(await logIn(person.email)).toMatchObject({ status: 202, body: { methods: ['passkey'] } })
    for (const code of [codeOf(secret, 1), recoveryCodes[0] as string]) {
      expect((await confirmLogin(await mfaTokenOf(person.email), code)).body.code).toBe('invalid_code')
    }
    expect((await signInBy(person.authenticator.get(await requestOptions()))).status).toBe(200)
  })

  test('a reset of the password removes the factors of the last day, and their recovery codes', async () => {
    const person = await newPerson()
    const app = await addTotp(person.client)
    const reset = async () =>
      createClient().post('/auth/password/reset/confirm', {
        token: await newMailToken(person, 'reset'),
        newPassword: PASSWORD,
      })
    await asOwner(`update passkeys set created_at = now() - interval '25 hours' where id = $1`, [
      person.passkeyId,
    ])
    // A secret that has waited for long is as young as its confirmation.
    await asOwner(`update totp_secrets set created_at = now() - interval '25 hours' where user_id = $1`, [
      person.userId,
    ])
    expect((await reset()).status).toBe(200)
    expect((await mailTo(person.email, /was reset/)).text).toContain('second factors of the last day removed')
    expect(await logIn(person.email)).toMatchObject({ status: 202, body: { methods: ['passkey'] } })
    const token = await mfaTokenOf(person.email)
    for (const code of [codeOf(app.secret, 1), app.recoveryCodes[0] as string]) {
      expect((await confirmLogin(token, code)).body.code).toBe('invalid_code')
    }
    await asOwner('update passkeys set created_at = now() where id = $1', [person.passkeyId])
    expect((await reset()).status).toBe(200)
    expect((await logIn(person.email)).status).toBe(200)
  })

  test('a mail tells of each factor that comes or goes, where an address is proved', async () => {
    const { client, userId } = await signUp()
    const kinds = async () =>
      (
        await asOwner<{ kind: string }>(
          `select kind from mails where user_id = $1 and kind like 'factor%' order by created_at`,
          [userId],
        )
      ).map(({ kind }) => kind)
    await client.delete('/auth/mfa')
    const { id } = await addPasskey(client)
    await addTotp(client)
    expect(await kinds()).toEqual(['factor_added', 'factor_added'])
    expect((await client.delete(`/auth/passkeys/${crypto.randomUUID()}`)).status).toBe(404)
    await client.delete(`/auth/passkeys/${id}`)
    await client.delete('/auth/mfa')
    await client.delete('/auth/mfa')
    expect((await kinds()).slice(2)).toEqual(['factor_removed', 'factor_removed'])
    await asOwner('update users set email_verified_at = null where id = $1', [userId])
    await addTotp(client)
    expect(await kinds()).toHaveLength(4)
  })

  test('a reset of the password leaves older factors as they are', async () => {
    const person = await newPerson()
    await asOwner(`update passkeys set created_at = now() - interval '25 hours' where user_id = $1`, [
      person.userId,
    ])
    const newPassword = `another ${PASSWORD}`
    await createClient().post('/auth/password/reset/confirm', {
      token: await newMailToken(person, 'reset'),
      newPassword,
    })
    expect((await logIn(person.email, newPassword)).status).toBe(202)
  })

  test('somebody who has lost theirs can set up factors, and sign in by them', async () => {
    const { client, userId } = await signUp()
    await asOwner('update users set email = null, email_verified_at = null where id = $1', [userId])
    const { authenticator } = await addPasskey(client)
    await addTotp(client)
    const answer = await signInBy(authenticator.get(await requestOptions()))
    expect(claimsOf(answer.body.access_token).sub).toBe(userId)
  })
})

describe('as the second step', () => {
  test('a passkey completes a sign-in by password, and so does a recovery code', async () => {
    const person = await newPerson()
    expect(await logIn(person.email)).toMatchObject({
      status: 202,
      body: { methods: ['passkey', 'recovery_code'] },
    })
    const passkey = person.authenticator.get(await requestOptions())
    const token = await mfaTokenOf(person.email)
    expect((await confirmBy(token, passkey)).status).toBe(200)
    // Neither the token nor the assertion once more.
    const again = person.authenticator.get(await requestOptions())
    expect(await confirmBy(token, again)).toMatchObject({ status: 401, body: { code: 'token_used' } })
    expect((await confirmBy(await mfaTokenOf(person.email), passkey)).status).toBe(401)
    const [code = ''] = person.recoveryCodes ?? []
    expect((await confirmLogin(await mfaTokenOf(person.email), code)).status).toBe(200)
  })

  test("another person's passkey is refused, and guesses of codes do not keep a passkey out", async () => {
    const [person, other] = [await newPerson(), await newPerson()]
    const token = await mfaTokenOf(person.email)
    const theirs = other.authenticator.get(await requestOptions())
    expect(await confirmBy(token, theirs)).toMatchObject({ status: 401, body: { code: 'invalid_passkey' } })
    for (let i = 0; i < 11; i++) await confirmLogin(token, '123456')
    expect((await confirmLogin(token, '123456')).status).toBe(429)
    expect((await confirmBy(token, person.authenticator.get(await requestOptions()))).status).toBe(200)
  })

  test('either a code or a passkey is taken', async () => {
    const person = await newPerson()
    const token = await mfaTokenOf(person.email)
    const both = {
      mfa_token: token,
      code: '123456',
      passkey: person.authenticator.get(await requestOptions()),
    }
    for (const body of [both, { mfa_token: token }, { ...both, passkey: {} }]) {
      expect((await createClient().post('/auth/login/mfa', body)).status).toBe(422)
    }
  })

  test('recovery codes stay until the last factor goes', async () => {
    const person = await newPerson()
    await asOwner('delete from recovery_codes where user_id = $1', [person.userId])
    const { recoveryCodes } = await addTotp(person.client)
    await person.client.delete('/auth/mfa')
    expect((await confirmLogin(await mfaTokenOf(person.email), recoveryCodes[0] as string)).status).toBe(200)
    await person.client.delete(`/auth/passkeys/${person.passkeyId}`)
    expect((await person.client.get('/auth/mfa')).body).toEqual({ methods: [], recoveryCodesLeft: 0 })
    expect((await logIn(person.email, PASSWORD)).status).toBe(200)
  })
})
