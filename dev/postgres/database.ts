/** Starts the local database: PostgreSQL, migrated, with the Worker's own logins, behind the gateway. */
import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import pg from 'pg'
import { migrate, oneLine, withClient } from '../../scripts/migrate.ts'
import { takeLock } from '../lock.ts'
import { ADMIN } from './files.ts'
import { type Gateway, startGateway } from './gateway.ts'
import { startPostgres } from './server.ts'

export interface DatabaseOptions {
  /** Holds the data, the passwords and a lock; made when missing. */
  dataDir: string
  /** Use this PostgreSQL (15 or later, with a login that may create roles) instead of the embedded one. */
  databaseUrl?: string | undefined
  /** Use the database of this name, made when missing, instead of `app` or the one in `databaseUrl`. */
  database?: string | undefined
  /** For tests: on stop, drop the `database` and the Worker's logins, or remove the embedded one's data. */
  dropOnStop?: boolean | undefined
  /** false for throw-away data in the embedded one: faster, but a crash may lose or break it. */
  durable?: boolean | undefined
  /** Start without what an earlier stack left in `dataDir`. */
  reset?: boolean | undefined
  /** The project's own when not given. */
  migrationsFolder?: string | undefined
  /** The Worker's GATE_KEY, which the project's own migrations need. */
  gateKey?: string | undefined
  log(line: string): void
}

export interface LocalDatabase {
  /** Owner of everything; for tests and seeds, which look behind row-level security. */
  adminUrl: string
  /** The Worker's logins: members of app_tenant and app_system, and of nothing else. */
  tenantUrl: string
  systemUrl: string
  gatewayUrl: string
  failNext: Gateway['failNext']
  /** One line for the screen. */
  describe: string
  /** Resolves, with one line on the reason, when the embedded one is down for good. */
  lost: Promise<string>
  /** Safe to call twice. */
  stop(): Promise<void>
}

type Server = { url: string; place: string; lost: Promise<string> }

const OLDEST_VERSION = 15
/** The Worker's roles, and by what name it logs in as each. */
const LOGINS = { app_tenant: 'app_login', app_system: 'app_system_login' } as const
type Role = keyof typeof LOGINS
// Any number will do, as long as nobody else on the server takes it.
const SETUP_LOCK_KEY = 7_223_160_515

