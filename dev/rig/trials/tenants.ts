/** What the trials share: workspaces on a rig, a client that says what came of a request, and the truth in the database. */
import { type Auth, inMemory, sessionAuth } from '../../../client/src/auth.ts'
import { createHttp } from '../../../client/src/http.ts'
import { ApiError, MerchantClient, type SessionStore } from '../../../client/src/index.ts'
import { withClient } from '../../../scripts/migrate.ts'
import type { Rig } from '../rig.ts'

export interface Tenant {
  /** The first one, good for fifteen minutes. */
  token: string
  workspaceId: string
  /** A session that is renewed; nobody without. */
  session?: SessionStore
  auth?: Auth
}

export const asOwner = <T extends object>(rig: Rig, text: string, values: unknown[] = []): Promise<T[]> =>
  withClient(rig.stack.database.adminUrl, async (db) => (await db.query<T>(text, values)).rows)

/** Of every owner, `trial-0@example.com` and so on. */
export const PASSWORD = 'correct horse battery staple'

/** Workspaces of the enterprise plan, whose credits and rates are no limit, each with an owner of its own. */
export const makeTenants = async (rig: Rig, count: number): Promise<Tenant[]> => {
  const tenants: Tenant[] = []
  for (let number = 0; number < count; number++) {
    const account = { email: `trial-${number}@example.com`, password: PASSWORD }
    const anybody = new MerchantClient({ baseUrl: rig.url })
    const tokens = await anybody.post('/auth/register', { body: account })
    const session = inMemory(tokens)
    const merchant = new MerchantClient({ baseUrl: rig.url, session })
    const { id: workspaceId } = await merchant.post('/workspaces', { body: { name: 'Trial' } })
    const auth = sessionAuth(session, (refresh_token) =>
      anybody.post('/auth/refresh', { body: { refresh_token } }),
    )
    tenants.push({ token: tokens.access_token, workspaceId, session, auth })
  }
  await asOwner(rig, `update workspaces set plan = 'enterprise'`)
  return tenants
}

export const merchantOf = (rig: Rig, { session, workspaceId }: Tenant, retries?: number): MerchantClient =>
  new MerchantClient({ baseUrl: rig.url, session, workspaceId, retries })

const fetchOnce: typeof fetch = (input, init) => fetch(input, { ...init, redirect: 'manual' })

/** What came of a request, sent once, and no further: a redirect is the answer. Status 0: nothing answered, or the caller had left. */
export const ask = async (
  url: string,
  { auth, workspaceId }: Tenant,
  method: string,
  path: string,
  options: { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<{ status: number; body: string }> => {
  const http = createHttp(
    { baseUrl: url, workspaceId: workspaceId || undefined, retries: 0, fetch: fetchOnce },
    auth,
  )
  const signal = options.signal ?? AbortSignal.timeout(60_000)
  try {
    const response = await http.raw({ ...options, method, path, signal })
    return { status: response.status, body: await response.text() }
  } catch (error) {
    return error instanceof ApiError ? { status: error.status, body: error.message } : { status: 0, body: '' }
  }
}

/** What must not be once nothing runs any more: each with how many there are. */
export const untruths = async (rig: Rig): Promise<Record<string, number>> => {
  const [row] = await asOwner<Record<string, number>>(
    rig,
    `select (select count(*)::int from generations where completed_at is null) as "jobs without an end",
            (select count(*)::int from generations where lease_expires_at is not null) as "leases held",
            (select count(*)::int from outbox) as "notes owed",
            (select count(*)::int from (select generation_id from credit_entries group by generation_id
               having count(*) filter (where kind = 'reserve') <> 1 or count(*) filter (where kind = 'charge') > 1
                   or sum(case kind when 'reserve' then credits else -credits end) <> 0) e) as "ledgers that do not add up",
            (select count(*)::int from generations g where credits_charged <> coalesce((select sum(credits) from credit_entries e
               where e.generation_id = g.id and e.kind = 'charge'), 0)) as "charges that differ",
            (select count(*)::int from generations g where status = 'succeeded' and
               (select count(*) from generation_outputs o where o.generation_id = g.id) = 0) as "successes without outputs",
            (select count(*)::int from assets a where source = 'generation' and not exists (select from generation_outputs o
               join generations g on g.id = o.generation_id where o.asset_id = a.id and g.status = 'succeeded'))
               as "files of jobs that did not succeed",
            (select count(*)::int from provider_jobs where ended_at is null) as "jobs open at providers",
            (select count(*)::int from app.wrong_counters()) as "wrong counters",
            (select count(*)::int from (select workspace_id from generation_events group by 1
               having max(sequence) <> count(*)) e) as "gaps in events",
            (select deadlocks::int from pg_stat_database where datname = current_database()) as "deadlocks"`,
  )
  return row ?? {}
}

export const percentile = (values: number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0
