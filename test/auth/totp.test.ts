/** Authenticator apps and recovery codes: setting up, signing in with them, and whatever is tried against them. */
import { v7 as uuidv7 } from 'uuid'
import { describe, expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { rowsOfRequest } from '../support/audit.ts'
import { addPasskey } from '../support/authenticator.ts'
import { type Client, createClient } from '../support/client.ts'
import { asOwner } from '../support/database.ts'
import {
  addTotp,
  beginTotp,
  codeOf,
  confirmLogin,
  encryptBy,
  factorKeys,
  forgetUse,
  hashBy,
  mfaTokenOf,
} from '../support/factors.ts'
import { mailRowsOf, mailTo } from '../support/mail.ts'
import { logIn, PASSWORD, signUp } from '../support/tenants.ts'
import { claimsOf, inForce, newClaims, over, resign, signToken } from '../support/tokens.ts'
import { waitFor } from '../support/wait-for.ts'

const newPerson = async () => {
  const person = await signUp()
  return { ...person, ...(await addTotp(person.client)) }
}

const confirm = (client: Awaited<ReturnType<typeof signUp>>['client'], code: string) =>
  client.post<{ recoveryCodes: string[] }>('/auth/mfa/totp/confirm', { code })

describe('setting up', () => {
  test('a secret counts once a code of it has come, and is encrypted at rest', async () => {
    const { client, email, userId } = await signUp()
    const begun = await client.post<{ secret: string; otpauthUrl: string }>('/auth/mfa/totp')
    expect(begun.status).toBe(201)
    expect(begun.headers.get('cache-control')).toBe('no-store')
    const { secret, otpauthUrl } = begun.body
    expect(secret).toMatch(/^[A-Z2-7]{32}$/)
    expect(otpauthUrl).toContain(`otpauth://totp/localhost:${encodeURIComponent(email)}?secret=${secret}`)
    expect((await logIn(email)).status).toBe(200)
    expect((await client.get('/auth/mfa')).body).toEqual({ methods: [], recoveryCodesLeft: 0 })

    const answer = await confirm(client, codeOf(secret))
    expect(answer.status).toBe(200)
    expect(new Set(answer.body.recoveryCodes).size).toBe(10)
    for (const code of answer.body.recoveryCodes) expect(code).toMatch(/^[A-Z2-7]{5}-[A-Z2-7]{5}$/)
    expect((await client.get('/auth/mfa')).body).toEqual({
      methods: ['totp', 'recovery_code'],
      recoveryCodesLeft: 10,
    })
    const login = await logIn(email)
    expect(login).toMatchObject({
      status: 202,
      body: { expires_in: 300, methods: ['totp', 'recovery_code'] },
    })

    const stored = JSON.stringify([
      await asOwner('select * from totp_secrets where user_id = $1', [userId]),
      await asOwner('select * from recovery_codes where user_id = $1', [userId]),
    ])
    expect(stored).not.toContain(secret)
    for (const code of answer.body.recoveryCodes) expect(stored).not.toContain(code.replace('-', ''))
    const rows = [await rowsOfRequest(begun.headers), await rowsOfRequest(answer.headers)]
    expect(rows.map((all) => all.map(({ action }) => action))).toEqual([['totp.create'], ['totp.confirm']])
    expect(JSON.stringify(rows)).not.toContain('secret')
  })

  test('a second secret replaces the first while it waits, and not later', async () => {
    const { client } = await signUp()
    const [first, second] = [await beginTotp(client), await beginTotp(client)]
    expect(await confirm(client, codeOf(first.secret))).toMatchObject({
      status: 401,
      body: { code: 'invalid_code' },
    })
    expect((await confirm(client, codeOf(second.secret))).status).toBe(200)
    expect(await client.post('/auth/mfa/totp')).toMatchObject({
      status: 409,
      body: { code: 'already_enrolled' },
    })
    const again = await confirm(client, codeOf(second.secret, 1))
    expect(again).toMatchObject({ status: 409, body: { code: 'already_enrolled' } })
    expect(again.body).toMatchObject({ detail: expect.stringContaining('POST /auth/mfa/recovery-codes') })
  })

  test('codes are taken as apps and people write them, and what can be none is no guess', async () => {
    const { client, email } = await signUp()
    const { secret } = await beginTotp(client)
    for (const code of ['12345a', '12345', '1234567', '', 'ABCDE-23456', '１２３４５６']) {
      expect(await confirm(client, code)).toMatchObject({
        status: 422,
        body: { errors: [{ pointer: '/code', message: 'must be the 6 digits that the app shows' }] },
      })
    }
    const shown = codeOf(secret, -1).replace(/^.../, ' $& ')
    expect((await confirm(client, `${shown} `)).status).toBe(200)
    const token = await mfaTokenOf(email)
    for (let i = 0; i < 12; i++) {
      expect((await confirmLogin(token, '12345')).status).toBe(422)
      expect((await client.post('/auth/step-up', { code: 'nonsense' })).status).toBe(422)
    }
    expect((await confirmLogin(token, codeOf(secret).replace(/^.../, '$&-'))).status).toBe(200)
    expect((await client.post('/auth/step-up', { code: `${codeOf(secret, 1)}\n` })).status).toBe(204)
  })

  test('of two confirmations at once one is answered with codes, and they work', async () => {
    const { client, email } = await signUp()
    const { secret } = await beginTotp(client)
    const answers = await times(4, () => confirm(client, codeOf(secret)))
    expect(tally(answers)).toEqual({ 200: 1, 409: 3 })
    const { body } = answers.find(({ status }) => status === 200) as (typeof answers)[number]
    const login = await confirmLogin(await mfaTokenOf(email), body.recoveryCodes[3] as string)
    expect(login.status).toBe(200)
  })

  test('the first factor ends the other sessions, and no later one does', async () => {
    const person = await signUp()
    const old = createClient({ token: (await logIn(person.email)).body.access_token })
    const { secret } = await addTotp(person.client)
    expect((await old.get('/auth/me')).status).toBe(401)
    expect((await person.client.get('/auth/me')).status).toBe(200)
    const login = await confirmLogin(await mfaTokenOf(person.email), codeOf(secret))
    await addPasskey(person.client)
    expect((await createClient({ token: login.body.access_token }).get('/auth/me')).status).toBe(200)
    const other = await signUp()
    const theirs = createClient({ token: (await logIn(other.email)).body.access_token })
    await addPasskey(other.client)
    expect((await theirs.get('/auth/me')).status).toBe(401)
  })

  test('another person can confirm or remove nothing of it', async () => {
    const [victim, other] = [await signUp(), await signUp()]
    const { secret } = await beginTotp(victim.client)
    expect(await confirm(other.client, codeOf(secret))).toMatchObject({
      status: 404,
      body: { detail: expect.stringContaining('begin with POST /auth/mfa/totp') },
    })
    await confirm(victim.client, codeOf(secret))
    expect((await other.client.delete('/auth/mfa')).status).toBe(204)
    expect((await logIn(victim.email)).status).toBe(202)
    expect((await logIn(other.email)).status).toBe(200)
  })

  test('turned off, the password is enough, and recovery codes are gone', async () => {
    const person = await newPerson()
    const token = await mfaTokenOf(person.email)
    const answer = await person.client.delete('/auth/mfa')
    expect(answer.status).toBe(204)
    expect((await rowsOfRequest(answer.headers)).map(({ action }) => action)).toEqual(['totp.delete'])
    expect((await logIn(person.email)).status).toBe(200)
    for (const code of [codeOf(person.secret, 1), person.recoveryCodes[0] as string]) {
      expect(await confirmLogin(token, code)).toMatchObject({ status: 401, body: { code: 'invalid_code' } })
    }
    expect((await asOwner('select * from recovery_codes where user_id = $1', [person.userId])).length).toBe(0)
    expect((await person.client.delete('/auth/mfa')).status).toBe(204)
    await addTotp(person.client)
    expect((await logIn(person.email)).status).toBe(202)
  })
})

describe('at rest', () => {
  const storedOf = async (userId: string) =>
    (await asOwner<{ secret: string }>('select secret from totp_secrets where user_id = $1', [userId]))[0]
      ?.secret ?? ''

  test("a secret that was copied to somebody else is nobody's", async () => {
    const [attacker, victim] = [await newPerson(), await newPerson()]
    const copy = await storedOf(attacker.userId)
    await asOwner('update totp_secrets set secret = $2 where user_id = $1', [victim.userId, copy])
    expect(await confirmLogin(await mfaTokenOf(victim.email), codeOf(attacker.secret))).toMatchObject({
      status: 503,
      body: { code: 'misconfigured' },
    })
  })

  test.each(['sign-in', 'step-up'])(
    'a secret of a former key is of the one in front after a %s',
    async (how) => {
      const person = await newPerson()
      const [front, former] = factorKeys
      if (!front || !former) throw new Error('there have to be two keys')
      const old = encryptBy(former, person)
      await asOwner('update totp_secrets set secret = $2 where user_id = $1', [person.userId, old])
      const use = async (code: string) =>
        how === 'sign-in'
          ? (await confirmLogin(await mfaTokenOf(person.email), code)).status
          : (await person.client.post('/auth/step-up', { code })).status
      const right = how === 'sign-in' ? 200 : 204
      expect(await use(codeOf(person.secret))).toBe(right)
      const renewed = await storedOf(person.userId)
      expect([old.split('.')[0], renewed.split('.')[0]]).toEqual([former.kid, front.kid])
      expect(await use(codeOf(person.secret, 1))).toBe(right)
      expect(await storedOf(person.userId)).toBe(renewed)

      const stored = hashBy(former, person.userId, 'ABCDE23456')
      await asOwner('insert into recovery_codes (user_id, code_hash) values ($1, $2)', [
        person.userId,
        stored,
      ])
      expect(await use('ABCDE-23456')).toBe(right)
      expect(await use('ABCDE-23456')).toBe(401)
    },
  )

  test("a secret of a key that is gone is the operator's fault", async () => {
    const person = await newPerson()
    const gone = (await storedOf(person.userId)).replace(/^[^.]+/, 'gone')
    await asOwner('update totp_secrets set secret = $2 where user_id = $1', [person.userId, gone])
    expect(await confirmLogin(await mfaTokenOf(person.email), codeOf(person.secret))).toMatchObject({
      status: 503,
      body: { code: 'misconfigured' },
    })
  })
})

describe('new recovery codes', () => {
  const renew = (client: Client) => client.post<{ recoveryCodes: string[] }>('/auth/mfa/recovery-codes')

  test('work, those from before do not, and a mail tells of it', async () => {
    const person = await newPerson()
    const answer = await renew(person.client)
    expect([answer.status, answer.headers.get('cache-control')]).toEqual([201, 'no-store'])
    expect(new Set([...answer.body.recoveryCodes, ...person.recoveryCodes]).size).toBe(20)
    expect(await rowsOfRequest(answer.headers)).toMatchObject([
      { action: 'recovery_code.create', actor_id: person.userId, resource_id: person.userId, after: null },
    ])
    await mailTo(person.email, /new recovery codes/)
    const [old = '', fresh = ''] = [person.recoveryCodes[0], answer.body.recoveryCodes[0]]
    expect((await confirmLogin(await mfaTokenOf(person.email), old)).body.code).toBe('invalid_code')
    expect((await confirmLogin(await mfaTokenOf(person.email), fresh)).status).toBe(200)
    expect((await person.client.get('/auth/mfa')).body).toMatchObject({ recoveryCodesLeft: 9 })
    // The app still works.
    expect((await confirmLogin(await mfaTokenOf(person.email), codeOf(person.secret))).status).toBe(200)
  })

  test('are for whoever has a second factor, and has shown it lately', async () => {
    const { client } = await signUp()
    expect(await renew(client)).toMatchObject({ status: 403, body: { code: 'second_factor_required' } })
    const person = await newPerson()
    await asOwner(`update sessions set proved_at = now() - interval '16 minutes' where user_id = $1`, [
      person.userId,
    ])
    expect(await renew(person.client)).toMatchObject({ status: 403, body: { code: 'step_up_required' } })
    expect((await person.client.get('/auth/mfa')).body).toMatchObject({ recoveryCodesLeft: 10 })
  })

  test('of two at once the later ones count', async () => {
    const person = await newPerson()
    const answers = await times(3, () => renew(person.client))
    expect(tally(answers)).toEqual({ 201: 3 })
    expect((await person.client.get('/auth/mfa')).body).toMatchObject({ recoveryCodesLeft: 10 })
  })
})

test('factors come to an end for a day, and can still be removed', async () => {
  const person = await newPerson()
  const statuses: number[] = []
  for (let i = 0; i < 20; i++) {
    statuses.push((await person.client.post('/auth/mfa/recovery-codes')).status)
  }
  // The app was the first of twenty.
  expect(statuses).toEqual([...Array(19).fill(201), 429])
  expect((await person.client.post('/auth/mfa/totp')).status).toBe(429)
  await expect(addPasskey(person.client)).rejects.toThrow('429')
  expect((await person.client.delete('/auth/mfa')).status).toBe(204)
})

test('who has found an open session uses up none of the factors of its person', async () => {
  const person = await signUp()
  const id = uuidv7()
  await asOwner(
    `insert into sessions (id, user_id, refresh_hash, expires_at, proved_at)
     values ($1, $2, $3, now() + interval '1 day', now() - interval '1 day')`,
    [id, person.userId, crypto.randomUUID()],
  )
  const thief = createClient({ token: await signToken(newClaims(person.userId, id)) })
  for (let i = 0; i < 25; i++) {
    expect((await thief.post('/auth/mfa/totp')).status).not.toBe(201)
    // Nor by what is no passkey.
    expect((await thief.post('/auth/passkeys', {})).status).toBe(422)
  }
  await waitFor('what they took', async () => (await person.client.post('/auth/mfa/totp')).status === 201)
})

describe('signing in', () => {
  test('takes the password and a code, which works once', async () => {
    const person = await newPerson()
    const code = codeOf(person.secret)
    const answer = await confirmLogin(await mfaTokenOf(person.email), code)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const me = await createClient({ token: answer.body.access_token }).get('/auth/me')
    expect(me.body).toMatchObject({ email: person.email })
    expect(await rowsOfRequest(answer.headers)).toMatchObject([
      {
        action: 'session.confirm',
        actor_id: person.userId,
        resource_id: claimsOf(answer.body.access_token).sid,
      },
    ])
    // The same code again, and the one before it.
    const reused = await confirmLogin(await mfaTokenOf(person.email), code)
    expect(reused).toMatchObject({ status: 401, body: { code: 'invalid_code' } })
    expect(await rowsOfRequest(reused.headers)).toMatchObject([
      { action: 'session.refuse', resource_id: person.userId },
    ])
    const before = await confirmLogin(await mfaTokenOf(person.email), codeOf(person.secret, -1))
    expect(before.body.code).toBe('invalid_code')
    const next = `${codeOf(person.secret, 1).slice(0, 3)} ${codeOf(person.secret, 1).slice(3)}`
    expect((await confirmLogin(await mfaTokenOf(person.email), next)).status).toBe(200)
  })

  test('the code that confirmed the app signs nobody in', async () => {
    const { client, email } = await signUp()
    const { secret } = await beginTotp(client)
    const code = codeOf(secret)
    await confirm(client, code)
    expect((await confirmLogin(await mfaTokenOf(email), code)).body.code).toBe('invalid_code')
  })

  test('of ten sign-ins at once with one code one succeeds, whether by one token or by ten', async () => {
    const person = await newPerson()
    const token = await mfaTokenOf(person.email)
    const code = codeOf(person.secret)
    const one = await times(5, () => confirmLogin(token, code))
    expect(tally(one)).toEqual({ 200: 1, 401: 4 })
    const tokens = await times(4, () => mfaTokenOf(person.email))
    const next = codeOf(person.secret, 1)
    const many = await Promise.all(tokens.map((other) => confirmLogin(other, next)))
    expect(tally(many)).toEqual({ 200: 1, 401: 3 })
    const made = await asOwner('select from sessions where user_id = $1 and second_factor', [person.userId])
    // The one that set the factor up, and these two.
    expect(made.length).toBe(3)
  })

  test('a recovery code works once, in any case and with or without its hyphen', async () => {
    const person = await newPerson()
    const [first = '', second = ''] = person.recoveryCodes
    expect((await confirmLogin(await mfaTokenOf(person.email), first.toLowerCase())).status).toBe(200)
    for (const again of [first, first.replace('-', '')]) {
      expect(await confirmLogin(await mfaTokenOf(person.email), again)).toMatchObject({
        status: 401,
        body: { code: 'invalid_code' },
      })
    }
    expect((await confirmLogin(await mfaTokenOf(person.email), second.replace('-', ''))).status).toBe(200)
    expect((await person.client.get('/auth/mfa')).body).toMatchObject({ recoveryCodesLeft: 8 })
    const tokens = await times(4, () => mfaTokenOf(person.email))
    const third = person.recoveryCodes[2] as string
    const answers = await Promise.all(tokens.map((token) => confirmLogin(token, third)))
    expect(tally(answers)).toEqual({ 200: 1, 401: 3 })
  })

  test("another person's code, or token, is no use", async () => {
    const [victim, attacker] = [await newPerson(), await newPerson()]
    const token = await mfaTokenOf(victim.email)
    for (const code of [codeOf(attacker.secret), attacker.recoveryCodes[0] as string]) {
      expect((await confirmLogin(token, code)).body.code).toBe('invalid_code')
    }
    // Nor was it used up.
    const own = await confirmLogin(await mfaTokenOf(attacker.email), attacker.recoveryCodes[0] as string)
    expect(claimsOf(own.body.access_token).sub).toBe(attacker.userId)
  })

  test('a token is refused when it is forged, over, of something else, or of a former password', async () => {
    const person = await newPerson()
    const token = await mfaTokenOf(person.email)
    const [claims = '', mac = ''] = token.split('.')
    const decoded = JSON.parse(Buffer.from(claims, 'base64url').toString())
    const swapped = Buffer.from(JSON.stringify({ ...decoded, userId: crypto.randomUUID() })).toString(
      'base64url',
    )
    const later = Buffer.from(JSON.stringify({ ...decoded, exp: decoded.exp + 9999 })).toString('base64url')
    const others = [
      '',
      '.',
      'x',
      `${claims}.`,
      `${swapped}.${mac}`,
      `${later}.${mac}`,
      `${claims}.${'A'.repeat(32)}`,
    ]
    const detail = 'The mfa_token is not valid, or has expired: sign in again.'
    for (const other of [...others, person.token]) {
      expect(await confirmLogin(other, codeOf(person.secret)), other).toMatchObject({
        status: 401,
        body: { code: 'unauthorized', detail },
      })
    }
    const changed = await person.client.post('/auth/password', {
      currentPassword: PASSWORD,
      newPassword: `another ${PASSWORD}`,
    })
    expect(changed.status).toBe(200)
    expect(await confirmLogin(token, codeOf(person.secret))).toMatchObject({
      status: 401,
      body: { code: 'unauthorized', detail },
    })
    expect((await confirmLogin(token, person.recoveryCodes[0] as string)).status).toBe(401)
  })

  test('a stolen token is of no use once it is over, nor one that was signed for something else', async () => {
    const person = await newPerson()
    const token = await mfaTokenOf(person.email)
    const code = person.recoveryCodes[0] as string
    for (const stolen of [
      resign(token, 'second factor', over()),
      resign(token, 'device', inForce()),
      resign(token, 'second factor', { ...inForce(), mark: 'x' }),
      resign(token, 'second factor', { ...inForce(), userId: 'x' }),
    ]) {
      expect(await confirmLogin(stolen, code)).toMatchObject({ status: 401, body: { code: 'unauthorized' } })
    }
    expect((await confirmLogin(resign(token, 'second factor', inForce()), code)).status).toBe(200)
  })

  test('a disabled person is refused', async () => {
    const person = await newPerson()
    const token = await mfaTokenOf(person.email)
    await asOwner('update users set disabled_at = now() where id = $1', [person.userId])
    expect(await confirmLogin(token, codeOf(person.secret))).toMatchObject({ body: { code: 'unauthorized' } })
  })

  test('guesses are limited, however many tokens and addresses they come with', async () => {
    const person = await newPerson()
    const tokens = await times(3, () => mfaTokenOf(person.email))
    const statuses: number[] = []
    for (let i = 0; i < 12; i++) {
      const answer = await confirmLogin(tokens[i % 3] as string, String(i).padStart(6, '0'))
      statuses.push(answer.status)
    }
    expect(statuses).toEqual([...Array(10).fill(401), 429, 429])
    await forgetUse(person.userId)
    const late = await confirmLogin(tokens[0] as string, codeOf(person.secret))
    expect(late).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
    expect(Number(late.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  test('their person is told of ten within an hour, once a day', async () => {
    const person = await newPerson()
    const guess = async (token: string) => {
      expect((await confirmLogin(token, 'AAAAA-AAAAA')).body.code).toBe('invalid_code')
    }
    const token = await mfaTokenOf(person.email)
    // Of another kind: wrong passwords, and whoever is signed in.
    await logIn(person.email, 'wrong')
    await person.client.post('/auth/step-up', { code: 'AAAAA-AAAAA' })
    for (let i = 0; i < 9; i++) await guess(token)
    const told = async () => (await mailRowsOf(person.email)).filter(({ kind }) => kind === 'factor_guessed')
    expect(await told()).toEqual([])
    await guess(token)
    const mail = await mailTo(person.email, /has your password/)
    expect(mail.text).toContain('change your password')
    expect(mail.text).not.toContain('#token')
    const body = { email: person.email, password: PASSWORD, device_token: person.deviceToken }
    const login = await createClient().post<{ mfa_token: string }>('/auth/login', body)
    await guess(login.body.mfa_token)
    expect(await told()).toHaveLength(1)
  })

  test('a sign-in whose second factor comes after the password gets no session', async () => {
    const { client, email, userId } = await signUp()
    // The factor is confirmed while the hash is compared, in nearly all of these.
    const { secret } = await beginTotp(client)
    const logins = times(3, () => logIn(email))
    await confirm(client, codeOf(secret))
    for (const answer of await logins) expect([200, 202, 401]).toContain(answer.status)
    const later = await asOwner(
      `select from sessions s join totp_secrets t using (user_id) where user_id = $1 and s.created_at > t.confirmed_at`,
      [userId],
    )
    expect(later).toEqual([])
  })
})
