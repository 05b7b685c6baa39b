/** The conditions that every domain's SQL is made of. */
import { Column, eq, getTableColumns, lt, type SQL, sql } from 'drizzle-orm'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'
import { AppError } from '../errors.ts'
import { currentWorkspaceId, workspaces } from './schema.ts'

/** SQL: the row belongs to the workspace that the gate let the caller into. */
export const inWorkspace = (table: { workspaceId: PgColumn }): SQL =>
  eq(table.workspaceId, sql`(select ${currentWorkspaceId})`)

/**
 * SQL: an id of the moment at which its row is written, in the workspace's turn. Lists are ordered and bounded by ids, so what
 * takes its time before there is a row would come up below what others have read by then.
 */
export const idOfNow: SQL<string> = sql`app.uuid_v7()`

/** SQL: the row of the workspace itself. */
export const thisWorkspace: SQL = eq(workspaces.id, sql`(select ${currentWorkspaceId})`)

/** SQL: some row of `table` meets `condition`; locked until the transaction ends if `lock` says so. */
export const exists = (table: PgTable, condition: SQL | undefined, lock?: 'for update' | 'for share'): SQL =>
  sql`exists (select from ${table} where ${condition} ${sql.raw(lock ?? '')})`

const known = new WeakMap<PgTable, [string, PgColumn][]>()

/** Listed once for each table. */
const columnsOf = (table: PgTable) => {
  const columns = known.get(table) ?? Object.entries(getTableColumns(table))
  known.set(table, columns)
  return columns
}

/** Most columns read a value as it comes. */
const asItIs = Column.prototype.mapFromDriverValue

/** A table's row of which Postgres has made JSON. */
export const rowOf = <Table extends PgTable>(
  table: Table,
  json: Record<string, unknown>,
): Table['$inferSelect'] => {
  const row: Record<string, unknown> = {}
  for (const [name, column] of columnsOf(table)) {
    const value = json[column.name] ?? null
    row[name] =
      value === null || column.mapFromDriverValue === asItIs ? value : column.mapFromDriverValue(value)
  }
  // `as`: the columns are those of the table.
  return row as Table['$inferSelect']
}

export const rowsOf = <Table extends PgTable>(table: Table, json: readonly Record<string, unknown>[]) =>
  json.map((row) => rowOf(table, row))

/** The first row of a statement's result. @throws {AppError} not_found, if there is none */
export const first = <Row>(rows: readonly Row[]): Row => {
  const [row] = rows
  if (row === undefined) throw new AppError('not_found')
  return row
}

/** Part of a list: at most so many rows, after the one with this id. */
export interface Page {
  limit: number
  cursor?: string | undefined
}

/** SQL: older than the last of the page before; lists begin with the newest, by ids that rise with time. */
export const afterCursor = (id: PgColumn, { cursor }: Pick<Page, 'cursor'>): SQL | undefined =>
  cursor ? lt(id, cursor) : undefined
