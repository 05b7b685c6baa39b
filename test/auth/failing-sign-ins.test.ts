/** Failing sign-ins slow down by address and network, and nobody who has signed in before, or has a passkey, is locked out by them. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { addPasskey, requestOptions, signInBy } from '../support/authenticator.ts'
import { createClient } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { addTotp, codeOf, confirmLogin, forgetUse, mfaTokenOf } from '../support/factors.ts'
import { newEmail, newMailToken, PASSWORD, signUp } from '../support/tenants.ts'
import { over, resign } from '../support/tokens.ts'
import { waitFor } from '../support/wait-for.ts'

interface SignedIn {
  access_token: string
  device_token: string
  mfa_token?: string
  code?: string
}

/** From an address of its own, if none is given. */
const signIn = (
  email: string,
  {
    password = PASSWORD,
    deviceToken,
    ip,
  }: { password?: string; deviceToken?: string | undefined; ip?: string } = {},
) =>
  createClient(ip ? { ip } : {}).post<SignedIn>('/auth/login', {
    email,
    password,
    ...(deviceToken !== undefined && { device_token: deviceToken }),
  })

const address = (email: string) => createHash('sha256').update(email).digest('hex')

const limits = {
  'login-ip': [30, 60],
  'login-ip-hour': [300, 3600],
  'login-ip-day': [1000, 86_400],
  'login-email': [10, 60],
  'login-email-hour': [30, 3600],
  'login-email-day': [100, 86_400],
  'login-device-day': [50, 86_400],
  'login-device-ip': [300, 60],
  'second-factor-ip': [60, 60],
  'second-factor-person': [300, 86_400],
} as const

/** Takes so many tokens, or all. */
const take = async (policy: keyof typeof limits, subject: string, cost: number = limits[policy][0]) => {
  const [limit, period] = limits[policy]
  const [taken] = await control<{ remaining: number }[]>('take', {
    name: `${policy}:${subject}`,
    limit,
    period,
    cost,
  })
  return taken?.remaining as number
}

const deviceIdOf = (token: string): string =>
  JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).id

/** Somebody with a device that has signed in. */
const newPerson = async () => {
  const person = await signUp()
  const { status, body } = await signIn(person.email)
  expect(status).toBe(200)
  return { ...person, deviceToken: body.device_token }
}

/** Strangers guess, all at once since a token comes back every six seconds, until nobody is let in for the rest of the hour. */
const attack = async (email: string) => {
  const answers = await times(12, (i) => signIn(email, { password: `wrong ${i}` }))
  expect(tally(answers)[429]).toBeGreaterThanOrEqual(2)
  await take('login-email-hour', address(email), await take('login-email-hour', address(email), 0))
  expect((await signIn(email)).status).toBe(429)
}

describe('strangers', () => {
  test.each([
    ['login-email-hour', 'the hour', 60],
    ['login-email-day', 'the day', 600],
  ] as const)('%s: are slowed down by address, known or not, for %s', async (policy, _, atLeast) => {
    const { email } = await signUp()
    for (const tried of [email, newEmail()]) {
      await take(policy, address(tried))
      const answer = await signIn(tried)
      expect(answer).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(atLeast)
      expect(answer.headers.get('ratelimit')).toContain(`"${policy}";r=0`)
    }
  })

  test.each(['login-ip-hour', 'login-ip-day'] as const)('%s: are slowed down by network', async (policy) => {
    const { email } = await signUp()
    const ip = '192.0.2.77'
    await take(policy, ip)
    expect((await signIn(newEmail(), { ip })).status).toBe(429)
    expect((await signIn(email, { ip })).status).toBe(429)
    // The address lost nothing by that.
    expect((await signIn(email)).status).toBe(200)
    await take(policy, ip, -1000)
  })

  test('lose what fails, and get back what succeeds', async () => {
    const { email } = await signUp()
    const ip = '192.0.2.78'
    for (let i = 0; i < 4; i++) expect((await signIn(email, { ip })).status).toBe(200)
    await waitFor(
      'what was given back',
      async () => (await take('login-email-hour', address(email), 0)) === 30,
    )
    await waitFor('the same of the network', async () => (await take('login-ip-day', ip, 0)) === 1000)
    for (let i = 0; i < 3; i++) expect((await signIn(email, { ip, password: 'wrong' })).status).toBe(401)
    expect(await take('login-email-hour', address(email), 0)).toBe(27)
    expect(await take('login-email-day', address(email), 0)).toBe(97)
    expect(await take('login-ip-day', ip, 0)).toBe(997)
  })

  test('who sends no body, no address or garbage as a device is answered as before', async () => {
    for (const body of [
      {},
      { email: 'x', device_token: 'x' },
      { device_token: 7, email: newEmail(), password: 'x' },
      [],
    ]) {
      expect((await createClient().post('/auth/login', body)).status).toBe(422)
    }
    const { email } = await signUp()
    for (const deviceToken of ['', '.', 'x'.repeat(1000), `${'x'.repeat(40)}.${'A'.repeat(32)}`]) {
      expect((await signIn(email, { deviceToken })).status).toBe(200)
    }
    expect((await signIn(email, { deviceToken: 'x'.repeat(1001) })).status).toBe(422)
  })
})

