/** Fills a database by hand: what many workspaces have made in half a year, interleaved as it would be. */
import { withClient } from '../../../scripts/migrate.ts'

export interface Filling {
  /** The workspaces to fill, with how many rows each table gets of them. */
  workspaces: { id: string; rows: number }[]
  /** How many more workspaces there are, and rows of each. */
  others: { count: number; rows: number }
}

/** What to ask for. Rare is one in 20,000, and at least one of a workspace that has rows. */
export interface Facts {
  /** Of the middle of the largest workspace's time. */
  middle: { asset: string; generation: string; audit: string; entry: string; delivery: string; time: string }
  /** Who did half of it, and who did a thing or two. */
  busyActor: string
  rareActor: string
  busyEndpoint: string
  rareEndpoint: string
}

/** Share of each workspace's generations, the newest, that stand in line. */
const QUEUED = 0.015

const steps = (workspace: string): string[] => [
  `create function pg_temp.id(p_at timestamptz, p_salt text) returns uuid language sql immutable as $$
     select (left(app.uuid_at(p_at)::text, 14) || '7' || substr(h, 1, 3) || '-8' || substr(h, 4, 3) || '-' || substr(h, 7, 12))::uuid
       from md5(p_salt) h $$`,
  `create function pg_temp.known(p_salt text) returns uuid language sql immutable as $$
     select pg_temp.id('2025-01-01', p_salt) $$`,
  `insert into workspaces (id, name, slug) select o.id, 'Other', 'other-' || o.id from places o on conflict do nothing`,
  `insert into users (id, email) select pg_temp.known('user' || n), 'many-' || n || '@example.com' from generate_series(1, 2000) n`,
  // The table that all others are made from, in the order of time.
  `create temporary table made as
     select p.id workspace_id, p.rows, k, at, pg_temp.id(at, 'asset' || p.id || k) asset_id, pg_temp.id(at, 'generation' || p.id || k) generation_id,
            case when k > p.rows * ${1 - QUEUED} then 'queued' when k > p.rows * ${1 - QUEUED} - 8 then 'running' when k % 25 = 3 then 'failed'
                 when k % 5000 = 11 then 'canceled' else 'succeeded' end status
       from places p, generate_series(1, p.rows) k, lateral (select now() - interval '180 days' * (1 - (k - 0.5) / p.rows)) t (at)
      order by at`,
  `insert into assets (workspace_id, id, object_id, name, kind, mime_type, size, sha256, source, status, tags, created_at)
     select workspace_id, asset_id, asset_id, case when k % 20000 = 7 then 'Zebra stool ' else 'Product photo ' end || k || '.jpg',
            case when k % 20000 = 9 then 'document' when k % 20 = 5 then 'video' else 'image' end, 'image/jpeg', 1000 + k, md5(k::text) || md5(k::text),
            case when k % 2 = 0 then 'generation' else 'upload' end, case when k % 20000 = 13 then 'pending' else 'ready' end,
            case when k % 20000 = 15 then '{rare}' when k % 4 = 0 then '{summer}' else '{}' end::text[], at from made order by at`,
  `insert into asset_tags (workspace_id, tag, kind, source, status, id)
     select workspace_id, tag, kind, source, status, id from assets, unnest(tags) tag`,
  `insert into generations (workspace_id, id, task, kind, status, model, prompt, count, input_asset_ids, deadline, deadline_at, credits_reserved,
       credits_charged, attempts, progress, created_at, started_at, completed_at)
     select workspace_id, generation_id, task, case when task = 'animate' then 'video' else 'image' end, status, 'google/nano-banana', 'On a table, ' || k,
            1, array[asset_id], 600, at + interval '1 day', 4, case when status = 'succeeded' then 4 else 0 end, 1,
            case when status = 'succeeded' then 100 else 0 end, at, case when status <> 'queued' then at end,
            case when status not in ('queued', 'running') then at + interval '20 seconds' end
       from made, lateral (select case when k % 20000 = 17 then 'expand' when k % 20000 = 19 then 'animate' when k % 3 = 0 then 'cutout' else 'scene' end) t (task)
      order by at`,
  `insert into generation_outputs (workspace_id, generation_id, index, asset_id)
     select workspace_id, generation_id, 0, asset_id from made where status = 'succeeded' and k % 2 = 0 order by at`,
  `insert into provider_jobs (workspace_id, id, generation_id, indexes, provider, model, output, prompt, inputs, object_ids, status, cost, expires_at, ended_at)
     select workspace_id, pg_temp.id(at, 'call' || generation_id), generation_id, '{0}', 'replicate', 'google/nano-banana', '', 'On a table', '[]', array[asset_id],
            case when status = 'running' then 'running' when status = 'succeeded' then 'succeeded' else 'failed' end, 0.039, at + interval '10 minutes', case when status <> 'running' then at end
       from made where status <> 'queued' order by at`,
  `insert into credit_entries (workspace_id, id, generation_id, kind, credits, period, created_at)
     select workspace_id, pg_temp.id(at + n * interval '10 seconds', 'entry' || n || generation_id), generation_id,
            case when n = 0 then 'reserve' when status = 'succeeded' then 'charge' else 'refund' end, 4, date_trunc('month', at at time zone 'utc'), at
       from made, generate_series(0, 1) n where n = 0 or status not in ('queued', 'running') order by at`,
  `insert into generation_events (workspace_id, sequence, generation_id, type, status, progress, created_at)
     select workspace_id, k, generation_id, status, status, 0, at from made order by at`,
  `insert into event_heads select id, rows from places where rows > 0 on conflict (workspace_id) do update set sequence = excluded.sequence`,
  // That they were made.
  `delete from audit_logs where workspace_id in (select id from places)`,
  `delete from audit_heads where workspace_id in (select id from places)`,
  `insert into audit_logs (id, workspace_id, action, actor_type, actor_id, resource_type, resource_id, after, ip, user_agent, request_id, created_at, sequence, hash)
     select pg_temp.id(at, 'audit' || asset_id), workspace_id, what || '.' || verb, case when k % 2 = 0 then 'user' else 'api_key' end,
            case when k % 20000 = 21 then pg_temp.known('rare') when k % 2 = 0 then pg_temp.known('busy') else pg_temp.known('key') end, what,
            case when what = 'generation' then generation_id else asset_id end, '{"name": "photo.jpg", "size": 1000}', '203.0.113.7', 'trial', k::text, at, k, md5(k::text) || md5(k::text)
       from made, lateral (select case when k % 20000 = 7 then 'member' when k % 2 = 0 then 'asset' else 'generation' end) w (what),
            lateral (select case when what = 'member' then 'update' else 'create' end) v (verb)
      order by at`,
  `insert into audit_heads select id, rows, md5(rows::text) || md5(rows::text), rows, now() from places where rows > 0`,
  `insert into audit_checkpoints (workspace_id, id, sequence, hash, signature, kid, created_at)
     select workspace_id, pg_temp.id(at, 'checkpoint' || asset_id), k, md5(k::text) || md5(k::text), 'none', 'trial', at from made where k % 100 = 0 order by at`,
  `insert into webhook_endpoints (workspace_id, id, url, events, secret) select id, pg_temp.known(e || id), 'https://example.com/' || e, '{}', 'whsec_'
     from places, unnest(array['busy', 'rare']) e where rows > 0`,
  `insert into webhook_deliveries (workspace_id, id, endpoint_id, url, sequence, payload, status, attempts, response_status, created_at, ended_at)
     select workspace_id, pg_temp.id(at, 'delivery' || asset_id),
            case when k % 20000 = 7 then pg_temp.known('rare' || workspace_id) when k % 2 = 0 then pg_temp.known('busy' || workspace_id) end,
            'https://example.com/', k, '{"type": "generation.succeeded"}', s.status, 1, 200, at, case when s.status <> 'pending' then at end
       from made, lateral (select case when k % 20000 = 23 then 'pending' when k % 5000 = 3 then 'failed' else 'delivered' end) s (status) order by at`,
  `insert into workspace_counters (workspace_id, stored_bytes, queued, running, period, reserved, charged)
     select p.id, coalesce(bytes, 0), coalesce(queued, 0), coalesce(running, 0), coalesce(period, '-infinity'), coalesce(reserved, 0), coalesce(charged, 0)
       from places p
       left join (select workspace_id id, sum(size) bytes from assets group by 1) a using (id)
       left join (select workspace_id id, count(*) filter (where status = 'queued') queued, count(*) filter (where status = 'running') running
         from made group by 1) m using (id)
       left join (select distinct on (workspace_id) workspace_id id, period, sum(case kind when 'reserve' then credits else -credits end) reserved,
           sum(credits) filter (where kind = 'charge') charged from credit_entries group by 1, 2 order by 1, 2 desc) e using (id)
      on conflict (workspace_id) do update set stored_bytes = excluded.stored_bytes, queued = excluded.queued, running = excluded.running,
        period = excluded.period, reserved = excluded.reserved, charged = excluded.charged`,
  // The people of the largest: many members, and what is over but still kept.
  `insert into memberships (workspace_id, user_id, role, entry_id)
     select '${workspace}', pg_temp.known('user' || n), 'viewer', pg_temp.id(now() - n * interval '1 hour', 'member' || n) from generate_series(1, 2000) n`,
  `insert into invites (workspace_id, id, email, role, token_hash, expires_at, accepted_at)
     select '${workspace}', pg_temp.id(now() - n * interval '5 minutes', 'invite' || n), 'many-' || n || '@example.com', 'member', 'trial' || n, now() + interval '1 day',
            case when n between 3 and 4998 then now() end from generate_series(1, 5000) n`,
  `insert into api_keys (workspace_id, id, name, start, key_hash, scopes, revoked_at)
     select '${workspace}', pg_temp.id(now() - n * interval '1 hour', 'key' || n), 'key', 'mck_', 'trial' || n, '{}', case when n between 3 and 1998 then now() end
       from generate_series(1, 2000) n`,
  `insert into sessions (id, user_id, refresh_hash, expires_at, revoked_at)
     select pg_temp.id(now() - n * interval '1 hour', 'session' || n || user_id), user_id, 'trial' || n || user_id, now(), now()
       from memberships, generate_series(1, 2000) n where workspace_id = '${workspace}' and role <> 'viewer'`,
]

