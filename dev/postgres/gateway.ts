/** Stands in for Neon's proxy: answers its SQL-over-HTTP protocol from any PostgreSQL. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import pg from 'pg'

type Fault = 'unreachable' | 'after_commit'

export interface Gateway {
  /** What `neonConfig.fetchEndpoint` has to be. */
  url: string
  /** The next `count` requests get a 503 before anything runs, or are committed and then get no answer. */
  failNext(count: number, kind: Fault): void
  /** Takes no more requests and closes every connection. Safe to call twice. */
  stop(): Promise<void>
}

interface GatewayOptions {
  /** The logins that the Worker uses; requests with another user or password are refused. */
  databaseUrls: string[]
  /** 0, the default, takes a free one. */
  port?: number
  poolSize?: number
}

type Statement = { query: string; params: unknown[] }
type Reply = { status: number; body: unknown }
type TextQuery = pg.QueryArrayConfig & { queryMode: 'extended' }

const MAX_BODY_BYTES = 10 * 1024 * 1024
const MAX_PARAMS = 65_535
/** Milliseconds. */
const STOP_WAIT = 2_000
/** Milliseconds: past the platform's idle time, or a reused connection could be closed under a request in flight. */
const KEEP_ALIVE = 10 * 60_000
const ISOLATION_LEVELS = new Map([
  ['ReadUncommitted', 'read uncommitted'],
  ['ReadCommitted', 'read committed'],
  ['RepeatableRead', 'repeatable read'],
  ['Serializable', 'serializable'],
])
const ERROR_FIELDS = [
  'code',
  'detail',
  'hint',
  'position',
  'internalPosition',
  'internalQuery',
  'severity',
  'where',
  'schema',
  'table',
  'column',
  'dataType',
  'constraint',
  'file',
  'line',
  'routine',
] as const
// Session state that could outlive a transaction. Not DISCARD ALL: it would throw away cached plans too.
const CLEAN_SESSION = 'reset all; reset role; select pg_advisory_unlock_all(); unlisten *; discard temp'

class Refused extends Error {
  readonly status: number
  readonly code: string | undefined

