import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import {
  asOwner,
  control,
  createClient,
  type GenerationBody,
  newEmail,
  newTenant,
  PASSWORD,
  signUp,
} from '../support/client.ts'

const statuses = (answers: { status: number }[]) =>
  Object.fromEntries(
    [...Map.groupBy(answers, ({ status }) => status)].map(([status, group]) => [status, group.length]),
  )

test('sign-in is limited per address before the password is looked at', async () => {
  const { email } = await signUp()
  const answers = await Promise.all(
    Array.from({ length: 20 }, () =>
      createClient().post('/auth/login', { email, password: 'not the password' }),
    ),
  )
  expect(statuses(answers)).toEqual({ 401: 10, 429: 10 })
  const refused = await createClient().post('/auth/login', { email: email.toUpperCase(), password: PASSWORD })
  expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(refused.headers.get('ratelimit-policy')).toContain('"login-email";q=10;w=60')
  expect(refused.headers.get('ratelimit')).toMatch(/"login-email";r=0;t=\d+/)
  expect(refused.headers.get('server-timing')).toContain('desc="0"')
})

test('registration is limited per network; an IPv6 network is a /64', async () => {
  const prefix = `2001:db8:${Math.floor(Math.random() * 65536).toString(16)}:1`
  const answers = await Promise.all(
    Array.from({ length: 25 }, (_, i) =>
      createClient({ ip: `${prefix}::${i}` }).post('/auth/register', {
        email: newEmail(),
        password: PASSWORD,
      }),
    ),
  )
  // Hashing twenty passwords takes a while, in which a token may come back.
  expect(statuses(answers)[201]).toBeGreaterThanOrEqual(20)
  expect(statuses(answers)[201]).toBeLessThanOrEqual(22)
}, 60_000)

test('generation is limited per workspace, and its plan counts', async () => {
  const { client, workspaceId } = await newTenant()
  const burst = async (count: number) =>
    statuses(
      await Promise.all(
        Array.from({ length: count }, () =>
          client.post<GenerationBody>('/generations', {
            kind: 'image',
            inputAssetIds: [crypto.randomUUID()],
          }),
        ),
      ),
    )
  const free = await burst(80)
  expect(free[404]).toBeGreaterThanOrEqual(60)
  expect(free[429]).toBeGreaterThanOrEqual(15)
  await asOwner(`update workspaces set plan = 'pro' where id = $1`, [workspaceId])
  // The first one that is accepted teaches the limiter the new plan.
  const accepted = async () => (await client.post('/generations', { kind: 'image', prompt: 'x' })).status
  await expect.poll(accepted, { timeout: 10_000 }).toBe(202)
  await expect.poll(async () => (await burst(100))[429], { timeout: 10_000 }).toBeUndefined()
})

test('an evicted limiter lets no more through than the limit', async () => {
  const { email } = await signUp()
  const attempt = () => createClient().post('/auth/login', { email, password: 'not the password' })
  const before = await Promise.all(Array.from({ length: 6 }, attempt))
  const subject = Buffer.from(
    await crypto.subtle.digest('SHA-256', new TextEncoder().encode(email)),
  ).toString('hex')
  await control('evict', { name: `login-email:${subject}` })
  const after = await Promise.all(Array.from({ length: 10 }, attempt))
  const passed = [...before, ...after].filter(({ status }) => status === 401).length
  expect(passed).toBeLessThanOrEqual(10)
  expect(passed).toBeGreaterThanOrEqual(8)
})

interface Taken {
  allowed: boolean
  remaining: number
}
const fifty = { limit: 50, period: 3600, cost: 1 }
const allowedOf = (taken: Taken[]) => taken.filter(({ allowed }) => allowed).length

test('of two hundred at once on a limit of fifty exactly fifty pass', async () => {
  const name = `test:${crypto.randomUUID()}`
  const taken = await control<Taken[]>('take', { name, count: 200, ...fifty })
  expect(allowedOf(taken)).toBe(50)
  expect(taken.flatMap(({ allowed, remaining }) => (allowed ? remaining : [])).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 50 }, (_, i) => i),
  )
})

