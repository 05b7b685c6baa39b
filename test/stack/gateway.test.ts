/** The gateway as the Worker sees it: Neon's real driver and drizzle, against a real PostgreSQL. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NeonDbError, neon, neonConfig } from '@neondatabase/serverless'
import { eq, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/neon-http'
import {
  bigint,
  customType,
  integer,
  jsonb,
  numeric,
  pgTable,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type LocalDatabase, startDatabase } from '../../dev/postgres/database.ts'
import { startGateway } from '../../dev/postgres/gateway.ts'
import { withClient } from '../../scripts/migrate.ts'

const MIGRATION = `
do $$ begin
  if to_regrole('app_tenant') is null then create role app_tenant nologin; end if;
  if to_regrole('app_system') is null then create role app_system nologin; end if;
end $$;
create table sample (
  id uuid primary key, big int8, price numeric, at timestamptz, data jsonb, bytes bytea, tags text[],
  counts int4[], body text unique
);
grant select, insert, update on sample to app_tenant;
create schema app;
grant usage on schema app to app_tenant, app_system;
create function app.enter(who uuid) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('app.user_id', who::text, true);
  return who;
end $$;`

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' })
const sample = pgTable('sample', {
  id: uuid().primaryKey(),
  big: bigint({ mode: 'bigint' }),
  price: numeric(),
  at: timestamp({ withTimezone: true }),
  data: jsonb(),
  bytes: bytea(),
  tags: text().array(),
  counts: integer().array(),
  body: text(),
})

let folder: string
let database: LocalDatabase
const cleanUp: (() => Promise<unknown>)[] = []

const asTenant = sql`select set_config('role', 'app_tenant', true)`
const enter = (who: string) => sql`select app.enter(${who}::uuid)`
const client = (url = database.tenantUrl) => drizzle(neon(url))

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gateway-test-'))
  // As root, the server runs as another user: let it in.
  await chmod(folder, 0o755)
  await mkdir(join(folder, 'migrations', 'meta'), { recursive: true })
  await writeFile(join(folder, 'migrations', '0000_sample.sql'), MIGRATION)
  const entry = { idx: 0, version: '7', when: 1, tag: '0000_sample', breakpoints: true }
  const journal = { version: '7', dialect: 'postgresql', entries: [entry] }
  await writeFile(join(folder, 'migrations', 'meta', '_journal.json'), JSON.stringify(journal))
  database = await startDatabase({
    dataDir: folder,
    databaseUrl: process.env.DATABASE_URL,
    database: `gateway_test_${process.pid}`,
    migrationsFolder: join(folder, 'migrations'),
    durable: false,
    dropOnStop: true,
    log: () => {},
  })
  neonConfig.fetchEndpoint = database.gatewayUrl
}, 30_000)

afterEach(async () => {
  neonConfig.fetchEndpoint = database.gatewayUrl
  for (const step of cleanUp.splice(0)) await step()
})

afterAll(async () => {
  await database?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Points the driver at a gateway of its own with a single connection, so that a leak can't hide. */
async function oneConnection(databaseUrl = database.tenantUrl) {
  const gateway = await startGateway({ databaseUrls: [databaseUrl], poolSize: 1 })
  cleanUp.push(gateway.stop)
  neonConfig.fetchEndpoint = gateway.url
  return gateway
}

function post(url: string, body: unknown, signal?: AbortSignal) {
  return fetch(url, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    signal: signal ?? null,
    headers: {
      'Neon-Connection-String': database.tenantUrl,
      'Neon-Raw-Text-Output': 'true',
      'Neon-Array-Mode': 'true',
    },
  })
}

/** What the driver threw, below drizzle's wrapping. */
async function failure(promise: Promise<unknown>): Promise<NeonDbError> {
  const error = await promise.then(
    () => expect.fail('it should have failed'),
    (reason: unknown) => (reason instanceof NeonDbError ? reason : (reason as Error).cause),
  )
  expect(error).toBeInstanceOf(NeonDbError)
  return error as NeonDbError
}

