/** What a request asks of the database, done again on a connection of one's own: rows read, time, plans. */
import type pg from 'pg'

export interface Statement {
  query: string
  params: unknown[]
}

/** Whether a request to the gateway is the sweeper's or cron's: by the claim that the gate is passed with. */
export const isUpkeep = (request: string) => request.includes(String.raw`\"scope\":\"system\"`)

/** The statements of a request to the gateway, the gate's first. */
export const statementsOf = (request: string): Statement[] => {
  // `as`: what the driver sends, one statement or several.
  const body = JSON.parse(request.slice(request.indexOf('\r\n\r\n') + 4)) as
    | Statement
    | { queries: Statement[] }
  return 'queries' in body ? body.queries : [body]
}

/** Index entries, and rows of sequential scans, that this connection has read so far, whatever became of them. */
const READ = `
  select sum(pg_stat_get_xact_tuples_returned(oid))::int as read from pg_class
   where relkind in ('r', 'i') and relnamespace = 'public'::regnamespace`

const inTransaction = async <T>(client: pg.Client, work: () => Promise<T>): Promise<T> => {
  await client.query('begin')
  try {
    return await work()
  } finally {
    await client.query('rollback')
  }
}

/** How many rows and index entries the statements read, the gate's among them. */
export const countRead = (client: pg.Client, statements: readonly Statement[]): Promise<number> =>
  inTransaction(client, async () => {
    const count = async () => (await client.query<{ read: number }>(READ)).rows[0]?.read ?? 0
    const before = await count()
    for (const { query, params } of statements) await client.query(query, params)
    return (await count()) - before
  })

interface Explained {
  'Planning Time': number
  'Execution Time': number
}

/** Milliseconds that Postgres plans and runs the statements, the gate's among them. */
export const timeOf = (client: pg.Client, statements: readonly Statement[]): Promise<number> =>
  inTransaction(client, async () => {
    let milliseconds = 0
    for (const { query, params } of statements) {
      const { rows } = await client.query<{ 'QUERY PLAN': Explained[] }>(
        `explain (analyze, timing off, format json) ${query}`,
        params,
      )
      for (const plan of rows[0]?.['QUERY PLAN'] ?? []) {
        milliseconds += plan['Planning Time'] + plan['Execution Time']
      }
    }
    return milliseconds
  })

/** Their plans, and those of the functions that they call, if auto_explain sends notices to this connection. */
export const plansOf = async (client: pg.Client, statements: readonly Statement[]): Promise<string[]> => {
  const plans: string[] = []
  const hear = ({ message }: { message?: string | undefined }) => {
    // Those of the gate are always the same.
    if (
      message &&
      / Scan .*on \w/.test(message) &&
      !/gate_key|app\.enter|memberships m|sessions|plan from/.test(message)
    ) {
      plans.push(message)
    }
  }
  client.on('notice', hear)
  await inTransaction(client, async () => {
    for (const { query, params } of statements) await client.query(query, params)
  })
  client.off('notice', hear)
  return plans
}
