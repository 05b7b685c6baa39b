/** The database keeps tenants apart: the Worker's own login tries to cross over in SQL. */
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addPasskey } from '../support/authenticator.ts'
import type { GenerationBody } from '../support/client.ts'
import { stack } from '../support/control.ts'
import { asOwner, claimOf, enter } from '../support/database.ts'
import { addTotp } from '../support/factors.ts'
import { finished } from '../support/generations.ts'
import { invite, newKey, newTenant, type Tenant } from '../support/tenants.ts'
import { begin } from '../support/uploads.ts'

const logins = {
  app_tenant: new pg.Client(stack.tenantDatabase),
  app_system: new pg.Client(stack.systemDatabase),
}
type Role = keyof typeof logins
const login = logins.app_tenant
let ours: Tenant
let theirs: Tenant

const tables = (
  await asOwner<{ name: string; key: string; column: string | null }>(
    `select relname as name, coalesce((select max(attname::text) from pg_attribute where attrelid = c.oid and attname in ('workspace_id', 'user_id')), 'id') as key,
            (select min(attname::text) from pg_attribute where attrelid = c.oid and attnum > 0
                and has_column_privilege('app_tenant', c.oid, attnum, 'update')) as column
       from pg_class c where relnamespace = 'public'::regnamespace and relkind = 'r' and relname not in ('users', 'sessions', 'accounts', 'event_heads', 'generation_timings', 'spent_tokens', 'mails', 'user_exports', 'bounces', 'erased_accounts', 'free_grants', 'free_budget')`,
  )
).sort((a, b) => a.name.localeCompare(b.name))

/** Runs as a login of the Worker's, behind the gate if somebody enters, in a transaction that is rolled back. */
const asRole = async <T>(
  role: Role,
  who: Tenant | undefined,
  run: () => Promise<T>,
  // One that also changes what proves somebody.
  action = 'session.prove',
): Promise<T> => {
  await logins[role].query('begin')
  try {
    if (who) await enter(logins[role], await claimOf(who, action))
    return await run()
  } finally {
    await logins[role].query('rollback')
  }
}

/** What some tables are read and changed for, and nothing else. */
const actionOf: Record<string, string> = {
  api_keys: 'api_key.revoke',
  asset_exports: 'export.finish',
  assets: 'asset.update',
  audit_checkpoints: 'checkpoint.list',
  audit_heads: 'audit.verify',
  audit_logs: 'audit.list',
  memberships: 'member.update',
  webhook_endpoints: 'webhook.update',
  workspaces: 'workspace.update',
}

/** Rows of a person name them, and the others the workspace. */
const ownKey = (key: string, { userId, workspaceId }: Tenant) => (key === 'user_id' ? userId : workspaceId)

const asTenant = <T>(who: Tenant | undefined, run: () => Promise<T>, action?: string) =>
  asRole('app_tenant', who, run, action)
const count = async (table: string) =>
  Number((await login.query(`select count(*) from ${table}`)).rows[0].count)
const sqlState = (query: Promise<unknown>) =>
  query.then(
    () => 'no error',
    (error: { code: string }) => error.code,
  )

const newWork = async () => {
  const tenant = await newTenant()
  const { id } = (await tenant.client.upload('file.txt', 'some text')).body
  await tenant.client.patch(`/assets/${id}`, { tags: ['summer'] })
  await begin(tenant.client, { name: 'file.txt', mimeType: 'text/plain', size: 1 })
  await tenant.client.post(`/assets/${id}/exports`, { channels: ['web'] })
  await asOwner(
    "insert into asset_copies (workspace_id, asset_id, name, lease_expires_at) values ($1, $2, '64.webp', now())",
    [tenant.workspaceId, id],
  )
  await tenant.client.post('/webhooks', { url: 'http://127.0.0.1:9/' })
  const job = { task: 'scene', prompt: 'x' }
  const { body } = await tenant.client.post<GenerationBody>('/generations', job, { 'idempotency-key': 'a' })
  await finished(tenant.client, body.id)
  await invite(tenant.client, tenant.workspaceId)
  await newKey(tenant.client, ['asset.list'])
  await addTotp(tenant.client)
  await addPasskey(tenant.client)
  await asOwner(
    `insert into outbox (workspace_id, kind, subject_id, available_at) values ($1, 'object.delete', gen_random_uuid(), now() + interval '1 day')`,
    [tenant.workspaceId],
  )
  await asOwner(
    `insert into audit_checkpoints (workspace_id, sequence, hash, signature, kid, created_at) values ($1, 1, '', '', '', now())
     on conflict do nothing`,
    [tenant.workspaceId],
  )
  return tenant
}

beforeAll(async () => {
  await Promise.all(Object.values(logins).map((client) => client.connect()))
  ours = await newWork()
  theirs = await newWork()
})
afterAll(() => Promise.all(Object.values(logins).map((client) => client.end())))