async function countRows(id: string): Promise<number> {
  const [, rows] = await client().batch([
    client().execute(asTenant),
    client().select().from(sample).where(eq(sample.id, id)),
  ])
  return rows.length
}

describe('values', () => {
  test('every type comes back as it went in', async () => {
    const row = {
      id: crypto.randomUUID(),
      big: 9_007_199_254_740_993n,
      price: '12345678901234567890.000000001',
      at: new Date('2024-02-29T23:59:59.123Z'),
      data: { text: 'ä"\\ 😀', list: [1, null, { deep: true }] },
      bytes: Buffer.from([0, 1, 127, 128, 255]),
      tags: ['a', 'with "quotes", commas {and} braces', '', 'NULL', 'é😀'],
      counts: [1, -2, 2_147_483_647],
      body: `Ünïcode 😀 漢字 \\ ' " \n\t ${crypto.randomUUID()}`,
    }
    const db = client()
    const [, inserted, selected] = await db.batch([
      db.execute(asTenant),
      db.insert(sample).values(row).returning(),
      db.select().from(sample).where(eq(sample.id, row.id)),
    ])
    expect(inserted).toEqual([row])
    expect(selected).toEqual([row])
  })

  test('nulls stay nulls, and times are in UTC', async () => {
    const db = neon(database.tenantUrl)
    const rows = await db`select null::text as nothing, ${null}::uuid as none, '{}'::text[] as empty,
      to_timestamp(0)::text as at`
    expect(rows).toEqual([{ nothing: null, none: null, empty: [], at: '1970-01-01 00:00:00+00' }])
  })

  test('a result says its command, its count and its columns', async () => {
    const result = await neon(database.tenantUrl, { fullResults: true })`select 1 as one, 'x'::text as two`
    expect(result).toMatchObject({
      command: 'SELECT',
      rowCount: 1,
      fields: [
        { name: 'one', dataTypeID: 23 },
        { name: 'two', dataTypeID: 25 },
      ],
    })
  })
})

