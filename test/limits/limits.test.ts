/** Rate limits: by what they count, how exactly, and that whoever is refused costs little and harms nobody else. */
import { createHash, hash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { tally, times } from '../support/at-once.ts'
import { type Client, createClient } from '../support/client.ts'
import { control } from '../support/control.ts'
import { setPlan } from '../support/database.ts'
import {
  addMember,
  invite,
  logIn,
  newEmail,
  newKey,
  newTenant,
  PASSWORD,
  signUp,
} from '../support/tenants.ts'
import { waitFor } from '../support/wait-for.ts'

/** The name of the bucket that counts sign-ins as this address. */
const bucketOf = (email: string) => `login-email:${createHash('sha256').update(email).digest('hex')}`

/** Passes the limiter, and fails at once after that. */
const askForUnknownInput = (client: Client) =>
  client.post('/generations', { task: 'scene', inputAssetIds: [crypto.randomUUID()] })

test('sign-in is limited per address before the password is looked at', async () => {
  const { email } = await signUp()
  const answers = await times(20, (i) => logIn(i % 2 ? email : email.toUpperCase(), 'not the password'))
  expect(tally(answers)).toEqual({ 401: 10, 429: 10 })
  const refused = answers.find(({ status }) => status === 429)
  expect(refused).toMatchObject({ body: { code: 'rate_limited' } })
  expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(refused?.headers.get('ratelimit-policy')).toContain('"login-email";q=10;w=60')
  expect(refused?.headers.get('ratelimit')).toMatch(/"login-email";r=0;t=\d+/)
  expect(refused?.headers.get('server-timing')).toContain('desc="0"')
})

test.each([
  ['2001:db8::1', '2001:db8:0:0:1::1'],
  ['2001:db8:0:0:a:b:c:d', '2001:0db8::'],
  ['2001:DB8:0:f::1', '2001:db8::f:1:2:3:4'],
])('%s and %s are one network', async (one, other) => {
  const remaining = async (ip: string) => {
    const { headers } = await createClient({ ip }).post('/auth/refresh', { refresh_token: 'x' })
    return Number(/"refresh-ip";r=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1])
  }
  const before = await remaining(one)
  await times(20, () => remaining(other))
  expect(await remaining(one)).toBeLessThan(before - 10)
  // The network beside it is another.
  expect(await remaining(other.replace(/db8/i, 'db9'))).toBeGreaterThan(110)
})

test('registration is limited per network, which is a /64 for IPv6', async () => {
  const prefix = `2001:db8:${Math.floor(Math.random() * 65536).toString(16)}:1`
  const answers = await times(25, (i) =>
    createClient({ ip: `${prefix}::${i}` }).post('/auth/register', { email: newEmail(), password: PASSWORD }),
  )
  // Hashing twenty passwords takes a while, in which a token may come back.
  expect(tally(answers)[201]).toBeGreaterThanOrEqual(20)
  expect(tally(answers)[201]).toBeLessThanOrEqual(22)
}, 60_000)

test('a workspace sends twenty invites an hour from the first request on, whoever asks', async () => {
  const { client, workspaceId } = await newTenant()
  const admins = [await addMember(workspaceId, 'admin'), await addMember(workspaceId, 'admin')]
  await setPlan(workspaceId, 'pro')
  const askers = [client, client.with({ workspaceId: undefined }), ...admins.map((admin) => admin.client)]
  const answers = await times(32, (i) => invite(askers[i % 4] as Client, workspaceId))
  expect(tally(answers)).toEqual({ 201: 20, 429: 12 })
})

test("what doesn't match the contract takes nothing from a workspace's limit", async () => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  const wrong = () => client.post(`/workspaces/${workspaceId}/invites`, { email: 'nobody', role: 'member' })
  for (let i = 0; i < 25; i++) expect((await wrong()).status).toBe(422)
  expect((await invite(client, workspaceId)).status).toBe(201)
})

test('generation is limited per workspace from the first request on, in whichever form it is named', async () => {
  const { client, workspaceId } = await newTenant()
  const keys = await times(2, () => newKey(client, ['generation.create']))
  const member = await addMember(workspaceId, 'member')
  const askers = [client, client.with({ workspaceId: undefined }), member.client]
  askers.push(...keys.map(({ key }) => createClient({ token: key })))
  const started = Date.now()
  const answers = await times(150, (i) => askForUnknownInput(askers[i % 5] as Client))
  // One a second comes back.
  const most = 60 + Math.ceil((Date.now() - started) / 1000)
  expect(tally(answers)[404]).toBeGreaterThanOrEqual(60)
  expect(tally(answers)[404]).toBeLessThanOrEqual(most)
})

test('the first burst of a workspace counts by its plan', async () => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  expect(tally(await times(100, () => askForUnknownInput(client)))).toEqual({ 404: 100 })
})