test.each(['app_tenant', 'app_system'] as const)(
  'the login of %s is a plain member of it, and neither bypasses row-level security',
  async (role) => {
    const { rows } = await logins[role].query(
      `select rolname, rolsuper, rolbypassrls, rolcreaterole,
            (select array_agg(r.rolname::text order by r.rolname) from pg_auth_members m join pg_roles r on r.oid = m.roleid where m.member = p.oid) as member_of
       from pg_roles p where rolname in (current_user, 'app_tenant', 'app_system', 'app_gate', 'app_jobs')`,
    )
    expect(rows).toHaveLength(5)
    for (const row of rows) {
      expect(row).toMatchObject({ rolsuper: false, rolbypassrls: false, rolcreaterole: false })
      if (!String(row.rolname).match(/^app_(tenant|system|gate|jobs)$/)) expect(row.member_of).toEqual([role])
    }
  },
)

test('row-level security is forced on every table', async () => {
  const open = await asOwner(
    `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' and not (relrowsecurity and relforcerowsecurity)`,
  )
  expect(open).toEqual([])
})

describe.each(tables)('$name', ({ name, key, column }) => {
  test('has rows of both tenants, which its owner sees, so that these tests can fail', async () => {
    const [row] = await asOwner(
      `select count(distinct ${key})::int as tenants from ${name} where ${key} = any($1)`,
      [[ownKey(key, ours), ownKey(key, theirs)]],
    )
    expect(row).toEqual({ tenants: 2 })
  })

  test('shows nothing before the gate', async () => {
    expect(await asTenant(undefined, () => count(name))).toBe(0)
  })

  test('shows only our rows behind the gate', async () => {
    const select = `select distinct ${key} as key from ${name}`
    const keys = await asTenant(ours, () => login.query(select), actionOf[name])
    expect(keys.rows).toEqual([{ key: ownKey(key, ours) }])
  })

  test("refuses to change, move or delete the other tenant's rows", async () => {
    const change = (statement: string, id: string) =>
      asTenant(
        ours,
        () =>
          login.query(statement, [id]).then(
            (result) => result.rowCount,
            (error: { code: string }) => error.code,
          ),
        actionOf[name],
      )
    if (column) {
      // A key is revoked for good.
      const value = name === 'api_keys' ? 'now()' : column
      const update = `update ${name} set ${column} = ${value} where ${key} = $1`
      expect(await change(update, ownKey(key, ours))).toBeGreaterThan(0)
      expect(await change(update, ownKey(key, theirs))).toBe(0)
    }
    // Nothing there, or no such right at all.
    expect([0, '42501']).toContain(await change(`delete from ${name} where ${key} = $1`, ownKey(key, theirs)))
    expect(await change(`update ${name} set ${key} = $1`, ownKey(key, theirs))).toBe('42501')
  })
})

test('what was used is written behind the gate, and read or taken back by nobody', async () => {
  const insert = `insert into spent_tokens values ('x', now())`
  expect(await asTenant(ours, () => sqlState(login.query(insert)))).toBe('no error')
  for (const statement of [
    'select from spent_tokens',
    'delete from spent_tokens',
    'update spent_tokens set expires_at = now()',
  ]) {
    expect(await asTenant(ours, () => sqlState(login.query(statement)))).toBe('42501')
  }
})

test('how long jobs took belongs to nobody: it is read behind the gate, and written by a trigger', async () => {
  const table = 'generation_timings'
  expect(await asTenant(undefined, () => count(table))).toBe(0)
  expect(await asTenant(ours, () => count(table))).toBeGreaterThan(0)
  const statements = [
    `update ${table} set seconds = 0`,
    `delete from ${table}`,
    `insert into ${table} values ('x', 1, 1, 'x', 1)`,
  ]
  for (const statement of statements) {
    expect(await asTenant(ours, () => sqlState(login.query(statement)))).toBe('42501')
  }
})

test("refuses to write into the other tenant's workspace", async () => {
  const insert = `insert into assets (workspace_id, id, name, kind, mime_type, size, sha256, source, status)
    values ($1, app.uuid_v7(), 'x', 'image', 'image/png', 1, '', 'upload', 'ready')`
  const into = ({ workspaceId }: Tenant) =>
    asTenant(ours, () => sqlState(login.query(insert, [workspaceId])), 'asset.create')
  expect([await into(ours), await into(theirs)]).toEqual(['no error', '42501'])
})

