/** Health, readiness, and a Worker that is misconfigured or cut off from what it needs. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { createTestHarness } from 'wrangler'
import { builtIn } from '../../src/catalogue/offers.ts'
import { times } from '../support/at-once.ts'
import { createClient } from '../support/client.ts'
import { stack } from '../support/control.ts'
import { newTenant } from '../support/tenants.ts'
import { secrets } from '../support/tokens.ts'
import { waitFor } from '../support/wait-for.ts'

const client = createClient()
const configPath = new URL('../../wrangler.toml', import.meta.url)

test('answers 200 when the Worker is up, and when its database and storage are', async () => {
  const up = await client.request('GET', '/health')
  expect(up.body).toEqual({ status: 'ok' })
  expect(up.headers.get('server-timing')).toContain('desc="0"')
  const ready = await client.request('GET', '/health/ready')
  expect(ready).toMatchObject({
    status: 200,
    body: { checks: { database: 'ok', storage: 'ok' } },
  })
})

test('asks the database and the storage at most once in some seconds', async () => {
  const databaseRequests = async () => {
    const { headers } = await client.request('GET', '/health/ready')
    return /^db;desc="(\d+)"/.exec(headers.get('server-timing') ?? '')?.[1]
  }
  await waitFor('a fresh answer', async () => (await databaseRequests()) === '2')
  expect(await times(20, databaseRequests)).toEqual(Array(20).fill('0'))
  await waitFor('the next one', async () => (await databaseRequests()) === '2', 10_000)
})

const SECRET = 'long-enough-and-secret-for-every-setting'
const key = (kid: string) => ({ kty: 'OKP', crv: 'Ed25519', kid, d: 'x', x: 'x' })
const keys = (kid: string) => JSON.stringify([key(kid)])
/** What a deployment needs, but for the keys of its access tokens. */
const production = {
  PUBLIC_URL: 'https://api.example.com',
  DATABASE_URL: 'postgres://user:password@db.example.com/db',
  SYSTEM_DATABASE_URL: 'postgres://system:password@db.example.com/db',
  GATE_KEY: 'a key of 32 characters or even more',
  S3_ENDPOINT: 'https://s3.example.com/bucket',
  S3_ACCESS_KEY_ID: SECRET,
  S3_SECRET_ACCESS_KEY: SECRET,
  REPLICATE_API_TOKEN: SECRET,
  WEBHOOK_SIGNING_KEY: SECRET,
  FACTOR_KEYS: JSON.stringify([{ kty: 'oct', kid: 'a', k: Buffer.alloc(32).toString('base64url') }]),
  AUDIT_SIGNING_KEY: JSON.stringify(key('audit')),
}

test.each([
  ['a short secret', { ACCESS_TOKEN_KEYS: keys('a'), S3_ACCESS_KEY_ID: 'short' }, /S3_ACCESS_KEY_ID/],
  ['a missing secret', {}, /ACCESS_TOKEN_KEYS/],
  ['a sample secret', { ACCESS_TOKEN_KEYS: keys('local-only') }, /ACCESS_TOKEN_KEYS: [^;]*sample value/],
  [
    'a sample key for checkpoints',
    { ACCESS_TOKEN_KEYS: keys('a'), AUDIT_SIGNING_KEY: JSON.stringify(key('local-only')) },
    /AUDIT_SIGNING_KEY: [^;]*sample value/,
  ],
  [
    'no key for checkpoints',
    { ACCESS_TOKEN_KEYS: keys('a'), AUDIT_SIGNING_KEY: '' },
    /AUDIT_SIGNING_KEY: must be JSON/,
  ],
  [
    'one key id for access tokens and checkpoints',
    { ACCESS_TOKEN_KEYS: keys('audit') },
    /AUDIT_SIGNING_KEY: must have a kid of its own/,
  ],
  [
    'two keys of second factors with one key id',
    {
      ACCESS_TOKEN_KEYS: keys('a'),
      FACTOR_KEYS: JSON.stringify(['A', 'B'].map((k) => ({ kty: 'oct', kid: 'x', k: k.repeat(43) }))),
    },
    /FACTOR_KEYS: must be keys with a kid of their own/,
  ],
  [
    'a second storage without keys',
    { ACCESS_TOKEN_KEYS: keys('a'), S3_FALLBACK_ENDPOINT: 'https://other.example.com/bucket' },
    /S3_FALLBACK_ACCESS_KEY_ID: must be set/,
  ],
  [
    'a second storage that is the first',
    {
      ACCESS_TOKEN_KEYS: keys('a'),
      S3_FALLBACK_ENDPOINT: `${production.S3_ENDPOINT}/`,
      S3_FALLBACK_ACCESS_KEY_ID: SECRET,
      S3_FALLBACK_SECRET_ACCESS_KEY: SECRET,
    },
    /S3_FALLBACK_ENDPOINT: must not be the same bucket/,
  ],
  [
    'an origin that is none',
    { ACCESS_TOKEN_KEYS: keys('a'), ALLOWED_ORIGINS: 'https://app.example.com/' },
    /ALLOWED_ORIGINS: must be origins/,
  ],
  [
    'a relying party of no front end',
    {
      ACCESS_TOKEN_KEYS: keys('a'),
      APP_URL: 'https://app.example.com',
      RELYING_PARTY_ID: 'other.example.com',
    },
    /RELYING_PARTY_ID: must be the host/,
  ],
  [
    'a catalogue with a typo',
    {
      ACCESS_TOKEN_KEYS: keys('a'),
      MODEL_CATALOGUE: JSON.stringify([
        { ...builtIn[0], offers: [{ ...builtIn[0]?.offers[0], input: { promt: 'prompt' } }] },
      ]),
    },
    /MODEL_CATALOGUE\.0\.offers\.0\.input: Unrecognized key: \\?"promt/,
  ],
  [
    'a catalogue that is cut off',
    { ACCESS_TOKEN_KEYS: keys('a'), MODEL_CATALOGUE: '[{"id":' },
    /MODEL_CATALOGUE: must be JSON/,
  ],
])('answers 503 with %s, and logs which, without values', async (_, changes, named) => {
  const harness = createTestHarness({
    workers: [{ configPath, secrets: { ...production, ...changes } }],
  })
  try {
    await harness.listen()
    const response = await harness.fetch('/health')
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({ code: 'misconfigured' })
    const log = harness
      .getLogs()
      .map(({ message }) => message)
      .join('\n')
    expect(log).toMatch(named)
    expect(log).not.toContain(SECRET)
  } finally {
    await harness.close()
  }
})

