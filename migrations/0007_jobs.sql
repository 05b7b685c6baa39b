-- A generation's life, as functions behind the gate: planned once a connection, where the statements of a request are planned
-- each time. They run as whoever calls them, under row-level security. `p_plans` is what each plan allows (src/plans.ts).

-- Accepts a job in the workspace's turn: its row, the reservation of its credits, the note of what is owed, and how it is
-- answered. With a key that came before nothing happens, and `body` is the earlier answer.
create or replace function app.accept(p_id uuid, p_request jsonb, p_plans jsonb, p_key text, p_hash text,
    out made boolean, out request_hash text, out body jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_context constant jsonb := app.context();
  v_workspace constant uuid := v_context ->> 'workspaceId';
  v_period constant date := date_trunc('month', now() at time zone 'utc');
  v_asked constant public.generations := jsonb_populate_record(null::public.generations, p_request);
  v_allowed jsonb;
  v_counts public.workspace_counters;
  v_row public.generations;
begin
  made := true;
  if p_key is not null then
    select false, k.request_hash, k.body into made, request_hash, body from public.idempotency_keys k
     where k.workspace_id = v_workspace and k.caller = v_context ->> 'actor' and k.key = p_key;
    if found then
      return;
    end if;
    made := true;
  end if;
  select p_plans -> w.plan into v_allowed from public.workspaces w where w.id = v_workspace;
  insert into public.generations (id, task, kind, model, prompt, text, style, aspect_ratio, count, seed, duration,
    input_asset_ids, webhook_url, retry_of, deadline, deadline_at, credits_reserved, eta)
  values (p_id, v_asked.task, v_asked.kind, v_asked.model, v_asked.prompt, v_asked.text, v_asked.style, v_asked.aspect_ratio,
    v_asked.count, v_asked.seed, v_asked.duration, v_asked.input_asset_ids, v_asked.webhook_url, v_asked.retry_of,
    -- How long it may stand in line; its first step sets when it must have ended.
    v_asked.deadline, now() + interval '1 day', v_asked.credits_reserved,
    app.eta(v_asked.model, coalesce(v_asked.duration, v_asked.count), null, null, (v_allowed ->> 'running')::integer))
  returning * into v_row;
  insert into public.credit_entries (generation_id, kind, credits, period) values (p_id, 'reserve', v_row.credits_reserved, v_period);
  select * into v_counts from public.workspace_counters c where c.workspace_id = v_workspace;
  perform app.require(coalesce(v_counts.reserved + v_counts.charged <= (v_allowed ->> 'credits')::bigint, true), 402, 'insufficient_credits');
  -- How large the outputs will be, nobody knows yet: there must be room for something.
  perform app.require(v_counts.stored_bytes < (v_allowed ->> 'storage')::bigint, 402, 'storage_quota_exceeded');
  perform app.require(v_counts.queued <= (v_allowed ->> 'queued')::integer, 402, 'plan_limit_reached');
  insert into public.outbox (kind, subject_id, available_at) values ('generation', p_id, v_row.deadline_at);
  body := to_jsonb(v_row) || jsonb_build_object('position', v_counts.queued - 1);
  if p_key is not null then
    insert into public.idempotency_keys (key, request_hash, generation_id, body) values (p_key, p_hash, p_id, body);
  end if;
end $$;
--> statement-breakpoint
-- Last of each change of a generation: the events that it made, with their deliveries, and whom it makes room for: the first
-- in line who were not sent yet, or so long ago that the message is lost, as many as there are places.
create or replace function app.conclude(p_id uuid, p_plans jsonb, out events jsonb, out woken uuid[])
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := app.workspace_id();
  v_lost constant timestamptz := now() - interval '10 seconds';
  v_free integer;
begin
  events := (select jsonb_agg(to_jsonb(e) || jsonb_build_object('deliveries', array(
      select d.id from public.webhook_deliveries d where d.workspace_id = v_workspace and d.sequence = e.sequence)) order by e.sequence)
    from public.generation_events e
   where e.workspace_id = v_workspace and e.generation_id = p_id and e.created_at = now());
  select (p_plans -> w.plan ->> 'running')::integer - c.running into v_free
    from public.workspaces w join public.workspace_counters c on c.workspace_id = w.id
   where w.id = v_workspace and c.queued > 0;
  if v_free > 0 then
    v_free := v_free - (select count(*) from public.generations g
      where g.workspace_id = v_workspace and g.status = 'queued' and g.woken_at >= v_lost);
  end if;
  if v_free > 0 then
    with first as (
      update public.generations set woken_at = now() where workspace_id = v_workspace and id in (
        select g.id from public.generations g
         where g.workspace_id = v_workspace and g.status = 'queued' and (g.woken_at is null or g.woken_at < v_lost)
         order by g.id limit v_free)
      returning id)
    select array_agg(f.id order by f.id) into woken from first f;
    -- The sweeper sends them again if nothing comes of it.
    update public.outbox o set available_at = now() + interval '15 seconds', sends = 0
     where o.workspace_id = v_workspace and o.kind = 'generation' and o.subject_id = any(woken);
  end if;
end $$;
--> statement-breakpoint
-- Takes the lease and a new fence, in the workspace's turn. Refused while somebody holds the job (`held_for`: seconds until
-- it must have been given back), after its end, before its next step is due (unless `p_early`: a provider has said that there
-- is news), and in line while the workspace has no place. What has stood in line for as long as a job may is claimed to be ended.
create or replace function app.claim(p_id uuid, p_early boolean, p_plans jsonb,
    out generation jsonb, out inputs jsonb, out jobs jsonb, out held_for integer)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := app.workspace_id();
  -- Longer than a step takes; a call that lasts renews it. After it another consumer may claim the job.
  v_lease constant interval := interval '60 seconds';
  v_row public.generations;
  v_late boolean;
  v_place boolean;
