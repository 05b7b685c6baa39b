/** Sessions by device and place, and the mail that tells of a new one. */
import { expect, test } from 'vitest'
import { createClient, type Page } from '../support/client.ts'
import { asOwner } from '../support/database.ts'
import { mailRowsOf, mailTo, whenSettled } from '../support/mail.ts'
import { newEmail, PASSWORD, signUp } from '../support/tenants.ts'

const FIREFOX = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0'
const PHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1'

const from = (country: string | undefined, userAgent: string) => ({
  'user-agent': userAgent,
  ...(country && { 'x-cf': JSON.stringify({ country }) }),
})
const signIn = (email: string, headers: Record<string, string>) =>
  createClient().post<{ access_token: string; refresh_token: string }>(
    '/auth/login',
    { email, password: PASSWORD },
    headers,
  )

interface Session {
  device: string | null
  country: string | null
  createdAt: string
  lastUsedAt: string
}

test.each([
  [FIREFOX, 'Firefox on Windows'],
  [PHONE, 'Safari on iPhone'],
  [FIREFOX.replace('Firefox/143.0', 'Chrome/150.0 Safari/537.36 Edg/150.0'), 'Edge on Windows'],
  [
    'Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 Chrome/150.0 Mobile Safari/537.36',
    'Chrome on Android',
  ],
  ['curl/8.9.1', 'curl'],
  ['node', 'node'],
  ['', null],
  ['\u00e9vil <script>', null],
])('a session of %s is shown as %s', async (userAgent, device) => {
  const { email } = await signUp()
  const { body } = await signIn(email, from('DE', userAgent))
  const list = await createClient({ token: body.access_token }).get<Page<Session>>('/auth/sessions')
  expect(list.body.data[0]).toMatchObject({ device, country: 'DE' })
})

test('a session shows where and when it was used last', async () => {
  const { email } = await signUp()
  const { body } = await signIn(email, from('DE', FIREFOX))
  await asOwner(
    `update sessions set created_at = now() - interval '1 day' where user_id = (select id from users where email = $1)`,
    [email],
  )
  const list = async () =>
    (await createClient({ token: body.access_token }).get<Page<Session>>('/auth/sessions')).body
      .data[0] as Session
  const before = await list()
  expect(before.lastUsedAt).toBe(before.createdAt)
  await createClient().post('/auth/refresh', { refresh_token: body.refresh_token }, from('AT', FIREFOX))
  const after = await list()
  expect(after).toMatchObject({ country: 'AT', device: 'Firefox on Windows', createdAt: before.createdAt })
  expect(Date.parse(after.lastUsedAt)).toBeGreaterThan(Date.parse(before.lastUsedAt) + 80_000_000)
})

test('a new device is told by mail, once; a known one is not', async () => {
  const { email } = await signUp()
  await signIn(email, from('DE', FIREFOX))
  const mail = await mailTo(email, /new device/)
  expect(mail.text).toMatch(/Firefox on Windows, Germany, \d{4}-\d\d-\d\d \d\d:\d\d UTC\./)
  await signIn(email, from('DE', FIREFOX.replaceAll('143.0', '144.0')))
  expect(await mailRowsOf(email)).toHaveLength(1)
  await signIn(email, from('DE', PHONE))
  await signIn(email, from('FR', FIREFOX))
  await signIn(email, from(undefined, FIREFOX))
  await signIn(email, from('XX', FIREFOX))
  expect(await whenSettled(email, 4)).toHaveLength(4)
})

test('of new devices five an hour are told, and all are let in', async () => {
  const { email } = await signUp()
  for (let i = 0; i < 6; i++) expect((await signIn(email, from('DE', `Tool${i}`))).status).toBe(200)
  expect(await whenSettled(email, 5)).toHaveLength(5)
  await asOwner(`update mails set created_at = now() - interval '1 hour' where recipient = $1`, [email])
  await signIn(email, from('DE', 'Tool6'))
  expect(await whenSettled(email, 6)).toHaveLength(6)
})

test('in the language that its owner reads, if they have said', async () => {
  const email = newEmail()
  const german = { 'accept-language': 'de' }
  await createClient().post('/auth/register', { email, password: PASSWORD }, german)
  await asOwner('update users set email_verified_at = now() where email = $1', [email])
  await signIn(email, from('DE', FIREFOX))
  expect((await mailTo(email, /neuen Gerät/)).text).toContain(
    'Jemand hat sich in Ihrem Konto angemeldet: Firefox on Windows, Deutschland, ',
  )
})

test('nothing is told to an address that nobody has proved, nor of a first session, nor of a wrong password', async () => {
  const email = newEmail()
  await createClient().post('/auth/register', { email, password: PASSWORD })
  await signIn(email, from('DE', PHONE))
  const { email: other } = await signUp()
  await asOwner('delete from sessions where user_id = (select id from users where email = $1)', [other])
  await signIn(other, from('DE', PHONE))
  await createClient().post('/auth/login', { email: other, password: 'x' }, from('CN', FIREFOX))
  expect((await whenSettled(email)).map(({ kind }) => kind)).toEqual(['verify'])
  expect(await mailRowsOf(other)).toEqual([])
})