/** Another Worker on the stack's database, with these settings; undefined takes one away. */
const createHarness = (settings: Record<string, string | undefined>) => {
  const all = {
    ...secrets,
    PUBLIC_URL: 'http://127.0.0.1',
    DATABASE_URL: stack.tenantDatabase,
    SYSTEM_DATABASE_URL: stack.systemDatabase,
    GATE_KEY: stack.gateKey,
    ...settings,
  }
  const given = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]))
  return createTestHarness({ workers: [{ configPath, secrets: Object.fromEntries(given) }] })
}

test('reports the database and the storage as down when neither answers', async () => {
  const harness = createHarness({
    DATABASE_HTTP_URL: 'http://127.0.0.1:9/sql',
    S3_ENDPOINT: 'http://127.0.0.1:9/bucket',
  })
  try {
    await harness.listen()
    const response = await harness.fetch('/health/ready')
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({
      status: 'down',
      checks: { database: 'down', storage: 'down' },
    })
    expect((await harness.fetch('/health')).status).toBe(200)
  } finally {
    await harness.close()
  }
})

test('without any provider nothing is offered, and readiness tells the operator why', async () => {
  const { client: owner, workspaceId } = await newTenant()
  const harness = createHarness({
    DATABASE_HTTP_URL: stack.databaseGateway,
    S3_ENDPOINT: `${stack.models}/no-bucket`,
    REPLICATE_API_TOKEN: undefined,
  })
  try {
    await harness.listen()
    const ask = async (path: string, body?: object) => {
      const response = await harness.fetch(path, {
        method: body ? 'POST' : 'GET',
        headers: {
          authorization: `Bearer ${owner.token}`,
          'x-workspace-id': workspaceId,
          'content-type': 'application/json',
        },
        ...(body && { body: JSON.stringify(body) }),
      })
      return { status: response.status, body: await response.json() }
    }
    expect(await ask('/api/v1/models')).toEqual({ status: 200, body: { data: [], nextCursor: null } })
    const cases = [
      [{ task: 'scene', prompt: 'x' }, '/task'],
      [{ task: 'scene', prompt: 'x', model: 'studio-scene' }, '/model'],
    ] as const
    for (const [request, pointer] of cases) {
      const message = 'cannot be served now: GET /api/v1/models lists what can'
      expect(await ask('/api/v1/generations', request)).toMatchObject({
        status: 422,
        body: { errors: [{ pointer, message }] },
      })
    }
    const { body } = await ask('/health/ready')
    expect(body).toMatchObject({ checks: { models: 'degraded' } })
    const offers = builtIn.flatMap((model) =>
      model.offers.map(({ provider, model }) => `${provider}:${model}`),
    )
    const told = (body as { offers: Record<string, string>[] }).offers
    expect(told.map(({ provider, model }) => `${provider}:${model}`)).toEqual([...new Set(offers)])
    expect(new Set(told.map(({ reason }) => reason))).toEqual(new Set(['key_missing']))
  } finally {
    await harness.close()
  }
})

test('is not held up by a storage that accepts connections and never answers', async () => {
  const silent = createServer(() => undefined).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const { client: owner, workspaceId } = await newTenant()
  const harness = createHarness({
    DATABASE_HTTP_URL: stack.databaseGateway,
    S3_ENDPOINT: `http://127.0.0.1:${port}/bucket`,
  })
  try {
    await harness.listen()
    const started = Date.now()
    const ready = await harness.fetch('/health/ready')
    expect(await ready.json()).toMatchObject({ status: 'down', checks: { database: 'ok', storage: 'down' } })
    expect(Date.now() - started).toBeLessThan(5000)
    const upload = await harness.fetch('/api/v1/assets/upload', {
      method: 'POST',
      headers: {
        authorization: `Bearer ${owner.token}`,
        'x-workspace-id': workspaceId,
        'content-type': 'multipart/form-data; boundary=b',
      },
      body: '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\na\r\n--b--\r\n',
    })
    expect(upload.status).toBe(503)
    expect(upload.headers.get('retry-after')).toBe('1')
    // All attempts together; a client's own patience is rarely longer.
    expect(Date.now() - started).toBeLessThan(38_000)
  } finally {
    await harness.close()
    silent.closeAllConnections()
    silent.close()
  }
}, 120_000)