begin
  select * into v_row from public.generations g where g.workspace_id = v_workspace and g.id = p_id;
  if not found or v_row.status not in ('queued', 'running') then
    return;
  end if;
  if v_row.lease_expires_at > now() then
    held_for := case when v_row.status = 'running' then ceil(extract(epoch from v_row.lease_expires_at - now())) end;
    return;
  end if;
  -- The queue may deliver a delayed message a second early.
  if not p_early and v_row.next_step_at > now() + interval '1 second' then
    return;
  end if;
  v_late := v_row.status = 'queued' and v_row.deadline_at <= now();
  if v_row.status = 'queued' and not v_late then
    select c.running < (p_plans -> w.plan ->> 'running')::integer into v_place
      from public.workspaces w join public.workspace_counters c on c.workspace_id = w.id where w.id = v_workspace;
    if not v_place then
      -- Whoever ends tells it again.
      update public.generations set woken_at = null where workspace_id = v_workspace and id = p_id and woken_at is not null;
      return;
    end if;
  end if;
  update public.generations g
     set status = case when v_late then 'queued' else 'running' end,
         fence = g.fence + 1,
         started_at = case when not v_late then coalesce(g.started_at, now()) end,
         -- The time in line doesn't count.
         deadline_at = case when g.started_at is null and not v_late then now() + make_interval(secs => g.deadline) else g.deadline_at end,
         eta = case when g.started_at is null and not v_late
           then app.eta(g.model, coalesce(g.duration, g.count), null, 0, 0) else g.eta end,
         lease_expires_at = now() + v_lease,
         next_step_at = null,
         woken_at = null
   where g.workspace_id = v_workspace and g.id = p_id
  returning * into v_row;
  update public.outbox o set available_at = now() + v_lease + interval '1 second', sends = 0
   where o.workspace_id = v_workspace and o.kind = 'generation' and o.subject_id = p_id;
  generation := to_jsonb(v_row);
  inputs := (select jsonb_agg(to_jsonb(a)) from public.assets a where a.workspace_id = v_workspace and a.id = any(v_row.input_asset_ids));
  jobs := (select jsonb_agg(to_jsonb(j) order by j.id) from public.provider_jobs j
    where j.workspace_id = v_workspace and j.generation_id = p_id);
end $$;
--> statement-breakpoint
-- Refuses the transaction if another claim, or a cancellation, came in between.
create or replace function app.hold(p_id uuid, p_fence integer) returns public.generations
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_row public.generations;
begin
  select * into v_row from public.generations g
   where g.workspace_id = (select app.workspace_id()) and g.id = p_id and g.fence = p_fence and g.status in ('queued', 'running') for update;
  perform app.require(found, 409, 'already_finished');
  return v_row;
end $$;
--> statement-breakpoint
-- Notes what providers are about to be asked: rows of provider_jobs, as JSON. Noting twice is harmless.
create or replace function app.note_calls(p_id uuid, p_fence integer, p_calls jsonb) returns void
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := app.workspace_id();
begin
  perform app.hold(p_id, p_fence);
  insert into public.provider_jobs (id, generation_id, indexes, provider, model, output, prompt, inputs, asset_ids, cost, expires_at)
  select c.id, p_id, c.indexes, c.provider, c.model, c.output, c.prompt, c.inputs, c.asset_ids, c.cost, c.expires_at
    from jsonb_populate_recordset(null::public.provider_jobs, p_calls) c
  on conflict do nothing;
  update public.generations g
     set attempts = (select count(*) from public.provider_jobs j where j.workspace_id = v_workspace and j.generation_id = p_id),
         offer = (p_calls -> 0 ->> 'provider') || ':' || (p_calls -> 0 ->> 'model')
   where g.workspace_id = v_workspace and g.id = p_id;
end $$;
--> statement-breakpoint
-- Writes what a step has found out about calls that may still be answered: objects with `id`, and what has changed of
-- status, stored, fetches, failure and cost.
create or replace function app.write_calls(p_calls jsonb) returns void
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update public.provider_jobs j
     set status = coalesce(c ->> 'status', j.status),
         stored = coalesce(c -> 'stored', j.stored),
         fetches = coalesce((c ->> 'fetches')::integer, j.fetches),
         failure = coalesce(c -> 'failure', j.failure),
         cost = coalesce((c ->> 'cost')::numeric, j.cost),
         ended_at = case when c ->> 'status' <> 'running' then now() else j.ended_at end
    from jsonb_array_elements(p_calls) c
   where j.workspace_id = (select app.workspace_id()) and j.id = (c ->> 'id')::uuid and j.status in ('submitting', 'running');
