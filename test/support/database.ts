/** The database behind row-level security, as its owner: for preparing, for looking, and for holding a row. */
import { hash } from 'node:crypto'
import pg from 'pg'
import { onTestFinished } from 'vitest'
import { withClient } from '../../scripts/migrate.ts'
import { stack } from './control.ts'
import { waitFor } from './wait-for.ts'

export const asOwner = <T extends pg.QueryResultRow>(sql: string, parameters: unknown[] = []): Promise<T[]> =>
  withClient(stack.adminDatabase, async (client) => (await client.query<T>(sql, parameters)).rows)

export const setPlan = (workspaceId: string, plan: string) =>
  asOwner('update workspaces set plan = $2 where id = $1', [workspaceId, plan])

/** Locks a row until it is released or the test ends, so that whoever wants to change it waits in line. */
export const holdRow = async (
  table: 'users' | 'workspaces' | 'webhook_deliveries' | 'assets' | 'outbox',
  id: string,
) => {
  const holder = new pg.Client(stack.adminDatabase)
  await holder.connect()
  onTestFinished(() => holder.end())
  await holder.query('begin')
  const key = table === 'outbox' ? 'subject_id' : 'id'
  await holder.query(`select from ${table} where ${key} = $1 for update`, [id])
  const { rows } = await holder.query<{ pid: number }>('select pg_backend_pid() as pid')
  return {
    /** Resolves when so many wait for the row, for whoever waits for it, and so on. */
    whenWaiting: (count: number) =>
      waitFor(`${count} in line`, async () => {
        const [line] = await asOwner<{ length: number }>(
          `with recursive line as (
             select $1::int as pid
             union select a.pid from pg_stat_activity a join line on line.pid = any(pg_blocking_pids(a.pid)))
           select count(*)::int - 1 as length from line`,
          [rows[0]?.pid],
        )
        return line?.length === count
      }),
    /** Commits, with a last change if one is given. */
    release: (change = 'select') => holder.query(`${change}; commit`),
  }
}

/** What the Worker tells the gate of somebody who is signed in. */
export const claimOf = async (
  { userId, workspaceId }: { userId: string; workspaceId: string },
  action = 'workspace.get',
) => {
  const [session] = await asOwner<{ id: string }>(
    'select id from sessions where user_id = $1 and revoked_at is null limit 1',
    [userId],
  )
  return {
    credential: { type: 'session', id: session?.id },
    scope: 'workspace',
    workspaceId,
    role: 'viewer',
    action,
  }
}

/** Passes the gate on this connection, in the transaction that it has begun. */
export const enter = (client: pg.Client, claim: object, key = stack.gateKey) => {
  const text = JSON.stringify(claim)
  return client.query('select * from app.enter($1, $2)', [text, hash('sha256', key + text + key)])
}
