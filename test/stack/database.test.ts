/** The local database comes up from whatever the last run left behind, or says in one line why not. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { neon, neonConfig } from '@neondatabase/serverless'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { processAt } from '../../dev/lock.ts'
import { type DatabaseOptions, startDatabase } from '../../dev/postgres/database.ts'
import { migrate, withClient } from '../../scripts/migrate.ts'

const ROLES = `
do $$ begin
  if to_regrole('app_tenant') is null then create role app_tenant nologin; end if;
  if to_regrole('app_system') is null then create role app_system nologin; end if;
end $$;`
const NOTES = 'create table note (body text); grant select, insert on note to app_tenant;'
const DATABASE_MODULE = join(import.meta.dirname, '../../dev/postgres/database.ts')

let folder: string
let dataDir: string
const cleanUp: (() => unknown)[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'database-test-'))
  // As root, the server runs as another user: let it in.
  await chmod(folder, 0o755)
  dataDir = join(folder, 'data')
  await writeMigrations([ROLES, NOTES])
})

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
  await rm(folder, { recursive: true, force: true })
})

const migrations = () => join(folder, 'migrations')

async function writeMigrations(all: string[]): Promise<void> {
  await mkdir(join(migrations(), 'meta'), { recursive: true })
  const entries = all.map((_, idx) => ({
    idx,
    version: '7',
    when: idx + 1,
    tag: `000${idx}`,
    breakpoints: true,
  }))
  for (const [idx, text] of all.entries()) await writeFile(join(migrations(), `000${idx}.sql`), text)
  const journal = { version: '7', dialect: 'postgresql', entries }
  await writeFile(join(migrations(), 'meta', '_journal.json'), JSON.stringify(journal))
}

async function start(options: Partial<DatabaseOptions> = {}) {
  const database = await startDatabase({
    dataDir,
    migrationsFolder: migrations(),
    durable: false,
    log: () => {},
    ...options,
  })
  cleanUp.push(database.stop)
  return database
}

/** The message of a failing start, which is one line without a stack. */
async function refusal(options: Partial<DatabaseOptions> = {}): Promise<string> {
  const error = await start(options).then(
    () => expect.fail('it should have failed'),
    (reason: Error) => reason,
  )
  expect(error.message).not.toMatch(/\n| {4}at /)
  return error.message
}

async function readNotes(adminUrl: string): Promise<string[]> {
  const { rows } = await withClient(adminUrl, (admin) =>
    admin.query<{ body: string }>('select body from note'),
  )
  return rows.map(({ body }) => body)
}

const addNote = (adminUrl: string, body: string) =>
  withClient(adminUrl, (admin) => admin.query('insert into note values ($1)', [body]))