const filled = [
  'assets',
  'asset_tags',
  'generations',
  'generation_outputs',
  'provider_jobs',
  'credit_entries',
  'generation_events',
  'audit_logs',
  'audit_checkpoints',
  'webhook_deliveries',
  'workspace_counters',
  'memberships',
  'users',
  'sessions',
  'invites',
  'api_keys',
  'workspaces',
]

/** Fills the tables, the first workspace being the largest; needs a superuser, since triggers and foreign keys have to wait. */
export const fillDatabase = (adminUrl: string, { workspaces, others }: Filling): Promise<Facts> =>
  withClient(adminUrl, async (db) => {
    const [largest] = workspaces
    if (!largest) throw new Error('nothing to fill')
    await db.query(
      `set session_replication_role = replica; set work_mem = '256MB'; set maintenance_work_mem = '256MB'`,
    )
    await db.query(
      `create temporary table places as
         select id, rows from unnest($1::uuid[], $2::int[]) named (id, rows)
         union all select app.uuid_v7(), $4 from generate_series(1, $3::int)`,
      [workspaces.map(({ id }) => id), workspaces.map(({ rows }) => rows), others.count, others.rows],
    )
    // Made afterwards, which takes a fraction of the time; in the same order, by which the planner decides between equals.
    const { rows: indexes } = await db.query<{ name: string; definition: string }>(
      `select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) definition from pg_index i
        where indrelid = any($1::regclass[]) and not exists (select from pg_constraint where conindid = i.indexrelid)
        order by indexrelid::oid`,
      [filled],
    )
    for (const { name } of indexes) await db.query(`drop index ${name}`)
    for (const step of steps(largest.id)) await db.query(step)
    for (const { definition } of indexes) await db.query(definition)
    await db.query('reset session_replication_role')
    await db.query(`vacuum (analyze) ${filled}`)
    const { rows } = await db.query<Facts>(
      `select json_build_object('asset', m.asset_id, 'generation', m.generation_id, 'time', to_char(m.at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                'audit', pg_temp.id(at, 'audit' || asset_id), 'delivery', pg_temp.id(at, 'delivery' || asset_id), 'entry', pg_temp.id(at, 'entry0' || generation_id)) middle,
              pg_temp.known('busy') "busyActor", pg_temp.known('rare') "rareActor",
              pg_temp.known('busy' || workspace_id) "busyEndpoint", pg_temp.known('rare' || workspace_id) "rareEndpoint"
         from made m where workspace_id = $1 and k = rows / 2`,
      [largest.id],
    )
    const [facts] = rows
    if (!facts) throw new Error('nothing was filled')
    return facts
  })