describe('a device that has signed in', () => {
  test('gets in while its account and its network are under attack from elsewhere', async () => {
    const person = await newPerson()
    await attack(person.email)
    for (const policy of ['login-email-hour', 'login-email-day'] as const)
      await take(policy, address(person.email))
    const ip = '192.0.2.79'
    for (const policy of ['login-ip', 'login-ip-hour', 'login-ip-day'] as const) await take(policy, ip)
    expect((await signIn(person.email, { ip })).status).toBe(429)
    const { deviceToken } = person
    const answer = await signIn(person.email, { ip, deviceToken })
    expect(answer.status).toBe(200)
    // It stays the same device.
    expect(deviceIdOf(answer.body.device_token)).toBe(deviceIdOf(deviceToken))
    expect((await signIn(person.email, { deviceToken: answer.body.device_token })).status).toBe(200)
  })

  test('is one as soon as its person registers', async () => {
    const email = newEmail()
    const { body } = await createClient().post<SignedIn>('/auth/register', { email, password: PASSWORD })
    await attack(email)
    expect((await signIn(email, { deviceToken: body.device_token })).status).toBe(200)
  })

  test('is one that has just reset the password by mail', async () => {
    const person = await signUp()
    await attack(person.email)
    const newPassword = `another ${PASSWORD}`
    const token = await newMailToken(person, 'reset')
    const { body } = await createClient().post<SignedIn>('/auth/password/reset/confirm', {
      token,
      newPassword,
    })
    expect((await signIn(person.email, { password: newPassword })).status).toBe(429)
    const answer = await signIn(person.email, { password: newPassword, deviceToken: body.device_token })
    expect(answer.status).toBe(200)
  })

  test('stays one when its person secures the account', async () => {
    const [changing, byApp, byPasskey] = [await newPerson(), await newPerson(), await newPerson()]
    const newPassword = `another ${PASSWORD}`
    const { body } = await changing.client.post<SignedIn>('/auth/password', {
      currentPassword: PASSWORD,
      newPassword,
    })
    const app = await addTotp(byApp.client)
    const passkey = await addPasskey(byPasskey.client)
    for (const { email } of [changing, byApp, byPasskey]) await attack(email)
    const known = { password: newPassword, deviceToken: body.device_token }
    expect((await signIn(changing.email, known)).status).toBe(200)
    expect((await signIn(byApp.email, { deviceToken: app.deviceToken })).status).toBe(202)
    expect((await signIn(byPasskey.email, { deviceToken: passkey.device_token })).status).toBe(202)
    // Its former token says nothing of the second factor.
    expect((await signIn(byApp.email, { deviceToken: byApp.deviceToken })).status).toBe(429)
  })

  test('has a bucket of its own, which is as small', async () => {
    const { email, deviceToken } = await newPerson()
    const answers = await times(12, () => signIn(email, { password: 'wrong', deviceToken }))
    expect(tally(answers)).toEqual({ 401: 10, 429: 2 })
    // Others are not slowed down by it.
    expect((await signIn(email)).status).toBe(200)
    const other = await newPerson()
    await take('login-device-day', deviceIdOf(other.deviceToken))
    expect((await signIn(other.email, { deviceToken: other.deviceToken })).status).toBe(429)
  })

  test('is counted with the others of its network, and not with strangers', async () => {
    const { email, deviceToken } = await newPerson()
    const ip = '192.0.2.82'
    await take('login-device-ip', ip)
    expect(await signIn(email, { deviceToken, ip })).toMatchObject({
      status: 429,
      body: { code: 'rate_limited' },
    })
    expect((await signIn(email, { deviceToken })).status).toBe(200)
    expect((await signIn(email, { ip })).status).toBe(200)
  })

  test('has a token in which nobody reads the address, nor tries others', async () => {
    const { email, deviceToken } = await newPerson()
    const claims = Buffer.from(deviceToken.split('.')[0] ?? '', 'base64url').toString()
    expect(claims).not.toContain(email)
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      expect(claims).not.toContain(createHash('sha256').update(email).digest(encoding))
    }
  })

  test('is none for another address, when forged, or once the password has changed', async () => {
    const [person, other] = [await newPerson(), await newPerson()]
    const [claims = '', mac = ''] = person.deviceToken.split('.')
    const decoded = JSON.parse(Buffer.from(claims, 'base64url').toString())
    const swapped = Buffer.from(JSON.stringify({ ...decoded, id: crypto.randomUUID() })).toString('base64url')
    await attack(person.email)
    const late = resign(person.deviceToken, 'device', over())
    for (const deviceToken of [other.deviceToken, `${swapped}.${mac}`, person.token.slice(0, 900), late]) {
      expect((await signIn(person.email, { deviceToken })).status).toBe(429)
    }
    const newPassword = `another ${PASSWORD}`
    await person.client.post('/auth/password', { currentPassword: PASSWORD, newPassword })
    const answer = await signIn(person.email, { password: newPassword, deviceToken: person.deviceToken })
    expect(answer.status).toBe(429)
  })

  test('is none for whoever has got the address since', async () => {
    const [squatter, owner] = [await newPerson(), await signUp()]
    // Many tokens, each of which would be ten guesses.
    const devices = await times(3, async () => (await signIn(squatter.email)).body.device_token)
    await asOwner(`update users set email = 'gone-' || email where id = $1`, [squatter.userId])
    await asOwner('update users set email = $2 where id = $1', [owner.userId, squatter.email])
    const answers = await times(15, (i) =>
      signIn(squatter.email, { password: 'wrong', deviceToken: devices[i % 3] }),
    )
    expect(tally(answers)[429]).toBeGreaterThanOrEqual(5)
  })
})

