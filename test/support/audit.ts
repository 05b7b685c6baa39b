/** The audit log in its tests: its rows, its own verdict on them, and what only the database's owner can do to them. */
import { expect } from 'vitest'
import { type Client, listAll } from './client.ts'
import { control } from './control.ts'
import { asOwner } from './database.ts'
import { newTenant } from './tenants.ts'
import { waitFor } from './wait-for.ts'

interface Row extends Record<string, unknown> {
  id: string
  action: string
  request_id: string
}
interface Verdict extends Record<string, unknown> {
  valid: boolean
  entries: number
  next: number | null
}

export const verify = async (client: Client, query = '') =>
  (await client.get<Verdict>(`/audit-logs/verify${query}`)).body
export const rowsOf = (workspaceId: string) =>
  asOwner<Row>('select * from audit_logs where workspace_id = $1 order by sequence, id', [workspaceId])
export const rowsOfRequest = (headers: Headers) =>
  asOwner<Row>('select * from audit_logs where request_id = $1', [headers.get('x-request-id')])

/** The verdict on a whole log of so many entries. */
export const unbroken = (entries: number) => ({
  valid: true,
  entries,
  brokenAt: null,
  truncated: false,
  verifiedTo: entries,
  next: null,
  forgedCheckpoint: null,
  checkpointMatches: null,
})

/** A workspace with a chain of six. */
export const newChain = async () => {
  const tenant = await newTenant()
  for (const name of ['b', 'c', 'd', 'e', 'f'])
    await tenant.client.patch(`/workspaces/${tenant.workspaceId}`, { name })
  const rows = await rowsOf(tenant.workspaceId)
  expect(await verify(tenant.client)).toEqual(unbroken(6))
  return { ...tenant, rows, idAt: (position: number) => rows[position - 1]?.id as string }
}

/** What only a superuser can do: changes the log behind its triggers. */
export const tamper = (statements: string) =>
  asOwner(`begin; set local session_replication_role = replica; ${statements}; commit`)

/** Writes the chain anew, as if its rows had always been what they are. */
export const recompute = (workspaceId: string) => `
  do $$
  declare
    v_row audit_logs;
    v_hash text := '';
  begin
    for v_row in select * from audit_logs where workspace_id = '${workspaceId}' order by sequence loop
      v_hash := app.audit_hash(v_hash, v_row);
      update audit_logs set hash = v_hash where id = v_row.id;
    end loop;
    update audit_heads set hash = v_hash, sequence = (select max(sequence) from audit_logs where workspace_id = '${workspaceId}')
     where workspace_id = '${workspaceId}';
  end $$`

/** As if cron had never come. */
export const withoutCheckpoints = (workspaceId: string) => `
  delete from audit_checkpoints where workspace_id = '${workspaceId}';
  update audit_heads set checked_sequence = default, checked_at = default where workspace_id = '${workspaceId}'`

/** Entries as the system writes them, through the chain's trigger. */
export const addEntries = (workspaceId: string, count: number) =>
  asOwner(
    `insert into audit_logs (workspace_id, action, actor_type, resource_type)
     select $1, 'workspace.update', 'system', 'workspace' from generate_series(1, $2::int)`,
    [workspaceId, count],
  )

export interface CheckpointBody extends Record<string, unknown> {
  sequence: number
  hash: string
  signature: string
  kid: string
}

export const checkpointsOf = (client: Client) =>
  listAll<CheckpointBody>(client, '/audit-logs/checkpoints?limit=100')

/** Runs cron until the log has a checkpoint of this sequence: other tests' workspaces may come first. */
export const checkpointAt = (client: Client, sequence: number) =>
  waitFor(`a checkpoint at ${sequence}`, async () => {
    await control('cron')
    return (await checkpointsOf(client)).find((checkpoint) => checkpoint.sequence === sequence)
  })
