/** Two hundred sign-ups of one network in a row: what they get, and what is left for whoever shares the network with them. */
import { expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { type Client, createClient, type Page } from '../support/client.ts'
import { control } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { mailRowsOf, mailTo, tokenIn, whenSettled } from '../support/mail.ts'
import { newEmail, PASSWORD } from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

const ip = '203.0.114.7'

const register = async () => {
  const email = newEmail()
  const { status, body } = await createClient({ ip }).post<{ access_token: string }>('/auth/register', {
    email,
    password: PASSWORD,
  })
  return { status, email, client: createClient({ ip, token: body.access_token }) }
}
type Registered = Awaited<ReturnType<typeof register>>

const prove = async ({ email, client }: Registered) => {
  const token = tokenIn(await mailTo(email, /Confirm/))
  expect((await client.post('/auth/email/verify/confirm', { token })).status).toBe(200)
}
const settle = async (client: Client) => {
  const { status, body } = await client.post<{ id: string }>('/workspaces', { name: 'Shop' })
  expect(status).toBe(201)
  return client.with({ workspaceId: body.id })
}
const stateOf = async (client: Client) => {
  const { body } = await client.get<{ credits: { granted: number; free: { state: string } } }>('/usage')
  return `${body.credits.granted} ${body.credits.free.state}`
}
const sum = (states: string[]) => tally(states.map((status) => ({ status })))

test('of two hundred sign-ups of one network five have free credits, and whoever comes then is not kept out', async () => {
  const people: Registered[] = []
  for (let round = 0; round < 20; round++) {
    people.push(...(await times(10, register)))
    // Twenty a minute may: nobody waits for the ten minutes here.
    await control('take', { name: `register-ip:${ip}`, limit: 20, period: 60, cost: -10 })
  }
  expect(tally(people)).toEqual({ 201: 200 })
  const emails = people.map(({ email }) => email)
  const mailed = await waitFor('their mails', async () => {
    const rows = await asOwner<{ recipient: string; status: string }>(
      'select recipient, status from mails where recipient = any($1)',
      [emails],
    )
    return rows.every(({ status }) => status === 'sent') && rows.map(({ recipient }) => recipient)
  })
  expect(mailed).toHaveLength(100)
  const proved = people.filter(({ email }) => mailed.includes(email))
  for (const person of proved) await prove(person)
  const shops: Client[] = []
  for (let from = 0; from < people.length; from += 20)
    shops.push(...(await Promise.all(people.slice(from, from + 20).map(({ client }) => settle(client)))))
  expect(sum(await Promise.all(shops.map(stateOf)))).toEqual({
    '50 granted': 5,
    '0 held': 95,
    '0 unverified': 100,
  })
  const holds = await asOwner(
    `select count(*)::int, min(after ->> 'reason') reason, min(actor_type) actor from audit_logs
      where action = 'credit.hold' and workspace_id = any($1)`,
    [shops.map(({ workspaceId }) => workspaceId)],
  )
  expect(holds).toEqual([{ count: 95, reason: 'network', actor: 'system' }])

  // A person of the same network: no mail comes by itself, and one does when they ask.
  const person = await register()
  expect(person.status).toBe(201)
  expect(await mailRowsOf(person.email)).toEqual([])
  expect((await person.client.post('/auth/email/verify')).status).toBe(202)
  await prove(person)
  const shop = await settle(person.client)
  expect(await stateOf(shop)).toBe('0 held')
  // All but free credits is theirs at once.
  expect((await shop.upload('a.txt', 'some text')).status).toBe(201)
  const login = { email: person.email, password: PASSWORD }
  expect((await createClient({ ip }).post('/auth/login', login)).status).toBe(200)
  expect((await createClient({ ip }).post('/auth/password/reset', { email: person.email })).status).toBe(202)
  expect(await whenSettled(person.email, 2)).toMatchObject([{ status: 'sent' }, { status: 'sent' }])
  // An operator gives them back, which both logs tell.
  await asOwner('select app.release_free_credits($1)', [shop.workspaceId])
  expect(await stateOf(shop)).toBe('50 granted')
  const { body: log } = await shop.get<Page<{ action: string; actor: object; after: object }>>(
    '/audit-logs?resourceType=workspace',
  )
  expect(log.data[0]).toMatchObject({
    action: 'credit.release',
    actor: { type: 'system' },
    after: { reason: 'network' },
  })
  expect((await shop.get('/audit-logs/verify')).body).toMatchObject({ valid: true })
}, 300_000)