test('the first request of a caller also asks which workspace counts; the next ones know', async () => {
  const { client } = await newTenant()
  const databaseRequests = async () =>
    /^db;desc="(\d+)"/.exec((await askForUnknownInput(client)).headers.get('server-timing') ?? '')?.[1]
  expect(await databaseRequests()).toBe('2')
  expect(await databaseRequests()).toBe('1')
})

test('requests at once take one token each', async () => {
  const { client } = await newTenant()
  const remaining = async () => {
    const { headers } = await client.get('/auth/me')
    return Number(/"api";r=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1])
  }
  const before = await remaining()
  for (let i = 0; i < 6; i++) await times(30, remaining)
  expect(before - (await remaining())).toBeLessThanOrEqual(181)
})

test('API keys that nobody made are limited by IP, and make no bucket of their own', async () => {
  const ip = `203.0.113.${Math.floor(Math.random() * 256)}`
  const newSecret = () => {
    const secret = randomBytes(32).toString('base64url')
    return `mck_${secret}${hash('sha256', secret).slice(0, 6)}`
  }
  const keys = Array.from({ length: 200 }, newSecret)
  const answers = await times(200, (i) => createClient({ token: keys[i], ip }).get('/usage'))
  const refused = tally(answers)
  expect(Object.keys(refused)).toEqual(['401', '429'])
  expect(refused[401]).toBeLessThan(160)
  for (const key of keys.slice(0, 3)) {
    const name = `api:key:${hash('sha256', key)}`
    await expect(control('evict', { name })).rejects.toThrow('not currently running')
  }
  // One that somebody made does not count as such, from wherever it comes.
  const { client } = await newTenant()
  const { key } = await newKey(client, ['usage.get'])
  const real = createClient({ token: key, ip: '203.0.113.256' })
  for (let i = 0; i < 3; i++) expect((await real.get('/usage')).status).toBe(200)
  const third = await real.get('/usage')
  expect(third.headers.get('ratelimit-policy')).toBe('"api";q=1200;w=60')
})

test('generation is limited per workspace, by its plan', async () => {
  const { client, workspaceId } = await newTenant()
  const burst = async (count: number) => tally(await times(count, () => askForUnknownInput(client)))
  const free = await burst(80)
  expect(free[404]).toBeGreaterThanOrEqual(60)
  expect(free[429]).toBeGreaterThanOrEqual(15)
  await setPlan(workspaceId, 'pro')
  // The first one that is accepted brings the news.
  const accepted = async () => (await client.post('/generations', { task: 'scene', prompt: 'x' })).status
  await expect.poll(accepted, { timeout: 10_000 }).toBe(202)
  await expect.poll(async () => (await burst(100))[429], { timeout: 10_000 }).toBeUndefined()
})

test('a read that is refused after it was read shows nothing of it', async () => {
  const { client } = await newTenant()
  const { id } = (await client.upload('file.txt', 'some text')).body
  const answers = await times(1500, () => client.get(`/assets/${id}/download`))
  const refused = answers.filter(({ status }) => status === 429)
  expect(refused.length).toBeGreaterThan(100)
  expect(refused.filter(({ headers }) => headers.has('location'))).toEqual([])
})

