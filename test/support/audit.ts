/** Reading the audit log in its tests: as rows of the database, and as its own verdict on its chain. */
import type { Client } from './client.ts'
import { asOwner } from './database.ts'

interface Row extends Record<string, unknown> {
  id: string
  action: string
  request_id: string
}
interface Verdict extends Record<string, unknown> {
  valid: boolean
  entries: number
}

export const verify = async (client: Client) => (await client.get<Verdict>('/audit-logs/verify')).body
export const rowsOf = (workspaceId: string) =>
  asOwner<Row>('select * from audit_logs where workspace_id = $1 order by sequence, id', [workspaceId])
export const rowsOfRequest = (headers: Headers) =>
  asOwner<Row>('select * from audit_logs where request_id = $1', [headers.get('x-request-id')])