/** Up, migrated and ready when it resolves. Errors have a message of one line that says what to do. */
export async function startDatabase(options: DatabaseOptions): Promise<LocalDatabase> {
  const undo: (() => unknown)[] = []
  let stopped: Promise<void> | undefined
  async function unwind(): Promise<void> {
    const failures: unknown[] = []
    for (const step of undo.reverse()) {
      try {
        await step()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw new Error(`stopping the database: ${oneLine(failures[0])}`)
  }
  function stop(): Promise<void> {
    stopped ??= unwind()
    return stopped
  }
  try {
    const dataDir = openDataDir(options.dataDir)
    undo.push(
      takeLock(
        join(dataDir, 'database.lock'),
        (pid) => `another stack (process ${pid}) uses ${dataDir}: stop it, or give another DATA_DIR`,
      ),
    )
    if (options.reset) removeData(dataDir)
    const server = options.databaseUrl
      ? { url: checkUrl(options.databaseUrl), place: 'DATABASE_URL', lost: new Promise<never>(() => {}) }
      : await startEmbedded(dataDir, options, undo)
    const { version, adminUrl, tenantUrl, systemUrl } = await setUp(server, dataDir, options, undo)
    const gateway = await startGateway({ databaseUrls: [tenantUrl, systemUrl] })
    undo.push(gateway.stop)
    const { host, pathname } = new URL(adminUrl)
    const describe = `PostgreSQL ${version} (${server.place}), ${host}${pathname}`
    const { url: gatewayUrl, failNext } = gateway
    return { adminUrl, tenantUrl, systemUrl, gatewayUrl, failNext, describe, lost: server.lost, stop }
  } catch (error) {
    await stop().catch(() => {})
    const denied = error instanceof Error && 'code' in error && /^(EACCES|EPERM)$/.test(String(error.code))
    const hint = denied ? ': start as the user that owns it, or give another DATA_DIR' : ''
    throw new Error(`${oneLine(error)}${hint}`, { cause: error })
  }
}

function openDataDir(path: string): string {
  mkdirSync(path, { recursive: true })
  return realpathSync(path)
}

/** What a stack makes in its data folder, beside the lock. */
const MADE =
  /^(postgres(\.(log|new|password)|-admin\.password)?|app_\w+\.password|wrangler|storage\.log|worker\.(env|log))$/

function removeData(dataDir: string): void {
  for (const name of readdirSync(dataDir).filter((entry) => MADE.test(entry))) {
    rmSync(join(dataDir, name), { recursive: true, force: true })
  }
}

function checkUrl(databaseUrl: string): string {
  const url = URL.parse(databaseUrl)
  if (
    !url ||
    !/^postgres(ql)?:$/.test(url.protocol) ||
    !url.hostname ||
    !url.username ||
    url.pathname.length < 2
  ) {
    throw new Error('DATABASE_URL has to look like postgres://user:password@host:5432/database')
  }
  return databaseUrl
}

async function startEmbedded(
  dataDir: string,
  options: DatabaseOptions,
  undo: (() => unknown)[],
): Promise<Server> {
  const passwordFile = join(dataDir, 'postgres-admin.password')
  const fresh = !existsSync(passwordFile)
  const adminPassword = keptPassword(passwordFile)
  const { durable = true, dropOnStop, log } = options
  const { port, data, lost, stop } = await startPostgres({ dataDir, adminPassword, fresh, durable, log })
  undo.push(async () => {
    await stop()
    if (dropOnStop) for (const path of [data, passwordFile]) rmSync(path, { recursive: true, force: true })
  })
  const shown = relative(process.cwd(), data)
  return {
    url: `postgres://${ADMIN}:${adminPassword}@127.0.0.1:${port}/postgres`,
    place: `embedded, ${shown.startsWith('..') ? data : shown}`,
    lost,
  }
}

async function setUp(server: Server, dataDir: string, options: DatabaseOptions, undo: (() => unknown)[]) {
  const embedded = !options.databaseUrl
  const database = options.database ?? (embedded ? 'app' : undefined)
  // Roles belong to the whole server: each stack brings its own login, so its password doesn't disturb others.
  const suffix = createHash('sha256').update(dataDir).digest('hex').slice(0, 8)
  const loginOf = (role: Role) => (embedded ? LOGINS[role] : `${LOGINS[role]}_${suffix}`)
  const adminUrl = database ? withParts(server.url, { pathname: `/${database}` }) : server.url

  return withClient(server.url, async (admin) => {
    const version = await checkVersion(admin)
    // Migrations make roles, too, so two databases of one server take turns; the end of the connection unlocks.
    await admin.query('select pg_advisory_lock($1)', [SETUP_LOCK_KEY])
    if (options.dropOnStop && !embedded) {
      undo.push(() =>
        withClient(server.url, (client) =>
          drop(client, [loginOf('app_tenant'), loginOf('app_system')], database),
        ),
      )
    }
    if (database) await ensureDatabase(admin, database)
    await migrate(adminUrl, { gateKey: options.gateKey, folder: options.migrationsFolder })
    const open = async (role: Role) => {
      const username = loginOf(role)
      const password = keptPassword(join(dataDir, `${username}.password`))
      await ensureLogin(admin, role, username, password)
      return withParts(adminUrl, { username, password })
    }
    return { version, adminUrl, tenantUrl: await open('app_tenant'), systemUrl: await open('app_system') }
  })
}

async function checkVersion(admin: pg.Client): Promise<string> {
  const { rows } = await admin.query<{ version: string }>(
    `select current_setting('server_version') as version`,
  )
  const version = rows[0]?.version.split(' ')[0] ?? ''
  if (Number.parseInt(version, 10) < OLDEST_VERSION) {
    throw new Error(`DATABASE_URL is PostgreSQL ${version}: ${OLDEST_VERSION} or later is needed`)
  }
  return version
}

async function ensureDatabase(admin: pg.Client, name: string): Promise<void> {
  const found = await admin.query('select from pg_database where datname = $1', [name])
  if (found.rowCount) return
  await admin.query(`create database ${admin.escapeIdentifier(name)} template template0 encoding 'UTF8'`)
}

async function ensureLogin(admin: pg.Client, role: Role, login: string, password: string): Promise<void> {
  const name = admin.escapeIdentifier(login)
  const { rows } = await admin.query<{ rolname: string; rolsuper: boolean; rolbypassrls: boolean }>(
    'select rolname, rolsuper, rolbypassrls from pg_roles where rolname = any($1)',
    [[login, role]],
  )
  if (!rows.some(({ rolname }) => rolname === role)) throw new Error(`the migrations made no role ${role}`)
  if (rows.some(({ rolsuper, rolbypassrls }) => rolsuper || rolbypassrls)) {
    throw new Error(
      `${rows.map(({ rolname }) => rolname).join(', ')}: one of them bypasses row-level security`,
    )
  }
  const verb = rows.some(({ rolname }) => rolname === login) ? 'alter' : 'create'
  await admin.query(`${verb} role ${name} login inherit password ${admin.escapeLiteral(password)}`)
  await admin.query(`grant ${role} to ${name}`)
}

async function drop(admin: pg.Client, logins: string[], database: string | undefined): Promise<void> {
  for (let attempt = 1; database; attempt++) {
    try {
      await admin.query(`drop database if exists ${admin.escapeIdentifier(database)} with (force)`)
      break
    } catch (error) {
      // While autovacuum is at work there, which an owner that is no superuser may not end.
      if (!(error instanceof pg.DatabaseError) || error.code !== '42501' || attempt === 50) throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  for (const login of logins) await admin.query(`drop role if exists ${admin.escapeIdentifier(login)}`)
}

/** Reads the password in the file, or makes one that only this user can read. */
function keptPassword(path: string): string {
  if (!existsSync(path)) writeFileSync(path, randomBytes(24).toString('base64url'), { mode: 0o600 })
  return readFileSync(path, 'utf8').trim()
}

function withParts(
  address: string,
  parts: { pathname?: string; username?: string; password?: string },
): string {
  return Object.assign(new URL(address), parts).href
}