describe('a batch', () => {
  test('is one transaction: all of it or nothing', async () => {
    const db = client()
    const id = crypto.randomUUID()
    const insert = () => db.insert(sample).values({ id })
    const error = await failure(
      db.batch([db.execute(asTenant), insert(), insert(), db.execute(sql`select 1`)]),
    )
    expect(error.code).toBe('23505')
    expect(await countRows(id)).toBe(0)
    await db.batch([db.execute(asTenant), insert()])
    expect(await countRows(id)).toBe(1)
  })

  test('fails when the commit does', async () => {
    await withClient(database.adminUrl, async (admin) => {
      await admin.query('create table late (id int unique deferrable initially deferred)')
      await admin.query('grant insert on late to app_tenant')
    })
    const db = client()
    const late = db.batch([db.execute(asTenant), db.execute(sql`insert into late values (1), (1)`)])
    expect((await failure(late)).code).toBe('23505')
  })

  test('runs with the isolation level, the mode and the default that were asked for', async () => {
    const db = neon(database.tenantUrl)
    const ask = () => db`select current_setting('transaction_isolation') as level,
      current_setting('transaction_read_only') as readonly, current_setting('transaction_deferrable') as deferrable`
    const options = { isolationLevel: 'Serializable', readOnly: true, deferrable: true } as const
    expect(await db.transaction([ask()])).toEqual([
      [{ level: 'read committed', readonly: 'off', deferrable: 'off' }],
    ])
    expect(await db.transaction([ask()], options)).toEqual([
      [{ level: 'serializable', readonly: 'on', deferrable: 'on' }],
    ])
    expect(await db.transaction([ask()], { isolationLevel: 'RepeatableRead' })).toEqual([
      [{ level: 'repeatable read', readonly: 'off', deferrable: 'off' }],
    ])
    const error = await failure(db.transaction([db`create temp table nope (id int)`], { readOnly: true }))
    expect(error.code).toBe('25006')
  })

  test('keeps what a definer function set until its end, and no longer', async () => {
    await oneConnection()
    const db = client()
    const who = crypto.randomUUID()
    const look = () =>
      db.execute(
        sql`select current_user as role, nullif(current_setting('app.user_id', true), '') as user_id`,
      )
    const [, , during] = await db.batch([db.execute(enter(who)), db.execute(asTenant), look()])
    expect(during.rows).toEqual([{ role: 'app_tenant', user_id: who }])
    const [after] = await db.batch([look()])
    expect(after.rows).toEqual([{ role: expect.stringMatching(/^app_login/), user_id: null }])
  })

  test('that fails leaves no role and no setting behind either', async () => {
    await oneConnection()
    const db = client()
    const broken = db.batch([
      db.execute(enter(crypto.randomUUID())),
      db.execute(asTenant),
      db.execute(sql`select 1/0`),
    ])
    expect((await failure(broken)).code).toBe('22012')
    const look = sql`select current_user as role, nullif(current_setting('app.user_id', true), '') as user_id`
    expect((await db.execute(look)).rows).toEqual([
      { role: expect.stringMatching(/^app_login/), user_id: null },
    ])
  })

  test('whose client goes away ends all the same, and its connection serves the next', async () => {
    const gateway = await oneConnection()
    const id = crypto.randomUUID()
    await withClient(database.adminUrl, async (admin) => {
      await admin.query('select pg_advisory_lock(4711)')
      const abort = new AbortController()
      const queries = [
        { query: `select set_config('role', 'app_tenant', true)`, params: [] },
        { query: 'insert into sample (id) values ($1)', params: [id] },
        { query: 'select pg_advisory_xact_lock(4711)', params: [] },
      ]
      const request = post(gateway.url, { queries }, abort.signal)
      await expect
        .poll(
          async () =>
            (await admin.query(`select from pg_locks where locktype = 'advisory' and not granted`)).rowCount,
        )
        .toBe(1)
      abort.abort()
      await expect(request).rejects.toThrow('aborted')
      await admin.query('select pg_advisory_unlock(4711)')
    })
    const rows = await neon(database.tenantUrl)`select current_user as role`
    expect(rows).toEqual([{ role: expect.stringMatching(/^app_login/) }])
    expect(await countRows(id)).toBe(1)
  })
})

describe('a connection', () => {
  test('forgets what a statement did to its session', async () => {
    await oneConnection()
    const db = neon(database.tenantUrl)
    await db`select set_config('app.user_id', 'leak', false), set_config('search_path', 'app', false)`
    await db`set role app_tenant`
    await db`select pg_advisory_lock(42)`
    await db`begin`
    const rows =
      await db`select current_user as role, nullif(current_setting('app.user_id', true), '') as user_id,
      current_setting('search_path') as path, (select count(*)::int from pg_locks where locktype = 'advisory') as locks`
    expect(rows).toEqual([
      { role: expect.stringMatching(/^app_login/), user_id: null, path: '"$user", public', locks: 0 },
    ])
  })

  test('that the server ends fails its own request only', async () => {
    await oneConnection()
    const db = neon(database.tenantUrl)
    expect((await failure(db`select pg_terminate_backend(pg_backend_pid())`)).code).toBe('57P01')
    expect(await db`select 1 as one`).toEqual([{ one: 1 }])
  })
})