  constructor(status: number, message: string, code?: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

function openPool(connectionString: string, poolSize = 10): pg.Pool {
  const pool = new pg.Pool({
    connectionString,
    max: poolSize,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 60_000,
    // All statements of a batch leave in one go instead of one round trip each.
    pipeline: true,
    // Neon's sessions are in UTC; values stay the text that PostgreSQL made of them.
    options: '-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres',
    types: { getTypeParser: () => (value: unknown) => value },
  })
  // A connection that breaks fails its own statements; unheard, the event would end the process.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return pool
}

/** Listens on 127.0.0.1. Rejects when the port is taken; a database that is down only fails requests. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const faults: Fault[] = []
  const logins = options.databaseUrls.map((url) => ({
    ...credentials(url),
    pool: openPool(url, options.poolSize),
  }))

  async function answer(request: IncomingMessage): Promise<Reply | 'no answer'> {
    const fault = faults.shift()
    if (fault === 'unreachable') throw new Refused(503, 'the database is unreachable (on request)')
    const { pool } = checkLogin(request.headers, logins)
    const payload = parsePayload(await readBody(request))
    const begin = 'batch' in payload ? beginStatement(request.headers) : undefined
    const client = await pool.connect().catch((error: Error & { code?: string }) => {
      throw new Refused(503, `cannot reach the database: ${error.message || error.code}`)
    })
    const body =
      'batch' in payload
        ? { results: await runAll(client, payload.batch, begin) }
        : (await runAll(client, [payload.single]))[0]
    return fault === 'after_commit' ? 'no answer' : { status: 200, body }
  }

  const server = createServer((request, response) => {
    answer(request)
      .catch(toReply)
      .then(
        (reply) => (reply === 'no answer' ? request.socket.destroy() : send(response, reply)),
        () => request.socket.destroy(),
      )
  })
  server.keepAliveTimeout = KEEP_ALIVE
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })

  let stopped: Promise<void> | undefined
  async function stop(): Promise<void> {
    server.close()
    server.closeAllConnections()
    // Statements in flight may end first, but not hold up the stop.
    const ended = Promise.all(logins.map(({ pool }) => pool.end()))
    const timeout = Promise.withResolvers<void>()
    const timer = setTimeout(timeout.resolve, STOP_WAIT)
    await Promise.race([ended, timeout.promise])
    clearTimeout(timer)
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/sql`,
    failNext: (count, kind) => void faults.push(...Array<Fault>(count).fill(kind)),
    stop: () => {
      stopped ??= stop()
      return stopped
    },
  }
}

/** Runs the statements, within one transaction if `begin` is given, and hands the connection back clean. */
async function runAll(client: pg.PoolClient, statements: Statement[], begin?: string) {
  const dispatch = ({ query, params }: Statement): Promise<pg.QueryArrayResult> => {
    // Extended, as Neon does it: one command per statement.
    const config: TextQuery = { text: query, values: params, rowMode: 'array', queryMode: 'extended' }
    return client.query(config)
  }
  const bare = (query: string): Statement => ({ query, params: [] })
  // After a failed statement the server skips the rest, and its COMMIT rolls back.
  const all = begin === undefined ? statements : [bare(begin), ...statements, bare('commit')]
  const outcomes = all.map(dispatch)
  const cleaned = client.query(CLEAN_SESSION)
  cleaned.then(
    () => client.release(client.getTransactionStatus() !== 'I'),
    () => client.release(true),
  )
  const results: pg.QueryArrayResult[] = []
  for (const outcome of await Promise.allSettled(outcomes)) {
    if (outcome.status === 'rejected') throw outcome.reason
    results.push(outcome.value)
  }
  return (begin === undefined ? results : results.slice(1, -1)).map((result) => ({
    command: result.command,
    rowCount: result.rowCount,
    fields: result.fields,
    rows: result.rows,
    rowAsArray: true,
  }))
}

function beginStatement(headers: IncomingHttpHeaders): string {
  const asked = headers['neon-batch-isolation-level'] ?? 'ReadCommitted'
  const level = ISOLATION_LEVELS.get(String(asked))
  if (!level) throw new Refused(400, 'invalid isolation level')
  const readOnly = headers['neon-batch-read-only'] === 'true' ? ' read only' : ''
  const deferrable = headers['neon-batch-deferrable'] === 'true' ? ' deferrable' : ''
  return `begin isolation level ${level}${readOnly}${deferrable}`
}

type Credentials = { user: string; password: string; database: string }

function credentials(url: string): Credentials {
  const { username, password, pathname } = new URL(url)
  return {
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
  }
}

function checkLogin<Login extends Credentials>(headers: IncomingHttpHeaders, logins: Login[]): Login {
  const header = String(headers['neon-connection-string'] ?? '')
  if (!URL.canParse(header)) throw new Refused(400, 'invalid connection string')
  const asked = credentials(header)
  // Neon's own proxy answers a wrong password with 400, too.
  const login = logins.find(({ user, password }) => user === asked.user && password === asked.password)
  if (!login) {
    throw new Refused(400, `password authentication failed for user '${asked.user}'`, '28P01')
  }
  if (asked.database !== login.database) {
    throw new Refused(400, `database "${asked.database}" does not exist`, '3D000')
  }
  if (headers['neon-raw-text-output'] !== 'true' || headers['neon-array-mode'] !== 'true') {
    throw new Refused(400, 'only raw text rows as arrays are answered here')
  }
  return login
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  // Not destroyed when left early: the refusal still has to get out. Node's type knows no encoding, so chunks are `any`.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new Refused(413, `request is too large (max is ${MAX_BODY_BYTES} bytes)`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function parsePayload(body: string): { single: Statement } | { batch: Statement[] } {
  let json: unknown
  try {
    json = JSON.parse(body)
  } catch (error) {
    throw unreadable(String(error))
  }
  if (isObject(json) && Array.isArray(json.queries)) return { batch: json.queries.map(parseStatement) }
  return { single: parseStatement(json) }
}

function parseStatement(json: unknown): Statement {
  if (!isObject(json) || typeof json.query !== 'string' || !Array.isArray(json.params ?? [])) {
    throw unreadable('data did not match any variant of untagged enum Payload')
  }
  // Checked above, with its default, which keeps the compiler from knowing.
  const statement = { query: json.query, params: (json.params ?? []) as unknown[] }
  if (statement.query.includes('\0')) throw new Refused(400, 'string contains embedded null')
  if (statement.params.length > MAX_PARAMS) throw new Refused(400, 'value too large to transmit')
  // Its own sub-protocol would leave the pipeline one answer short.
  if (/^\s*copy\b/i.test(statement.query)) throw new Refused(400, 'COPY does not work over HTTP')
  // JavaScript lets half a character through, Neon's JSON parser doesn't.
  if (
    [statement.query, ...statement.params].some((text) => typeof text === 'string' && !text.isWellFormed())
  ) {
    throw unreadable('unexpected end of hex escape')
  }
  return statement
}

function unreadable(why: string): Refused {
  return new Refused(400, `could not parse the HTTP request body: ${why}`)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function toReply(error: Error): Reply {
  if (error instanceof Refused) {
    return { status: error.status, body: { message: error.message, code: error.code } }
  }
  if (error instanceof pg.DatabaseError) {
    const fields = ERROR_FIELDS.map((field) => [field, error[field]])
    return { status: 400, body: { message: error.message, ...Object.fromEntries(fields) } }
  }
  return { status: 500, body: { message: error.message } }
}

function send(response: ServerResponse, { status, body }: Reply): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    // What is left of a refused body isn't read, so the connection can't be used again.
    ...(status === 413 ? { connection: 'close' } : {}),
  })
  response.end(text)
}
