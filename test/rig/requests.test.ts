/** Requests that meet the deployed bundle as the world sends them: many at once, refused unread, broken off, beside sign-ins. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Rig, startRig } from '../../dev/rig/rig.ts'
import { times } from '../support/at-once.ts'
import { merchantAt, newMerchantAt } from '../support/merchant.ts'
import { send } from '../support/send.ts'
import { waitFor } from '../support/wait-for.ts'

let rig: Rig
let token: string
let workspaceId: string
let account: { email: string; password: string }

beforeAll(async () => {
  rig = await startRig({ cron: false })
  ;({ account, token, workspaceId } = await newMerchantAt(rig.url))
}, 90_000)

afterEach(async () => {
  for (const link of Object.values(rig.links)) {
    link.clearFaults()
    await link.start()
  }
  for (const { name } of rig.api) await rig.start(name)
})

afterAll(() => rig?.stop(), 60_000)

test('a fresh process answers many first requests at once, though some who asked have left', async () => {
  const before = rig.exceptions().length
  await rig.kill('api-1')
  await rig.start('api-1')
  const paths = ['assets', 'generations', 'models', 'usage', 'audit-logs', 'api-keys', 'webhooks', 'nothing']
  const read = async (path: string, signal?: AbortSignal) => {
    const { status, body } = await fetch(`${rig.api[0]?.url()}/api/v1/${path}`, {
      headers: { authorization: `Bearer ${token}`, 'x-workspace-id': workspaceId },
      ...(signal && { signal }),
    })
    await body?.cancel()
    return status
  }
  const leave = (path: string) =>
    read(path, AbortSignal.timeout(Math.round(Math.random() * 100))).catch(() => 0)
  const statuses = await Promise.all(
    paths.map(async (path) => {
      const [, , ...stayed] = await Promise.all([
        leave(path),
        leave(path),
        read(path),
        read(path),
        read(path),
      ])
      return stayed
    }),
  )
  expect(statuses).toEqual(paths.map((path) => Array(3).fill(path === 'nothing' ? 404 : 200)))
  expect(rig.exceptions().slice(before)).toEqual([])
})

test('whoever sends what is refused unread gets the answer, and no reset', async () => {
  const large = new Blob([JSON.stringify({ name: 'x'.repeat(3_000_000) })])
  for (const [type, status, asBody] of [
    ['application/json', 413, () => large],
    ['application/json', 413, () => large.stream()],
    ['text/plain', 415, () => large],
    ['text/plain', 415, () => large.stream()],
  ] as const) {
    for (let i = 0; i < 20; i++) {
      const headers = { authorization: `Bearer ${token}`, 'content-type': type }
      const init = { method: 'POST', headers, body: asBody(), duplex: 'half' }
      const answer = await fetch(`${rig.url}/api/v1/workspaces`, init)
      expect(answer.status).toBe(status)
      await answer.body?.cancel()
    }
  }
})

const chunkOf300KB = `${(300_000).toString(16)}\r\n${'x'.repeat(300_000)}\r\n`

test.each([
  ['announces', `Content-Length: 300000\r\n\r\n{`],
  ['begins', `Transfer-Encoding: chunked\r\n\r\n${chunkOf300KB}`],
  ['belittles', `Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n${chunkOf300KB}`],
])('whoever %s what is refused, and never sends all of it, is answered, too', async (_, rest) => {
  const socket = connect(Number(new URL(rig.url).port), '127.0.0.1')
  const head = 'POST /api/v1/workspaces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json'
  socket.write(`${head}\r\n${rest}`)
  const [answer] = await once(socket, 'data')
  socket.destroy()
  expect(String(answer)).toMatch(/^HTTP\/1.1 413 /)
})

test.each([
  ['announces', 'Content-Length: 100\r\n\r\n{'],
  ['begins', 'Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n'],
])(
  'whoever %s a body and falls silent is answered before long',
  async (_, rest) => {
    const socket = connect(Number(new URL(rig.url).port), '127.0.0.1')
    const head = 'POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json'
    socket.write(`${head}\r\n${rest}`)
    const [answer] = await once(socket, 'data', { signal: AbortSignal.timeout(25_000) })
    socket.destroy()
    expect(String(answer)).toMatch(/^HTTP\/1.1 400 .*"code":"malformed_json"/s)
  },
  40_000,
)

test('while a hundred sign in, reads are answered at once, and whoever would wait for long is refused', async () => {
  const read = async () => {
    const asked = performance.now()
    const { status } = await send('GET', `${rig.url}/api/v1/auth/me`, undefined, {
      authorization: `Bearer ${token}`,
    })
    expect(status).toBe(200)
    return performance.now() - asked
  }
  const middle = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
  const quiet: number[] = []
  for (let i = 0; i < 20; i++) quiet.push(await read())
  // The lines of six of the eight hashers are full, however fast the machine is.
  const lines = Array.from({ length: 6 * 25 }, (_, i) =>
    rig.callObject('HASHER', `hasher-${i % 6}`, 'find', 'any', []),
  )
  let areDone = false
  // An address may sign in thirty times a minute.
  const signIns = times(100, (i) =>
    fetch(`${rig.url}/api/v1/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'cf-connecting-ip': `198.51.100.${i % 4}` },
      body: JSON.stringify({ email: `nobody-${i}@example.com`, password: 'not the password' }),
    }).then(async ({ status, headers, body }) => {
      await body?.cancel()
      return `${status} ${headers.get('retry-after') ?? ''}`.trim()
    }),
  ).finally(() => {
    areDone = true
  })
  const started = performance.now()
  const waits: number[] = []
  while (!areDone) {
    waits.push(await read())
    // A user may ask 1,200 times a minute.
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  // Nobody waits for all of them.
  expect(performance.now() - started).toBeLessThan(30_000)
  const answers = Map.groupBy(await signIns, (answer) => answer)
  await Promise.all(lines)
  expect([...answers.keys()].toSorted()).toEqual(['401', '503 5'])
  expect(answers.get('401')?.length).toBeGreaterThan(5)
  // Most would have waited for a hash.
  expect(middle(waits)).toBeLessThan(3 * middle(quiet) + 50)
}, 90_000)

test('whoever signs in while no hasher answers, or one is lost, is not kept waiting', async () => {
  const account = { email: 'patient@example.com', password: 'correct horse battery staple' }
  await merchantAt(rig.url).post('/auth/register', { body: account })
  const signIn = async () => {
    const started = performance.now()
    const { status } = await fetch(`${rig.url}/api/v1/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'cf-connecting-ip': '203.0.113.77' },
      body: JSON.stringify(account),
    })
    return { status, ms: performance.now() - started }
  }
  rig.links.hashers.fault({ kind: 'hang', of: 'answer' })
  const hung = await signIn()
  expect(hung.status).toBe(503)
  expect(hung.ms).toBeLessThan(15_000)
  rig.links.hashers.clearFaults()
  await rig.kill('hashers')
  expect((await signIn()).status).toBe(503)
  await rig.start('hashers')
  await waitFor('sign-in', async () => (await signIn()).status === 200)
}, 60_000)

test('people who hang up while they sign in leave no trace for others', async () => {
  const signIn = (signal?: AbortSignal) =>
    fetch(`${rig.api[0]?.url()}/api/v1/auth/login`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'cf-connecting-ip': `198.51.100.${Math.floor(Math.random() * 250)}`,
      },
      body: JSON.stringify(account),
      ...(signal && { signal }),
    }).then(
      ({ status }) => status,
      () => 0,
    )
  const before = rig.exceptions().length
  // The limit by address allows ten.
  await times(8, () => signIn(AbortSignal.timeout(Math.round(20 + Math.random() * 300))))
  expect(await times(2, () => signIn())).toEqual([200, 200])
  expect(rig.exceptions().slice(before)).toEqual([])
})