end $$;
--> statement-breakpoint
-- Gives the lease back: the next step is due in so many seconds. `p_changes`: progress, phase, results_at. Answers whether
-- the claim still held; what was found out about the calls is written in any case.
create or replace function app.release(p_id uuid, p_fence integer, p_delay double precision, p_changes jsonb, p_calls jsonb) returns boolean
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := app.workspace_id();
  v_held boolean;
begin
  update public.generations g
     set lease_expires_at = null,
         next_step_at = now() + make_interval(secs => p_delay),
         progress = coalesce((p_changes ->> 'progress')::integer, g.progress),
         phase = coalesce(p_changes ->> 'phase', g.phase),
         results_at = coalesce((p_changes ->> 'results_at')::timestamptz, g.results_at),
         eta = app.eta(g.model, coalesce(g.duration, g.count), g.offer, extract(epoch from now() - g.started_at), 0)
   where g.workspace_id = v_workspace and g.id = p_id and g.fence = p_fence and g.status in ('queued', 'running');
  v_held := found;
  perform app.write_calls(p_calls);
  if v_held then
    -- The sweeper sends it again if the message is lost.
    update public.outbox o set available_at = now() + make_interval(secs => p_delay) + interval '15 seconds', sends = 0
     where o.workspace_id = v_workspace and o.kind = 'generation' and o.subject_id = p_id;
  end if;
  return v_held;
end $$;
--> statement-breakpoint
-- Ends a job: it succeeds with `p_outputs`, and is charged for their share of what was asked for, or fails with `p_error`, and
-- is charged nothing. The rest of the reservation goes back, what may still run at providers is to be stopped (then the answer
-- is true), and objects that no output needs are to be deleted, once a step that may still store them is over.
create or replace function app.settle(p_id uuid, p_fence integer, p_error jsonb, p_outputs jsonb, p_calls jsonb) returns boolean
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := app.workspace_id();
  v_row constant public.generations := app.hold(p_id, p_fence);
  v_made constant integer := jsonb_array_length(p_outputs);
  v_charged constant integer := ceil(v_row.credits_reserved::numeric * v_made / v_row.count);
  v_stops boolean;
begin
  perform app.write_calls(p_calls);
  update public.generations g
     set status = case when v_made > 0 then 'succeeded' else 'failed' end,
         progress = case when v_made > 0 then 100 else g.progress end,
         credits_charged = v_charged, error = p_error, completed_at = now(), lease_expires_at = null, next_step_at = null
   where g.workspace_id = v_workspace and g.id = p_id;
  insert into public.assets (id, name, kind, mime_type, size, sha256, width, height, source, status, created_by)
  select (o ->> 'assetId')::uuid, o ->> 'name', b.kind, b."mimeType", b.size, b.sha256, b.width, b.height, 'generation', 'ready', v_row.created_by
    from jsonb_array_elements(p_outputs) o,
         lateral jsonb_to_record(o -> 'object') b (kind text, "mimeType" text, size bigint, sha256 text, width integer, height integer);
  insert into public.generation_outputs (generation_id, index, asset_id)
  select p_id, (o ->> 'index')::integer, (o ->> 'assetId')::uuid from jsonb_array_elements(p_outputs) o;
  if v_made > 0 then
    update public.provider_jobs j set credits = round(v_charged::numeric * jsonb_array_length(j.stored) / v_made)
     where j.workspace_id = v_workspace and j.generation_id = p_id and j.status = 'succeeded';
  end if;
  update public.provider_jobs j set status = 'canceled', ended_at = now()
   where j.workspace_id = v_workspace and j.generation_id = p_id and j.status in ('submitting', 'running');
  v_stops := found;
  insert into public.credit_entries (generation_id, kind, credits, period)
  select p_id, part.kind, part.credits, e.period
    from public.credit_entries e,
         lateral (values ('charge', v_charged), ('refund', e.credits - v_charged)) part (kind, credits)
   where e.workspace_id = v_workspace and e.generation_id = p_id and e.kind = 'reserve' and part.credits > 0;
  delete from public.outbox o where o.workspace_id = v_workspace and o.kind = 'generation' and o.subject_id = p_id;
  insert into public.outbox (kind, subject_id, available_at)
  select 'prediction.cancel', p_id, now() + interval '30 seconds' where v_stops
  union all
  select 'object.delete', a, now() + interval '10 minutes'
    from public.provider_jobs j, lateral unnest(j.asset_ids) a
   where j.workspace_id = v_workspace and j.generation_id = p_id
     and not exists (select from jsonb_array_elements(p_outputs) o where (o ->> 'assetId')::uuid = a)
  union all
  -- Of an input that was deleted while it was prepared, the copy may be left.
  select 'object.delete', i, now() + interval '10 minutes'
    from unnest(v_row.input_asset_ids) i
   where not exists (select from public.assets a where a.workspace_id = v_workspace and a.id = i)
  on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at, sends = 0;
  return v_stops;
end $$;
