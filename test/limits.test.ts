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
} from './client.ts'

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