test("rows can't refer to the other tenant's, whoever writes them", async () => {
  const [asset] = await asOwner<{ id: string }>(
    `select id from assets where workspace_id = $1 and source = 'upload'`,
    [theirs.workspaceId],
  )
  const [job] = await asOwner<{ id: string }>('select id from generations where workspace_id = $1', [
    ours.workspaceId,
  ])
  const refer = asOwner(
    'insert into generation_outputs (workspace_id, generation_id, index, asset_id) values ($1, $2, 3, $3)',
    [ours.workspaceId, job?.id, asset?.id],
  )
  expect(await sqlState(refer)).toBe('23503')
})

test('shows no password, no refresh token and no provider account to a tenant', async () => {
  for (const column of ['users.password_hash', 'sessions.refresh_hash', 'accounts.provider']) {
    const [table] = column.split('.')
    expect(await asTenant(ours, () => sqlState(login.query(`select ${column} from ${table}`)))).toBe('42501')
  }
})

/** What is written once, or by somebody else: every table that a role may update has one here. */
const fixedColumns = {
  app_tenant: {
    users: ['id', 'email', 'email_verified_at', 'disabled_at'],
    sessions: ['user_id', 'expires_at', 'refresh_hash', 'ip'],
    totp_secrets: ['user_id'],
    recovery_codes: ['user_id'],
    passkeys: ['id', 'user_id', 'name', 'credential_id', 'public_key'],
    workspaces: ['id', 'plan', 'created_at'],
    memberships: ['workspace_id', 'user_id', 'entry_id', 'created_at'],
    api_keys: ['workspace_id', 'key_hash', 'scopes', 'expires_at', 'created_by'],
    assets: ['workspace_id', 'id', 'object_id', 'mime_type', 'size', 'sha256', 'source', 'created_by'],
    uploads: ['workspace_id', 'id', 'part_size', 'sha256'],
    asset_copies: ['workspace_id', 'asset_id', 'name'],
    asset_exports: ['workspace_id', 'id', 'asset_id', 'channel', 'created_by'],
    webhook_endpoints: ['workspace_id', 'secret', 'created_by'],
    webhook_deliveries: ['workspace_id', 'url', 'sequence', 'payload'],
    outbox: ['workspace_id', 'kind', 'subject_id'],
  },
  app_system: {
    users: ['id', 'email', 'name', 'password_hash', 'email_verified_at', 'disabled_at'],
    sessions: ['id', 'user_id', 'expires_at'],
    // A secret only as the Worker has signed it (injection.test.ts).
    totp_secrets: ['user_id', 'confirmed_at'],
    recovery_codes: ['user_id'],
    passkeys: ['id', 'user_id', 'name', 'credential_id', 'public_key'],
    audit_heads: ['workspace_id', 'sequence', 'hash'],
    outbox: ['workspace_id', 'kind', 'subject_id'],
  },
} as const

describe.each(['app_tenant', 'app_system'] as const)('%s', (role) => {
  const fixed: Record<string, readonly string[]> = fixedColumns[role]

  test.each(Object.keys(fixed))('changes only the columns of %s that it works on', async (table) => {
    for (const column of fixed[table] ?? []) {
      const update = `update ${table} set ${column} = ${column}`
      const run = () => sqlState(logins[role].query(update))
      expect(await asRole(role, ours, run, actionOf[table]), column).toBe('42501')
      expect(await sqlState(asOwner(`${update} where false`)), column).toBe('no error')
    }
  })

  test('updates no other table', async () => {
    const updated = await asOwner<{ name: string }>(
      `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
          and has_any_column_privilege($1, oid, 'update')`,
      [role],
    )
    expect(updated.map(({ name }) => name).sort()).toEqual(Object.keys(fixed).sort())
  })
})

test('a tenant cannot take a better plan, nor make itself an owner elsewhere', async () => {
  const update = (statement: string) => asTenant(ours, () => sqlState(login.query(statement)))
  expect(await update(`update workspaces set plan = 'enterprise'`)).toBe('42501')
  expect(await update(`update workspaces set name = 'x', plan = 'enterprise'`)).toBe('42501')
  expect(await update(`update memberships set workspace_id = '${theirs.workspaceId}'`)).toBe('42501')
  expect(await update(`update memberships set user_id = '${theirs.userId}'`)).toBe('42501')
  // What it may do, so that the refusals above are those of the columns.
  expect(await update(`update workspaces set name = 'x'`)).toBe('no error')
  expect(await update(`update memberships set role = 'admin'`)).toBe('no error')
})

describe.each(['audit_logs', 'audit_checkpoints', 'credit_entries'])('%s', (table) => {
  test.each(['app_tenant', 'app_system', 'owner'] as const)('is append-only for %s', async (role) => {
    for (const statement of [
      `update ${table} set created_at = now()`,
      `delete from ${table}`,
      `truncate ${table}`,
    ]) {
      expect(await sqlState(role === 'owner' ? asOwner(statement) : logins[role].query(statement))).toBe(
        '42501',
      )
    }
  })
})