describe('a second factor', () => {
  test('a passkey gets in while the password is under attack', async () => {
    const person = await newPerson()
    const { authenticator } = await addPasskey(person.client)
    await attack(person.email)
    expect((await signInBy(authenticator.get(await requestOptions()))).status).toBe(200)
  })

  test('strangers who know the password use up no guesses of a known device', async () => {
    const person = await newPerson()
    const { secret } = await addTotp(person.client)
    const known = await confirmLogin(await mfaTokenOf(person.email), codeOf(secret))
    const deviceToken = (known.body as unknown as SignedIn).device_token
    const theirs = await mfaTokenOf(person.email)
    for (let i = 0; i < 11; i++) await confirmLogin(theirs, String(i).padStart(6, '0'))
    await forgetUse(person.userId)
    expect((await confirmLogin(theirs, codeOf(secret))).status).toBe(429)
    const login = await signIn(person.email, { deviceToken })
    expect(login.status).toBe(202)
    // Whatever happens in its network.
    const ip = '192.0.2.80'
    for (const policy of ['login-ip', 'login-ip-hour', 'login-ip-day'] as const) await take(policy, ip)
    const body = { mfa_token: login.body.mfa_token, code: codeOf(secret) }
    expect((await createClient({ ip }).post('/auth/login/mfa', body)).status).toBe(200)
    // Nor those of a session.
    await asOwner(`update sessions set proved_at = now() - interval '1 hour' where user_id = $1`, [
      person.userId,
    ])
    expect((await person.client.post('/auth/step-up', { code: codeOf(secret, 1) })).status).toBe(204)
  })

  test('a device from before it is known no more, and has no guesses of its own', async () => {
    const person = await newPerson()
    await addTotp(person.client)
    const early = (await signIn(person.email, { deviceToken: person.deviceToken })).body.mfa_token
    const late = await mfaTokenOf(person.email)
    const statuses: number[] = []
    for (let i = 0; i < 12; i++) {
      const answer = await confirmLogin((i % 2 ? early : late) as string, String(i).padStart(6, '0'))
      statuses.push(answer.status)
    }
    expect(statuses).toEqual([...Array(10).fill(401), 429, 429])
  })

  test('guesses are limited for a person and for a network, too', async () => {
    const [person, other] = [await newPerson(), await newPerson()]
    const { secret } = await addTotp(person.client)
    const ip = '192.0.2.81'
    await take('second-factor-ip', ip)
    const body = { mfa_token: await mfaTokenOf(person.email), code: codeOf(secret) }
    expect((await createClient({ ip }).post('/auth/login/mfa', body)).status).toBe(429)
    await take('second-factor-person', person.userId)
    expect((await createClient().post('/auth/login/mfa', body)).status).toBe(429)
    const theirs = await addTotp(other.client)
    expect((await confirmLogin(await mfaTokenOf(other.email), codeOf(theirs.secret))).status).toBe(200)
  })
})