test('a limiter that is evicted lets no more requests pass than the limit', async () => {
  const { email } = await signUp()
  const attempt = () => logIn(email, 'not the password')
  const before = await times(6, attempt)
  await control('evict', { name: bucketOf(email) })
  const after = await times(10, attempt)
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

test('of two hundred requests at once on a limit of fifty exactly fifty pass', async () => {
  const name = `test:${crypto.randomUUID()}`
  const taken = await control<Taken[]>('take', { name, count: 200, ...fifty })
  expect(allowedOf(taken)).toBe(50)
  expect(taken.flatMap(({ allowed, remaining }) => (allowed ? remaining : [])).sort((a, b) => a - b)).toEqual(
    Array.from({ length: 50 }, (_, i) => i),
  )
})

test('the API is limited per user, not per session', async () => {
  const { email, userId, client } = await signUp()
  const { body } = await logIn(email)
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

test('requests that begin at once take no more of the limit than they are', async () => {
  const { client } = await signUp()
  const remaining = async () => {
    const { headers } = await client.get('/auth/me')
    return Number(/"api";r=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1])
  }
  await times(40, remaining)
  // What was leased comes back when the lease is over; 440 tokens would take as many twentieths of a second.
  await waitFor('the rest is back', async () => (await remaining()) > 1140, 6000)
})

test('a read that the limiter refuses meanwhile is not answered, and the next one is not even asked', async () => {
  const { client, userId } = await signUp()
  await control('take', { name: `api:user:${userId}`, limit: 1200, period: 60, cost: 1200 })
  const answers = await times(40, () => client.get('/auth/me'))
  // Twenty a second come back.
  const refused = answers.filter(({ status }) => status === 429)
  expect(refused.length).toBeGreaterThan(10)
  for (const { body, headers } of refused) {
    expect(body).toMatchObject({ code: 'rate_limited' })
    expect(JSON.stringify(body)).not.toContain(userId)
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    expect(headers.get('ratelimit')).toMatch(/"api";r=0;t=\d+/)
  }
  const next = await client.get('/auth/me')
  expect(next.status).toBe(429)
  expect(next.headers.get('server-timing')).toContain('desc="0"')
})

test('what an isolate holds of a large limit is not lost to whoever reaches it', async () => {
  const { client, workspaceId } = await newTenant()
  await setPlan(workspaceId, 'pro')
  const started = Date.now()
  const answers = [
    ...(await times(3, () => askForUnknownInput(client))),
    ...(await times(450, () => askForUnknownInput(client))),
  ]
  // Five a second come back.
  const most = 300 + 5 * Math.ceil((Date.now() - started) / 1000)
  expect(tally(answers)[404]).toBeGreaterThanOrEqual(300)
  expect(tally(answers)[404]).toBeLessThanOrEqual(most)
})

test("a network over its limit uses up nothing of an address's", async () => {
  const { email } = await signUp()
  const ip = `198.51.100.${Math.floor(Math.random() * 256)}`
  const from = createClient({ ip })
  const fail = (address: string) => from.post('/auth/login', { email: address, password: 'not the password' })
  await control('take', { name: `login-ip:${ip}`, limit: 30, period: 60, cost: 30 })
  expect((await fail(email)).status).toBe(429)
  const [untouched] = await control<Taken[]>('take', {
    name: bucketOf(email),
    limit: 10,
    period: 60,
    cost: 0,
  })
  expect(untouched?.remaining).toBe(10)
})

test('a refused caller is remembered and refused again without a call to the limiter', async () => {
  const email = newEmail()
  const policy = { name: bucketOf(email), limit: 10, period: 60 }
  const attempt = () => logIn(email, 'not the password')
  await control('take', { ...policy, cost: 10 })
  expect(await attempt()).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
  // Everything back: whoever asks the limiter now is let in.
  const [back] = await control<Taken[]>('take', { ...policy, cost: -10 })
  expect(back?.remaining).toBe(10)
  const denied = await times(20, attempt)
  for (const { status, headers } of denied) {
    expect(status).toBe(429)
    expect(headers.get('ratelimit')).toMatch(/"login-email";r=0;t=\d+/)
    expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
  }
  const [untouched] = await control<Taken[]>('take', { ...policy, cost: 0 })
  expect(untouched?.remaining).toBe(10)
})

test('a limiter of an hour that is evicted forgets nothing, and costs nobody a token', async () => {
  const name = `test:${crypto.randomUUID()}`
  const take = async (cost: number) =>
    (await control<Taken[]>('take', { name, count: 1, ...fifty, cost }))[0]?.remaining
  for (let round = 1; round <= 8; round++) {
    expect(await take(1)).toBe(50 - round)
    await control('evict', { name })
  }
  // What is given back is, too.
  expect(await take(-1)).toBe(43)
  await control('evict', { name })
  expect(await take(-1)).toBe(44)
})

test('evictions in between let no more invites pass than twenty', async () => {
  const { client, workspaceId } = await newTenant()
  const inviteSomebody = () => invite(client, workspaceId)
  const answers = [await inviteSomebody()]
  for (let round = 0; round < 3; round++) {
    answers.push(...(await times(4, inviteSomebody)))
    await control('evict', { name: `invite:${workspaceId}` })
  }
  answers.push(...(await times(40, inviteSomebody)))
  const passed = tally(answers)[201]
  expect(passed).toBe(20)
})

test('a workspace sends twenty invites an hour', async () => {
  const { client, workspaceId } = await newTenant()
  const inviteSomebody = () => invite(client, workspaceId)
  const answers = await times(30, inviteSomebody)
  expect(tally(answers)).toEqual({ 201: 20, 429: 10 })
  const refused = await inviteSomebody()
  expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } })
  expect(refused.headers.get('ratelimit-policy')).toContain('"invite";q=20;w=3600')
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(60)
  // Another workspace of the same person has its own.
  const { body } = await client.post<{ id: string }>('/workspaces', { name: 'Another' })
  expect((await invite(client, body.id)).status).toBe(201)
})

test("a stranger's requests don't count against a workspace's limit", async () => {
  const { client, workspaceId } = await newTenant()
  const stranger = (await newTenant()).client.with({ workspaceId })
  const attack = () => stranger.post('/generations', { task: 'scene', prompt: 'x' })
  const attacks = tally(await times(80, attack))
  expect(attacks[202]).toBeUndefined()
  expect(attacks[404]).toBeGreaterThanOrEqual(60)
  await expect
    .poll(async () => {
      const { headers } = await askForUnknownInput(client)
      return Number(/r=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1])
    })
    .toBeGreaterThan(50)
})
