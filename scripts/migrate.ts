/** Applies the migrations to any PostgreSQL, and tells it the Worker's GATE_KEY: `npm run db:migrate`, and every start of the local stack. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DrizzleQueryError } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate as applyFolder } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'

const PROJECT_MIGRATIONS = join(import.meta.dirname, '..', 'migrations')
// Any number will do, as long as nobody else on the database takes it.
const LOCK_KEY = 7_223_160_514
const APPLIED = 'drizzle.__drizzle_migrations'

/**
 * Applies what is missing, all of it or nothing, and returns how many that were. A `gateKey` replaces another one.
 * Two at once are harmless: the second waits, then finds nothing to do. Errors have a message of one line.
 */
export async function migrate(
  databaseUrl: string,
  {
    gateKey,
    folder = PROJECT_MIGRATIONS,
  }: { gateKey?: string | undefined; folder?: string | undefined } = {},
): Promise<number> {
  if (!existsSync(join(folder, 'meta', '_journal.json'))) {
    throw new Error(`no migrations in ${folder} (meta/_journal.json is missing): run npm run db:generate`)
  }
  return withClient(databaseUrl, async (client) => {
    // One transaction around drizzle's own (a nested BEGIN is only a warning, its COMMIT ends ours), so the
    // lock is one of the transaction and holds behind a connection pooler, too.
    await client.query('begin')
    await client.query('select pg_advisory_xact_lock($1)', [LOCK_KEY])
    const before = await countApplied(client)
    try {
      await applyFolder(drizzle(client), { migrationsFolder: folder })
    } catch (error) {
      throw new Error(`a migration failed, nothing was applied: ${migrationFault(error)}`, { cause: error })
    }
    const applied = (await countApplied(client)) - before
    if (gateKey) {
      await client.query(
        `insert into app.gate_key (key) values (convert_to($1, 'UTF8')) on conflict (singleton) do update set key = excluded.key`,
        [gateKey],
      )
    }
    await client.query('commit')
    return applied
  })
}

/** Runs `use` on one connection and closes it. An unreachable database is an error of one line. */
export async function withClient<T>(databaseUrl: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 10_000 })
  client.on('error', () => {})
  try {
    await client.connect()
  } catch (error) {
    const { host, port, database } = client
    throw new Error(`cannot connect to database "${database}" at ${host}:${port}: ${oneLine(error)}`, {
      cause: error,
    })
  }
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

/** An error's message without its line breaks; some errors of the network have only a code. */
export function oneLine(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? String(error.code) : error.name
  return (error.message || code).replace(/\s+/g, ' ').trim()
}

async function countApplied(client: pg.Client): Promise<number> {
  const exists = await client.query<{ found: boolean }>('select to_regclass($1) is not null as found', [
    APPLIED,
  ])
  if (!exists.rows[0]?.found) return 0
  const counted = await client.query<{ count: number }>(`select count(*)::int as count from ${APPLIED}`)
  return counted.rows[0]?.count ?? 0
}

function migrationFault(error: unknown): string {
  if (!(error instanceof DrizzleQueryError)) return oneLine(error)
  const statement = error.query.replace(/\s+/g, ' ').trim()
  return `${oneLine(error.cause)} (in: ${statement.length > 80 ? `${statement.slice(0, 80)}…` : statement})`
}

async function main(): Promise<void> {
  const url = process.env.DATABASE_URL
  if (!url) throw new Error('DATABASE_URL is not set: DATABASE_URL=postgres://… npm run db:migrate')
  if (!/^postgres(ql)?:$/.test(URL.parse(url)?.protocol ?? '')) {
    throw new Error('DATABASE_URL is not a postgres:// address')
  }
  const gateKey = process.env.GATE_KEY ?? ''
  if (gateKey.length < 32)
    throw new Error('GATE_KEY is not set to what the Worker has: 32 characters or more')
  const applied = await migrate(url, { gateKey })
  console.log(applied === 0 ? 'Nothing to apply: up to date.' : `Applied ${applied} migration(s).`)
}

if (import.meta.main) {
  await main().catch((error: unknown) => {
    console.error(oneLine(error))
    process.exitCode = 1
  })
}
