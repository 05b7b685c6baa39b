/** The client package: every route typed, sessions renewed once, what is safe sent again, what is refused told. */
import { expect, test, vi } from 'vitest'
import { ApiError, ConnectionError, MerchantClient, type Tokens } from '../../client/src/index.ts'
import { times } from '../support/at-once.ts'
import { stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { addTotp, codeOf } from '../support/factors.ts'
import { breakable, merchantOf, watchedFetch } from '../support/merchant.ts'
import { logIn, newEmail, newTenant, PASSWORD, signUp } from '../support/tenants.ts'
import { claimsOf, signToken } from '../support/tokens.ts'

/** What it is rejected with. */
const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable('was not refused'),
    (error: unknown) => error,
  )

const answer = (body: unknown, status = 200, headers: Record<string, string> = {}) =>
  new Response(typeof body === 'string' ? body : JSON.stringify(body), {
    status,
    headers: { 'content-type': typeof body === 'string' ? 'text/html' : 'application/json', ...headers },
  })

test('signs up, works in a workspace, walks through pages, and signs out', async () => {
  const merchant = new MerchantClient({ baseUrl: stack.api })
  const email = newEmail()
  expect(await merchant.signUp({ email, password: PASSWORD })).toMatchObject({ email })
  const { id } = await merchant.post('/workspaces', { body: { name: 'Client Store' } })
  const store = merchant.with({ workspaceId: id })
  const names = ['a.txt', 'b.txt', 'c.txt']
  for (const name of names) await store.assets.upload(new TextEncoder().encode(name), { name })
  const found: string[] = []
  for await (const { name } of store.list('/assets', { query: { limit: 2 } })) found.push(name)
  expect(found).toEqual(names.toReversed())
  const pages: number[] = []
  for await (const page of store.pages('/assets', { query: { limit: 2 } })) pages.push(page.length)
  expect(pages).toEqual([2, 1])
  await store.signOut()
  expect(await errorOf(merchant.get('/auth/me'))).toMatchObject({ status: 401, code: 'unauthorized' })
})

test('signs in whoever has a second factor in two steps', async () => {
  const { client, email } = await signUp()
  const { secret } = await addTotp(client)
  const merchant = new MerchantClient({ baseUrl: stack.api })
  const step = await merchant.signIn({ email, password: PASSWORD })
  expect(step?.methods).toEqual(['totp', 'recovery_code'])
  expect(await errorOf(merchant.get('/auth/me'))).toMatchObject({ status: 401 })
  const mfa_token = String(step?.mfa_token)
  expect(await errorOf(merchant.confirmSignIn({ mfa_token, code: '000000' }))).toMatchObject({
    code: 'invalid_code',
  })
  await merchant.confirmSignIn({ mfa_token, code: codeOf(secret) })
  expect((await merchant.get('/auth/me')).email).toBe(email)
})

test('a refusal is a typed problem with its fields, and another tenant sees nothing', async () => {
  const { client } = await newTenant()
  const merchant = merchantOf(client)
  const refused = await errorOf(merchant.post('/generations', { body: { task: 'scene', count: 99 } }))
  expect(refused).toBeInstanceOf(ApiError)
  expect(refused).toMatchObject({
    status: 422,
    code: 'validation_failed',
    errors: [{ pointer: '/count' }],
    requestId: expect.any(String),
    message: expect.stringContaining('/count'),
  })
  const { id } = await merchant.assets.upload(new Blob(['mine']), { name: 'mine.txt' })
  const stranger = merchantOf((await newTenant()).client)
  expect(await errorOf(stranger.assets.get(id))).toMatchObject({ code: 'not_found' })
  await expect(merchant.get('/assets/{id}', { path: { id: '' } })).rejects.toThrow(TypeError)
})

/** A session whose access token has just expired. */
const expiredSession = async () => {
  const tenant = await newTenant()
  const tokens = (await logIn(tenant.email)).body as unknown as Tokens
  const expired = await signToken({
    ...claimsOf(tokens.access_token),
    exp: Math.floor(Date.now() / 1000) - 1,
  })
  let kept: Tokens | undefined = { ...tokens, access_token: expired }
  const store = {
    load: () => kept,
    save: (changed: Tokens | undefined) => {
      kept = changed
    },
  }
  return { ...tenant, store, tokens }
}

test('twenty parallel calls refresh an expired token once', async () => {
  const { client, store } = await expiredSession()
  const asked: string[] = []
  const merchant = merchantOf(client, {
    session: store,
    fetch: watchedFetch(({ url }) => void asked.push(url.pathname)),
  })
  const answers = await times(20, () => merchant.get('/usage'))
  expect(answers.every(({ plan }) => plan === 'free')).toBe(true)
  expect(asked.filter((path) => path.endsWith('/auth/refresh'))).toHaveLength(1)
  expect(asked.filter((path) => path.endsWith('/usage'))).toHaveLength(40)
})