const serverPid = async () =>
  Number.parseInt(await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8'), 10)

const serverLog = () => readFile(join(dataDir, 'postgres.log'), 'utf8')

describe.runIf(!process.env.DATABASE_URL)('the embedded PostgreSQL', () => {
  test('keeps its data from one start to the next', async () => {
    const first = await start()
    expect(first.describe).toMatch(/^PostgreSQL 18\.\d+ \(embedded, .*postgres\), 127\.0\.0\.1:\d+\/app$/)
    await addNote(first.adminUrl, 'kept')
    const pid = await serverPid()
    await first.stop()
    await first.stop()
    expect(processAt(pid)).toBeUndefined()
    const second = await start()
    expect(await readNotes(second.adminUrl)).toEqual(['kept'])
    expect(second.tenantUrl).toContain(new URL(first.tenantUrl).password)
  })

  test('lets the Worker in as a plain member of the two roles, with letters as in production', async () => {
    const database = await start()
    neonConfig.fetchEndpoint = database.gatewayUrl
    const [me] = await neon(database.tenantUrl)`
      select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, lower('ÄÉ') as lowered, array(
        select roleid::regrole::text from pg_auth_members where member = pg_roles.oid order by 1) as member_of
      from pg_roles where rolname = current_user`
    expect(me).toEqual({
      rolname: 'app_login',
      rolsuper: false,
      rolbypassrls: false,
      rolcreaterole: false,
      rolcreatedb: false,
      lowered: 'äé',
      member_of: ['app_tenant'],
    })
    for (const file of ['postgres-admin.password', 'app_login.password', 'app_system_login.password']) {
      expect((await stat(join(dataDir, file))).mode & 0o777).toBe(0o600)
    }
  })

  test('belongs to one stack at a time', async () => {
    await start()
    expect(await refusal()).toMatch(
      /^another stack \(process \d+\) uses .*: stop it, or give another DATA_DIR$/,
    )
  })

  test('starts without what an earlier stack left, but not beside one that runs, and leaves files of others', async () => {
    const first = await start()
    await addNote(first.adminUrl, 'old')
    expect(await refusal({ reset: true })).toContain('another stack')
    expect(await readNotes(first.adminUrl)).toEqual(['old'])
    await first.stop()
    await writeFile(join(dataDir, 'a file of mine'), 'kept')
    const second = await start({ reset: true })
    expect(await readNotes(second.adminUrl)).toEqual([])
    expect(await readFile(join(dataDir, 'a file of mine'), 'utf8')).toBe('kept')
  })

  test('a lock whose owner is gone does not count', async () => {
    await mkdir(dataDir)
    // The number lives, but it is another process's by now.
    await writeFile(join(dataDir, 'database.lock'), `${process.pid} 12345`)
    await start()
  })

  test('ends with a stack that was killed, and the next start just works', async () => {
    const { stack } = await startElsewhere()
    const pid = await serverPid()
    await kill(stack)
    const database = await start()
    expect(processAt(pid)).toBeUndefined()
    await database.stop()

    const another = await startElsewhere()
    const anotherPid = await serverPid()
    await kill(another.stack)
    await expect.poll(() => processAt(anotherPid), { timeout: 5_000 }).toBeUndefined()
  })

  test('an orphan that still runs is stopped in order', async () => {
    const { stack, adminUrl } = await startElsewhere()
    await addNote(adminUrl, 'kept')
    const pid = await serverPid()
    // Its stack neither keeps it up nor ends it.
    stack.kill('SIGSTOP')
    await rm(join(dataDir, 'database.lock'))
    const next = await start()
    expect(processAt(pid)).toBeUndefined()
    expect(await readNotes(next.adminUrl)).toEqual(['kept'])
    expect(await serverLog()).toMatch(/database system was shut down at/)
  })

  test('a server that was killed with its stack leaves nothing in the way', async () => {
    const { stack, adminUrl } = await startElsewhere({ durable: true })
    await addNote(adminUrl, 'kept')
    stack.kill('SIGSTOP')
    process.kill(await serverPid(), 'SIGKILL')
    await kill(stack)
    expect(await readNotes((await start()).adminUrl)).toEqual(['kept'])
    expect(await serverLog()).toMatch(/not properly shut down/)
  })

  test('a server that ends by itself comes back at the same address', async () => {
    const lines: string[] = []
    const { adminUrl } = await start({ durable: true, log: (line) => lines.push(line) })
    await addNote(adminUrl, 'kept')
    process.kill(await serverPid(), 'SIGKILL')
    await expect.poll(() => readNotes(adminUrl).catch(() => []), { timeout: 20_000 }).toEqual(['kept'])
    expect(lines.slice(-2)).toEqual([
      expect.stringMatching(/^PostgreSQL ended \(SIGKILL\), see .*postgres\.log: starting it again$/),
      'PostgreSQL is up again',
    ])
  })

  test('a server that cannot come back is given up, for a reason', async () => {
    const { lost } = await start()
    const pid = await serverPid()
    await rm(join(dataDir, 'postgres', 'global', 'pg_control'))
    process.kill(pid, 'SIGKILL')
    expect(await lost).toMatch(/^PostgreSQL doesn't start on .*: run npm run dev -- --reset to start clean$/)
  })

  test('a start that was interrupted is made up for', async () => {
    await mkdir(join(dataDir, 'postgres.new', 'base'), { recursive: true })
    await writeFile(join(dataDir, 'postgres-admin.password'), 'secret', { mode: 0o600 })
    await start()
  })

  test('broken data is named, with the way out', async () => {
    await (await start()).stop()
    const data = join(dataDir, 'postgres')
    const wayOut = /: run npm run dev -- --reset to start clean$/
    await cp(join(data, 'PG_VERSION'), join(folder, 'PG_VERSION'))

    await rm(join(data, 'PG_VERSION'))
    expect(await refusal()).toMatch(/isn't a PostgreSQL data folder/)
    await writeFile(join(data, 'PG_VERSION'), '15\n')
    expect(await refusal()).toMatch(/is of PostgreSQL "15", this is 18/)
    await writeFile(join(data, 'PG_VERSION'), 'gar\nbage')
    expect(await refusal()).toMatch(wayOut)
    await cp(join(folder, 'PG_VERSION'), join(data, 'PG_VERSION'))
    await rm(join(data, 'global', 'pg_control'))
    expect(await refusal()).toMatch(wayOut)
    await rm(join(dataDir, 'postgres-admin.password'))
    expect(await refusal()).toMatch(/the password of .* is lost: run/)
  })
})

describe('another PostgreSQL by its URL', () => {
  test('gets a database and a login of its own, and both go when asked to', async () => {
    const server = process.env.DATABASE_URL ?? (await start()).adminUrl
    const name = `external_${process.pid}`
    const options = {
      dataDir: join(folder, 'external'),
      databaseUrl: server,
      database: name,
      dropOnStop: true,
    }
    const database = await start(options)
    expect(database.describe).toMatch(/^PostgreSQL \d+\.\d+ \(DATABASE_URL\), .*\/external_\d+$/)
    const login = new URL(database.tenantUrl).username
    expect(login).toMatch(/^app_login_[0-9a-f]{8}$/)
    neonConfig.fetchEndpoint = database.gatewayUrl
    expect(await neon(database.tenantUrl)`select current_user as me`).toEqual([{ me: login }])
    await database.stop()
    const left = `select from pg_database where datname = $1 union all select from pg_roles where rolname = $2`
    expect(await withClient(server, async (admin) => (await admin.query(left, [name, login])).rowCount)).toBe(
      0,
    )
  })

  test.each([
    ['no URL', 'nonsense', /^DATABASE_URL has to look like postgres:\/\//],
    ['another protocol', 'mysql://root:x@127.0.0.1/db', /^DATABASE_URL has to look like/],
    [
      'nobody there',
      'postgres://me:secret@127.0.0.1:1/db',
      /^cannot connect to database "db" at 127\.0\.0\.1:1/,
    ],
  ])('%s is said in one line', async (_name, databaseUrl, message) => {
    const said = await refusal({ databaseUrl })
    expect(said).toMatch(message)
    expect(said).not.toContain('secret')
  })
})

describe('migrations', () => {
  test('several at once apply each one once, and all of it or nothing', async () => {
    const options = process.env.DATABASE_URL
      ? { databaseUrl: process.env.DATABASE_URL, database: `migrate_${process.pid}`, dropOnStop: true }
      : {}
    const { adminUrl } = await start(options)
    expect(await migrate(adminUrl, { folder: migrations() })).toBe(0)

    await writeMigrations([ROLES, NOTES, 'create table later (id int)', 'create table note (id int)'])
    await expect(migrate(adminUrl, { folder: migrations() })).rejects.toThrow(
      /^a migration failed, nothing was applied: relation "note" already exists \(in: create table note/,
    )
    await writeMigrations([ROLES, NOTES, 'create table later (id int)', 'create table last (id int)'])
    const counts = await Promise.all([1, 2, 3].map(() => migrate(adminUrl, { folder: migrations() })))
    expect(counts.sort()).toEqual([0, 0, 2])

    await rm(join(migrations(), 'meta'), { recursive: true })
    await expect(migrate(adminUrl, { folder: migrations() })).rejects.toThrow(
      /^no migrations in .*_journal\.json is missing/,
    )
  })
})

async function kill(stack: ChildProcess): Promise<void> {
  const exited = once(stack, 'exit')
  stack.kill('SIGKILL')
  await exited
}

/** A stack in a process of its own, up when it resolves. */
async function startElsewhere({ durable = false } = {}): Promise<{ stack: ChildProcess; adminUrl: string }> {
  const options = JSON.stringify({ dataDir, migrationsFolder: migrations(), durable })
  const script = `
    const { startDatabase } = await import(${JSON.stringify(DATABASE_MODULE)})
    const { adminUrl } = await startDatabase({ ...${options}, log() {} })
    console.log(adminUrl)`
  const stack = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  cleanUp.push(() => stack.kill('SIGKILL'))
  const adminUrl = await new Promise<string>((resolve, reject) => {
    stack.stdout?.once('data', (line: Buffer) => resolve(String(line).trim()))
    stack.once('exit', () => reject(new Error('the other stack ended')))
  })
  return { stack, adminUrl }
}