describe('errors', () => {
  test('carry what PostgreSQL said', async () => {
    const db = client()
    const row = { id: crypto.randomUUID(), body: crypto.randomUUID() }
    await db.batch([db.execute(asTenant), db.insert(sample).values(row)])
    const twice = db.insert(sample).values({ ...row, id: crypto.randomUUID() })
    expect(await failure(db.batch([db.execute(asTenant), twice]))).toMatchObject({
      message: 'duplicate key value violates unique constraint "sample_body_key"',
      code: '23505',
      detail: `Key (body)=(${row.body}) already exists.`,
      severity: 'ERROR',
      schema: 'public',
      table: 'sample',
      constraint: 'sample_body_key',
    })
    const raised = db.execute(
      sql`do $$ begin raise 'no' using errcode = 'AP401', hint = 'try', detail = 'because'; end $$`,
    )
    expect(await failure(raised)).toMatchObject({
      message: 'no',
      code: 'AP401',
      hint: 'try',
      detail: 'because',
    })
    expect(await failure(db.execute(sql`selec 1`))).toMatchObject({ code: '42601', position: '1' })
  })

  test.each([
    ['a NUL', sql`select ${'a\0b'}::text`, 'invalid byte sequence for encoding "UTF8": 0x00'],
    ['a NUL in the query', sql.raw('select 1 \0'), 'string contains embedded null'],
    ['half a character', sql`select ${'a\ud800b'}::text`, /could not parse the HTTP request body/],
    ['two statements', sql`select 1; select 2`, /cannot insert multiple commands/],
    ['COPY', sql`copy sample from stdin`, 'COPY does not work over HTTP'],
  ])('%s is refused, and the gateway lives on', async (_name, query, message) => {
    expect((await failure(client().execute(query))).message).toMatch(message)
    expect((await client().execute(sql`select 1 as one`)).rows).toEqual([{ one: 1 }])
  })

  test.each([
    ['no JSON', '{', 400],
    ['no query', { params: [] }, 400],
    ['too many parameters', { query: 'select 1', params: Array(65_536).fill('x') }, 400],
    ['a body past 10 MiB', { query: 'select 1', params: ['x'.repeat(10 * 1024 * 1024)] }, 413],
  ])('%s is refused', async (_name, body, status) => {
    const response = await post(database.gatewayUrl, body)
    expect(response.status).toBe(status)
    expect(await response.json()).toHaveProperty('message')
  })

  test('another user, password or database is refused', async () => {
    const change = (parts: Partial<URL>) => Object.assign(new URL(database.tenantUrl), parts).href
    const wrongPassword = client(change({ password: 'wrong' })).execute(sql`select 1`)
    expect(await failure(wrongPassword)).toMatchObject({
      message: expect.stringMatching(/^password authentication failed/),
      code: '28P01',
    })
    expect((await failure(client(database.adminUrl).execute(sql`select 1`))).code).toBe('28P01')
    expect((await failure(client(change({ pathname: '/nope' })).execute(sql`select 1`))).code).toBe('3D000')
  })

  test('a database that is down is a 503, not a hang', async () => {
    const down = Object.assign(new URL(database.tenantUrl), { port: '1' }).href
    await oneConnection(down)
    expect((await failure(client(down).execute(sql`select 1`))).message).toMatch(
      /HTTP status 503.*cannot reach/,
    )
  })
})

describe('faults', () => {
  test('unreachable: nothing runs, then all is well again', async () => {
    const id = crypto.randomUUID()
    const db = client()
    const insert = () => db.batch([db.execute(asTenant), db.insert(sample).values({ id })])
    database.failNext(2, 'unreachable')
    expect((await failure(insert())).message).toMatch(/HTTP status 503/)
    expect((await failure(insert())).message).toMatch(/HTTP status 503/)
    expect(await countRows(id)).toBe(0)
    await insert()
  })

  test('after_commit: it is done, but nobody hears of it', async () => {
    const id = crypto.randomUUID()
    const db = client()
    database.failNext(1, 'after_commit')
    const insert = db.batch([db.execute(asTenant), db.insert(sample).values({ id })])
    expect((await failure(insert)).message).toMatch(/^Error connecting to database/)
    expect(await countRows(id)).toBe(1)
  })
})