test('the API is limited per user, not per session', async () => {
  const { email, userId, client } = await signUp()
  const { body } = await createClient().post<{ access_token: string }>('/auth/login', {
    email,
    password: PASSWORD,
  })
  await control('take', { name: `api:user:${userId}`, limit: 1200, period: 60, cost: 1200 })
  const sessions = [client, createClient({ token: body.access_token })]
  const answers = await Promise.all(sessions.map((session) => session.get('/auth/me')))
  for (const { headers } of answers) {
    expect(headers.get('ratelimit-policy')).toBe('"api";q=1200;w=60')
    // Twenty a second come back.
    expect(Number(/"api";r=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1])).toBeLessThan(600)
  }
  expect((await (await signUp()).client.get('/auth/me')).headers.get('ratelimit')).toContain('r=1199')
})

test('who is denied is remembered, and costs the limiter no call', async () => {
  const email = newEmail()
  const name = `login-email:${createHash('sha256').update(email).digest('hex')}`
  const policy = { name, limit: 10, period: 60 }
  const attempt = () => createClient().post('/auth/login', { email, password: 'not the password' })
  await control('take', { ...policy, cost: 10 })
  expect(await attempt()).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
  // Everything back: whoever asks the limiter now is let in.
  const [back] = await control<Taken[]>('take', { ...policy, cost: -10 })
  expect(back?.remaining).toBe(10)
  const denied = await Promise.all(Array.from({ length: 20 }, attempt))
  for (const { status, headers } of denied) {
    expect(status).toBe(429)
    expect(headers.get('ratelimit')).toMatch(/"login-email";r=0;t=\d+/)
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
  }
  const [untouched] = await control<Taken[]>('take', { ...policy, cost: 0 })
  expect(untouched?.remaining).toBe(10)
})

test('evictions in between let no more invites through than twenty', async () => {
  const { client, workspaceId } = await newTenant()
  const invite = () =>
    client.post(`/workspaces/${workspaceId}/invites`, { email: newEmail(), role: 'viewer' })
  // From the second on it is the workspace's bucket that is asked.
  const answers = [await invite()]
  for (let round = 0; round < 3; round++) {
    answers.push(...(await Promise.all(Array.from({ length: 4 }, invite))))
    await control('evict', { name: `invite:${workspaceId}` })
  }
  answers.push(...(await Promise.all(Array.from({ length: 40 }, invite))))
  const passed = statuses(answers)[201]
  expect(passed).toBeLessThanOrEqual(20)
  // Each eviction may cost a tenth of the limit, and no more.
  expect(passed).toBeGreaterThanOrEqual(14)
})

test('a workspace invites twenty people an hour', async () => {
  const { client, workspaceId } = await newTenant()
  const invite = () =>
    client.post(`/workspaces/${workspaceId}/invites`, { email: newEmail(), role: 'viewer' })
  // Once the gate has let a caller in, their requests count in the workspace's own bucket.
  expect((await client.post('/generations', { kind: 'image', prompt: 'x' })).status).toBe(202)
  const answers = await Promise.all(Array.from({ length: 30 }, invite))
  expect(statuses(answers)).toEqual({ 201: 20, 429: 10 })
  const refused = await invite()
  expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
  expect(refused.headers.get('ratelimit-policy')).toContain('"invite";q=20;w=3600')
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(60)
  // Another workspace of the same person has its own.
  const { body } = await client.post<{ id: string }>('/workspaces', { name: 'Another' })
  const other = await client.post(`/workspaces/${body.id}/invites`, { email: newEmail(), role: 'viewer' })
  expect(other.status).toBe(201)
})

test("a stranger can't use up a workspace's tokens", async () => {
  const { client, workspaceId } = await newTenant()
  const stranger = (await newTenant()).client.with({ workspaceId })
  const attack = () => stranger.post('/generations', { kind: 'image', prompt: 'x' })
  const attacks = statuses(await Promise.all(Array.from({ length: 80 }, attack)))
  expect(attacks[202]).toBeUndefined()
  expect(attacks[404]).toBeGreaterThanOrEqual(60)
  await expect
    .poll(async () => {
      const { headers } = await client.post('/generations', {
        kind: 'image',
        inputAssetIds: [crypto.randomUUID()],
      })
      return Number(/r=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1])
    })
    .toBeGreaterThan(50)
})
