import { readFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'
import { expect, test } from 'vitest'
import { createTestHarness } from 'wrangler'
import { createClient, openApi, stack } from '../support/client.ts'

const client = createClient()
const configPath = new URL('../../wrangler.toml', import.meta.url)

test('is up, and ready', async () => {
  const up = await client.request('GET', '/health')
  expect(up.body).toEqual({ status: 'ok' })
  expect(up.headers.get('server-timing')).toContain('desc="0"')
  const ready = await client.request('GET', '/health/ready')
  expect(ready).toMatchObject({
    status: 200,
    body: { status: 'ok', checks: { database: 'ok', storage: 'ok' } },
  })
})

test('shows its reference, with nothing from elsewhere', async () => {
  const page = await client.request<string>('GET', '/docs')
  expect(page.headers.get('content-type')).toContain('text/html')
  const sources = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, source]) => source as string)
  expect(sources.length).toBe(2)
  for (const source of sources) {
    expect(source).toMatch(/^\/docs\//)
    expect((await fetch(stack.api + source)).status).toBe(200)
  }
  expect(openApi).toMatchObject({ openapi: '3.1.0' })
  expect((await fetch(`${stack.api}/index.html`)).status).toBe(404)
})

test('tells an unknown route from a wrong method', async () => {
  expect(await client.get('/nothing')).toMatchObject({ status: 404, body: { code: 'not_found' } })
  const wrong = await client.request('DELETE', '/api/v1/models')
  expect(wrong).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } })
  expect(wrong.headers.get('allow')).toBe('GET, HEAD')
})

test('refuses to serve with missing, short or sample secrets', async () => {
  const sample = { ACCESS_TOKEN_KEYS: '[{"kty":"OKP","crv":"Ed25519","kid":"local-only","d":"x","x":"x"}]' }
  const long = 'long-enough-and-secret'
  const harness = createTestHarness({
    workers: [
      {
        configPath,
        secrets: {
          ...sample,
          PUBLIC_URL: 'https://api.example.com',
          DATABASE_URL: 'postgres://user:password@db.example.com/db',
          S3_ACCESS_KEY_ID: 'short',
          S3_SECRET_ACCESS_KEY: long,
          REPLICATE_API_TOKEN: long,
        },
      },
    ],
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
    expect(log).toMatch(/S3_ACCESS_KEY_ID/)
    expect(log).not.toContain(long)
  } finally {
    await harness.close()
  }
})

test('says when the database, or the storage, is away', async () => {
  const harness = createTestHarness({
    workers: [
      {
        configPath,
        secrets: {
          ...parseEnv(await readFile(new URL('../../.dev.vars.example', import.meta.url), 'utf8')),
          PUBLIC_URL: 'http://127.0.0.1',
          DATABASE_URL: stack.appDatabase,
          DATABASE_HTTP_URL: 'http://127.0.0.1:9/sql',
          S3_ENDPOINT: 'http://127.0.0.1:9/bucket',
        } as Record<string, string>,
      },
    ],
  })
  try {
    await harness.listen()
    const response = await harness.fetch('/health/ready')
    expect(response.status).toBe(503)
    expect(await response.json()).toEqual({ status: 'down', checks: { database: 'down', storage: 'down' } })
    expect((await harness.fetch('/health')).status).toBe(200)
  } finally {
    await harness.close()
  }
})