test('a refresh whose answer was lost is asked for again, and two tabs share what comes of it', async () => {
  const { client, store } = await expiredSession()
  const link = await breakable()
  link.fault({ kind: 'reset', of: 'answer', match: 'POST /api/v1/auth/refresh', times: 1 })
  const tabs = [1, 2].map(() => merchantOf(client, { session: store, baseUrl: link.origin }))
  const before = store.load()?.refresh_token
  await Promise.all(tabs.map((tab) => tab.get('/usage')))
  expect(store.load()?.refresh_token).not.toBe(before)
  // And the next rotation holds.
  await merchantOf(client, { session: store }).post('/auth/refresh', {
    body: { refresh_token: String(store.load()?.refresh_token) },
  })
})

test('whoever leaves during a refresh leaves at once, and the others get its tokens', async () => {
  const { client, store } = await expiredSession()
  const controller = new AbortController()
  let refreshes = 0
  const merchant = merchantOf(client, {
    session: store,
    fetch: watchedFetch(({ url }) => {
      if (!url.pathname.endsWith('/auth/refresh')) return
      refreshes++
      controller.abort(new Error('left'))
    }),
  })
  const leaving = errorOf(merchant.get('/usage', { signal: controller.signal }))
  const staying = times(3, () => merchant.get('/usage'))
  expect(await leaving).toMatchObject({ message: 'left' })
  expect(await staying).toHaveLength(3)
  expect(refreshes).toBe(1)
})

test('a session that has ended is said so, once, and forgotten', async () => {
  const { client, store, userId } = await expiredSession()
  await asOwner('update sessions set revoked_at = now() where user_id = $1', [userId])
  const asked: string[] = []
  const merchant = merchantOf(client, {
    session: store,
    fetch: watchedFetch(({ url }) => void asked.push(url.pathname)),
  })
  const refused = await Promise.all([1, 2, 3].map(() => errorOf(merchant.get('/usage'))))
  expect(refused).toMatchObject([1, 2, 3].map(() => ({ status: 401, code: 'unauthorized' })))
  expect(asked.filter((path) => path.endsWith('/auth/refresh'))).toHaveLength(1)
  expect(store.load()).toBeUndefined()
  const { client: other, store: stale, userId: somebody } = await expiredSession()
  await asOwner('update sessions set revoked_at = now() where user_id = $1', [somebody])
  await merchantOf(other, { session: stale }).signOut()
  expect(stale.load()).toBeUndefined()
})

test('headers of a call replace those of the client, in whatever case', async () => {
  const { client } = await newTenant()
  let sent = new Headers()
  const merchant = merchantOf(client, {
    headers: { 'X-Request-Id': 'of-the-client' },
    fetch: watchedFetch(({ init }) => {
      sent = new Headers(init.headers)
    }),
  })
  await merchant.get('/usage', { headers: { 'x-request-id': 'of-the-call' } })
  expect(sent.get('x-request-id')).toBe('of-the-call')
})

test('a token from elsewhere is asked for again when it is refused, once for all', async () => {
  const { client, token, tokens, store } = await expiredSession()
  const refusals: (string | undefined)[] = []
  const merchant = merchantOf(client, {
    token: (refused) => {
      if (refused) refusals.push(refused)
      return refused ? String(token) : String(store.load()?.access_token)
    },
  })
  await times(5, () => merchant.get('/usage'))
  expect(refusals).toEqual([store.load()?.access_token])
  const wrong = await errorOf(
    merchantOf(client, { token: tokens.access_token }).post('/auth/password', {
      body: { currentPassword: 'not this one', newPassword: `another ${PASSWORD}` },
    }),
  )
  expect(wrong).toMatchObject({ status: 401, code: 'invalid_credentials' })
})

/** What the client does after answers like these, each with the milliseconds since the one before. */
const afterAnswers = async (
  answers: (() => Response)[],
  call: (merchant: MerchantClient) => Promise<unknown>,
) => {
  const { client } = await newTenant()
  const waits: number[] = []
  let last = performance.now()
  const merchant = merchantOf(client, {
    fetch: watchedFetch((_, count) => {
      waits.push(performance.now() - last)
      last = performance.now()
      return answers[count - 1]?.()
    }),
  })
  const outcome = await call(merchant).catch((error: unknown) => error)
  return { outcome, waits: waits.slice(1) }
}
const limited = (retryAfter: string, date?: string) => () =>
  answer({ code: 'rate_limited', detail: 'Too many.' }, 429, {
    'retry-after': retryAfter,
    ...(date && { date }),
  })

