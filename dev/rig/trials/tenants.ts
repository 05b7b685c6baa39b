/** What the trials share: workspaces on a rig, a client that says what came of a request, and the truth in the database. */
import { createClient } from '../../../scripts/client.ts'
import { withClient } from '../../../scripts/migrate.ts'
import type { Rig } from '../rig.ts'

export interface Tenant {
  token: string
  workspaceId: string
  /** Gets a new token, once for all who ask at the same time. */
  renew?: () => Promise<void>
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
    const { access_token: token, refresh_token } = await createClient(rig.url).register(account)
    const { id: workspaceId } = await createClient(rig.url, token).createWorkspace('Trial')
    tenants.push(withRenewal(rig, { token, workspaceId }, refresh_token))
  }
  await asOwner(rig, `update workspaces set plan = 'enterprise'`)
  return tenants
}

const withRenewal = (rig: Rig, tenant: Tenant, refreshToken: string): Tenant => {
  let renewing: Promise<void> | undefined
  const refresh = async () => {
    const { status, body } = await send(rig.url, tenant, 'POST', '/auth/refresh', {
      body: { refresh_token: refreshToken },
    })
    if (status !== 200) return
    const renewed = JSON.parse(body) as { access_token: string; refresh_token: string }
    tenant.token = renewed.access_token
    refreshToken = renewed.refresh_token
  }
  tenant.renew = () => {
    renewing ??= refresh().finally(() => {
      renewing = undefined
    })
    return renewing
  }
  return tenant
}

/** One request, sent again if its token had expired. Status 0: nothing answered, or the caller had left. */
export const ask: typeof send = async (url, tenant, ...request) => {
  const answer = await send(url, tenant, ...request)
  if (answer.status !== 401 || !tenant.renew) return answer
  await tenant.renew()
  return send(url, tenant, ...request)
}

const send = async (
  url: string,
  { token, workspaceId }: Tenant,
  method: string,
  path: string,
  options: { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<{ status: number; body: string }> => {
  const { body, headers, signal } = options
  try {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      redirect: 'manual',
      headers: {
        authorization: `Bearer ${token}`,
        'x-workspace-id': workspaceId,
        ...(body !== undefined && !(body instanceof FormData) && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: body instanceof FormData ? body : JSON.stringify(body) }),
      signal: signal ?? AbortSignal.timeout(60_000),
    })
    return { status: response.status, body: await response.text() }
  } catch {
    return { status: 0, body: '' }
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
            (select count(*)::int from generations g where status <> 'succeeded' and
               exists (select from assets a, provider_jobs j where j.generation_id = g.id and a.id = any(j.asset_ids)))
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
