/** The migrations, applied by an owner who is no superuser and does not bypass row-level security. */
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type LocalDatabase, startDatabase } from '../../dev/postgres/database.ts'
import { migrate, withClient } from '../../scripts/migrate.ts'
import { stack } from '../support/control.ts'
import { asOwner } from '../support/database.ts'

const OPERATOR = `operator_${process.pid}`
const MIGRATIONS = join(import.meta.dirname, '../../migrations')
/** A statement of drizzle-kit's, which writes keywords in capitals; it can run only once. */
const isGenerated = (statement: string) => /^(CREATE|ALTER|DROP) /.test(statement.trim())

let dataDir: string
let database: LocalDatabase

const query = async <T extends Record<string, unknown>>(text: string, values: unknown[] = []) =>
  withClient(database.adminUrl, async (operator) => (await operator.query<T>(text, values)).rows)

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'migrations-test-'))
  await chmod(dataDir, 0o755)
  await asOwner(`create role ${OPERATOR} login createrole createdb password 'local-only'`)
  // Roles belong to the server, and these were made for the stack's own database.
  await asOwner(
    `grant app_tenant, app_system, app_gate, app_jobs, app_retention to ${OPERATOR} with admin option`,
  )
  database = await startDatabase({
    dataDir,
    databaseUrl: Object.assign(new URL(stack.adminDatabase), { username: OPERATOR, password: 'local-only' })
      .href,
    database: OPERATOR,
    gateKey: 'the key of an operator, 32 characters or more',
    dropOnStop: true,
    log: () => undefined,
  })
})

afterAll(async () => {
  await database?.stop()
  await asOwner(`drop role if exists ${OPERATOR}`)
  await rm(dataDir, { recursive: true, force: true })
})

/** Everything that migrations define beside columns and constraints, a line each. */
const definitions = async () => {
  const rows = await query<{ line: string }>(`
    select format('%s %s %s %s', relname, relrowsecurity, relforcerowsecurity, relacl) as line
      from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
    union all select format('%s.%s %s', attrelid::regclass, attname, attacl)
      from pg_attribute where attrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace) and attnum > 0
    union all select format('%s %s %s', pg_get_functiondef(oid), proowner::regrole,
        (select array_agg(one order by one::text) from unnest(proacl) one))
      from pg_proc where pronamespace = 'app'::regnamespace
    union all select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
    union all select format('%s %s', nspname, nspacl) from pg_namespace where nspname in ('app', 'public')
    order by 1`)
  return rows.map(({ line }) => line)
}

test('what is written by hand does the same twice as once', async () => {
  const once = await definitions()
  expect(await migrate(database.adminUrl)).toBe(0)
  const files = (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort()
  const texts = await Promise.all(files.map((name) => readFile(join(MIGRATIONS, name), 'utf8')))
  const statements = texts.flatMap((text) => text.split('--> statement-breakpoint'))
  const byHand = statements.filter((statement) => !isGenerated(statement))
  for (const statement of byHand) await query(statement)
  expect(byHand.length).toBeGreaterThan(30)
  expect(once.length).toBeGreaterThan(100)
  expect(await definitions()).toEqual(once)
})

const ownerOf = (name: string) =>
  ['prune', 'purge_workspace'].includes(name)
    ? 'app_retention'
    : ['change', 'end_generations'].includes(name)
      ? 'app_jobs'
      : 'app_gate'

test('functions are for nobody by default; what runs as another role pins its search path', async () => {
  const functions = await query<{ name: string; definer: boolean; owner: string; path: string | null }>(`
    select proname as name, prosecdef as definer, proowner::regrole::text as owner, proconfig[1] as path
      from pg_proc where pronamespace = 'app'::regnamespace`)
  const definers = functions.filter(({ definer }) => definer)
  expect(definers.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['enter', 'audit', 'emit_event', 'prune']),
  )
  for (const { name, owner, path } of definers) {
    expect({ name, owner, path }).toEqual({
      name,
      owner: ownerOf(name),
      path: 'search_path=pg_catalog, pg_temp',
    })
  }
  const open = await query(`
    select proname from pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
     where pronamespace = 'app'::regnamespace and grantee = 0`)
  expect(open).toEqual([])
})

test('such an owner changes a plan, too', async () => {
  const id = crypto.randomUUID()
  const [operator] = await query('select rolsuper, rolbypassrls from pg_roles where rolname = current_user')
  expect(operator).toEqual({ rolsuper: false, rolbypassrls: false })
  await query(`insert into workspaces (id, name, slug) values ($1, 'Store', $2)`, [id, id])
  const written = await withClient(database.adminUrl, async (client) => {
    await client.query('begin')
    await client.query(`select app.set_plan($1, 'pro')`, [id])
    // In the same transaction: the rows of the workspace that is set.
    return (await client.query('select action, actor_type, before, after from audit_logs')).rows
  })
  expect(written).toEqual([
    { action: 'workspace.update', actor_type: 'system', before: { plan: 'free' }, after: { plan: 'pro' } },
  ])
})