test('429: waits as long as Retry-After says, in seconds or as a date by the clock of the answer', async () => {
  const usage = (merchant: MerchantClient) => merchant.get('/usage')
  const bySeconds = await afterAnswers([limited('1')], usage)
  expect(bySeconds.outcome).toMatchObject({ plan: 'free' })
  expect(bySeconds.waits[0]).toBeGreaterThan(990)
  // The answer's clock is ten minutes before this one's.
  const then = Date.now() - 600_000
  const dated = limited(new Date(then + 2000).toUTCString(), new Date(then).toUTCString())
  const byDate = await afterAnswers([dated], usage)
  expect(byDate.outcome).toMatchObject({ plan: 'free' })
  expect(byDate.waits[0]).toBeGreaterThan(990)
  expect(byDate.waits[0]).toBeLessThan(4000)
  // Nothing was done, so it may be sent again whatever it is.
  const posted = await afterAnswers([limited('0')], (merchant) =>
    merchant.post('/workspaces', { body: { name: 'Once' } }),
  )
  expect(posted.outcome).toMatchObject({ name: 'Once' })
  const tooLong = await afterAnswers([limited('3600')], usage)
  expect(tooLong).toMatchObject({ outcome: { status: 429, retryAfter: 3600 }, waits: [] })
})

test('503 without Retry-After, and a page of a proxy: sent again what may be, and told otherwise', async () => {
  const down = () => answer({ code: 'unavailable', detail: 'Away.' }, 503)
  const page = (status: number) => () => answer('<h1>Bad gateway</h1>', status)
  const read = await afterAnswers([down, page(502), page(200)], (merchant) => merchant.get('/usage'))
  expect(read.outcome).toMatchObject({ plan: 'free' })
  expect(read.waits).toHaveLength(3)
  for (const wait of read.waits) expect(wait).toBeGreaterThan(200)
  const written = await afterAnswers([down], (merchant) =>
    merchant.post('/workspaces', { body: { name: 'x' } }),
  )
  expect(written).toMatchObject({ outcome: { status: 503, code: 'unavailable' }, waits: [] })
  const proxied = await afterAnswers([page(403)], (merchant) => merchant.get('/usage'))
  expect(proxied).toMatchObject({ outcome: { status: 403, code: 'unexpected_answer' }, waits: [] })
  const gone = await afterAnswers(Array(9).fill(down), (merchant) =>
    merchant.with({ retries: 2 }).get('/usage'),
  )
  expect(gone).toMatchObject({ outcome: { status: 503 }, waits: [expect.any(Number), expect.any(Number)] })
})

test('a broken answer: reads are repeated, a job is made once, a deletion succeeds, a workspace is not made twice', async () => {
  const { client, workspaceId } = await newTenant()
  const link = await breakable()
  const merchant = merchantOf(client, { baseUrl: link.origin })
  for (const after of [0, 1, 40, 400, 700]) {
    link.fault({ kind: 'reset', of: 'answer', after, match: 'GET /api/v1/usage', times: 1 })
    expect(await merchant.get('/usage'), `after ${after} bytes`).toMatchObject({ plan: 'free' })
  }
  link.fault({ kind: 'reset', of: 'answer', match: 'POST /api/v1/generations', times: 2 })
  const job = await merchant.post('/generations', { body: { task: 'scene', prompt: 'Once' } })
  const jobs = await asOwner('select id from generations where workspace_id = $1', [workspaceId])
  expect(jobs).toEqual([{ id: job.id }])
  const { id } = await merchant.assets.upload(new Blob(['gone']), { name: 'gone.txt' })
  link.fault({ kind: 'reset', of: 'answer', match: 'DELETE /api/v1/assets', times: 1 })
  expect(await merchant.delete('/assets/{id}', { path: { id } })).toBeUndefined()
  expect(await errorOf(merchant.delete('/assets/{id}', { path: { id } }))).toMatchObject({
    code: 'not_found',
  })
  link.fault({ kind: 'reset', of: 'answer', match: 'POST /api/v1/workspaces', times: 1 })
  expect(await errorOf(merchant.post('/workspaces', { body: { name: 'x' } }))).toBeInstanceOf(ConnectionError)
  await link.stop()
  const away = await errorOf(merchant.with({ retries: 1 }).get('/usage'))
  expect(away).toBeInstanceOf(ConnectionError)
})

test('a silent API is not waited for longer than `timeout`, and a clock that is ten minutes off does not matter', async () => {
  const { client } = await newTenant()
  const link = await breakable()
  link.fault({ kind: 'hang', of: 'answer', match: 'GET /api/v1/usage', times: 1 })
  const merchant = merchantOf(client, { baseUrl: link.origin, timeout: 500 })
  expect(await merchant.get('/usage')).toMatchObject({ plan: 'free' })
  const { client: other, store } = await expiredSession()
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 600_000 })
  try {
    expect(await merchantOf(other, { session: store }).get('/usage')).toMatchObject({ plan: 'free' })
  } finally {
    vi.useRealTimers()
  }
})
