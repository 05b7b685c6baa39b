/** The database keeps tenants apart: the Worker's own login tries to cross over in SQL. */
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'
import { finished, generate } from '../support/generations.ts'
import { invite, newKey, newTenant, type Tenant } from '../support/tenants.ts'

const login = new pg.Client(stack.appDatabase)
let ours: Tenant
let theirs: Tenant

const tables = (
  await asOwner<{ name: string; key: string }>(
    `select relname as name, coalesce((select 'workspace_id' from pg_attribute where attrelid = c.oid and attname = 'workspace_id'), 'id') as key
       from pg_class c where relnamespace = 'public'::regnamespace and relkind = 'r' and relname not in ('users', 'sessions', 'accounts', 'event_heads')`,
  )
).sort((a, b) => a.name.localeCompare(b.name))

/** Runs as app_tenant in a transaction that is rolled back. */
const asTenant = async <T>(settings: Record<string, string>, run: () => Promise<T>): Promise<T> => {
  await login.query('begin')
  try {
    for (const [name, value] of Object.entries(settings)) {
      await login.query('select set_config($1, $2, true)', [`app.${name}`, value])
    }
    await login.query('set local role app_tenant')
    return await run()
  } finally {
    await login.query('rollback')
  }
}

const asUs = () => ({ workspace_id: ours.workspaceId, user_id: ours.userId })
const count = async (table: string) =>
  Number((await login.query(`select count(*) from ${table}`)).rows[0].count)
const sqlState = (query: Promise<unknown>) =>
  query.then(
    () => 'no error',
    (error: { code: string }) => error.code,
  )

const newWork = async () => {
  const tenant = await newTenant()
  await tenant.client.upload('file.txt', 'some text')
  await tenant.client.post('/webhooks', { url: 'http://127.0.0.1:9/' })
  const job = await generate(tenant.client)
  await finished(tenant.client, job.id)
  await invite(tenant.client, tenant.workspaceId)
  await newKey(tenant.client, ['asset.list'])
  await asOwner(
    `insert into outbox (workspace_id, kind, subject_id, available_at) values ($1, 'object.delete', gen_random_uuid(), now() + interval '1 day')`,
    [tenant.workspaceId],
  )
  return tenant
}

beforeAll(async () => {
  await login.connect()
  ours = await newWork()
  theirs = await newWork()
})
afterAll(() => login.end())

test('the login is a plain member of two roles that cannot bypass row-level security', async () => {
  const { rows } = await login.query(
    `select rolname, rolsuper, rolbypassrls, rolcreaterole,
            (select array_agg(r.rolname::text order by r.rolname) from pg_auth_members m join pg_roles r on r.oid = m.roleid where m.member = p.oid) as member_of
       from pg_roles p where rolname in (current_user, 'app_tenant', 'app_system')`,
  )
  expect(rows).toHaveLength(3)
  for (const row of rows) {
    expect(row).toMatchObject({ rolsuper: false, rolbypassrls: false, rolcreaterole: false })
    if (!String(row.rolname).match(/^app_(tenant|system)$/))
      expect(row.member_of).toEqual(['app_system', 'app_tenant'])
  }
})

test('row-level security is forced on every table', async () => {
  const open = await asOwner(
    `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and not (relrowsecurity and relforcerowsecurity)`,
  )
  expect(open).toEqual([])
})

describe.each(tables)('$name', ({ name, key }) => {
  test('has rows of both tenants, which its owner sees, so that these tests can fail', async () => {
    const [row] = await asOwner(
      `select count(distinct ${key})::int as tenants from ${name} where ${key} = any($1)`,
      [[ours.workspaceId, theirs.workspaceId]],
    )
    expect(row).toEqual({ tenants: 2 })
  })

  test('shows nothing without settings', async () => {
    expect(await asTenant({}, () => count(name))).toBe(0)
    expect(await asTenant({ workspace_id: '', user_id: '' }, () => count(name))).toBe(0)
  })

  test('shows only our rows with our settings', async () => {
    const keys = await asTenant(asUs(), () => login.query(`select distinct ${key} as key from ${name}`))
    expect(keys.rows).toEqual([{ key: ours.workspaceId }])
  })

  test("refuses to change, move or delete the other tenant's rows", async () => {
    for (const statement of [
      `update ${name} set ${key} = ${key} where ${key} = $1`,
      `delete from ${name} where ${key} = $1`,
    ]) {
      const changed = await asTenant(asUs(), () =>
        login.query(statement, [theirs.workspaceId]).then(
          (result) => result.rowCount,
          (error: { code: string }) => error.code,
        ),
      )
      // Nothing there, or no such right at all.
      expect([0, '42501']).toContain(changed)
    }
    const moved = await asTenant(asUs(), () =>
      sqlState(login.query(`update ${name} set ${key} = $1`, [theirs.workspaceId])),
    )
    expect(['42501', '23503', '23505']).toContain(moved)
  })
})

test("refuses to write into the other tenant's workspace", async () => {
  const insert = `insert into assets (workspace_id, id, name, kind, mime_type, size, sha256, source, status)
    values ($1, gen_random_uuid(), 'x', 'image', 'image/png', 1, '', 'upload', 'ready')`
  expect(await asTenant(asUs(), () => sqlState(login.query(insert, [ours.workspaceId])))).toBe('no error')
  expect(await asTenant(asUs(), () => sqlState(login.query(insert, [theirs.workspaceId])))).toBe('42501')
})

test("refuses to refer to the other tenant's rows", async () => {
  const [asset] = await asOwner<{ id: string }>(
    `select id from assets where workspace_id = $1 and source = 'upload'`,
    [theirs.workspaceId],
  )
  const [job] = await asOwner<{ id: string }>('select id from generations where workspace_id = $1', [
    ours.workspaceId,
  ])
  const refer = () =>
    sqlState(
      login.query('insert into generation_outputs (generation_id, index, asset_id) values ($1, 3, $2)', [
        job?.id,
        asset?.id,
      ]),
    )
  expect(await asTenant(asUs(), refer)).toBe('23503')
})

test('shows no password, no refresh token and no provider account to a tenant', async () => {
  for (const column of ['users.password_hash', 'sessions.refresh_hash', 'accounts.provider']) {
    const [table] = column.split('.')
    expect(await asTenant(asUs(), () => sqlState(login.query(`select ${column} from ${table}`)))).toBe(
      '42501',
    )
  }
})

describe.each(['audit_logs', 'credit_entries'])('%s', (table) => {
  test.each(['app_tenant', 'app_system', 'owner'])('is append-only for %s', async (role) => {
    for (const statement of [
      `update ${table} set created_at = now()`,
      `delete from ${table}`,
      `truncate ${table}`,
    ]) {
      const refused =
        role === 'owner'
          ? sqlState(asOwner(statement))
          : sqlState(login.query(`set role ${role}; ${statement}`))
      expect(await refused).toBe('42501')
    }
    await login.query('reset role')
  })
})
