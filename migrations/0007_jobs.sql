-- A generation's life, as functions behind the gate: planned once a connection, where the statements of a request are planned
-- each time. They run as app_jobs, which alone writes most of it, and are reached by `app.change`, the last of them, which
-- lets nobody but the server itself take jobs and end them; whom the gate let in else, and for what, `p_context` says.
-- `p_places` is how many may run at the same time. What changes a generation answers the events that it made, with their
-- deliveries, and whom it wakes.

-- What is sent of a generation that has its turn. A fresh one without photos goes along, so that its first calls of providers
-- are known before it is claimed; a long one would not fit the queue's batches.
create or replace function app.wake_of(p_row public.generations) returns jsonb
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return jsonb_build_object('id', p_row.id, 'row', case
    when p_row.attempts = 0 and cardinality(p_row.input_asset_ids) = 0
      and length(concat(p_row.prompt, p_row.text, p_row.webhook_url)) <= 1000 then to_jsonb(p_row) end);
end $$;
--> statement-breakpoint
-- Last of each change of a generation: its events, if there is somebody to be told, and whom it makes room for: of the first in
-- line, as many as there are places, those who were not sent yet, or so long ago that the message is lost.
create or replace function app.conclude(p_workspace uuid, p_id uuid, p_places integer, out events jsonb, out woken jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_told boolean;
  v_free integer;
  v_first uuid[];
begin
  -- Mostly there is nobody. One change makes no more than three.
  select h.listened_until > now() or exists (select from public.webhook_deliveries d
        where d.workspace_id = p_workspace and d.sequence > h.sequence - 3),
      case when c.queued > 0 then p_places - c.running end
    into v_told, v_free
    from public.event_heads h, public.workspace_counters c where h.workspace_id = p_workspace and c.workspace_id = p_workspace;
  if v_told then
    select jsonb_agg(to_jsonb(e) || jsonb_build_object('deliveries', array(
        select d.id from public.webhook_deliveries d where d.workspace_id = p_workspace and d.sequence = e.sequence)) order by e.sequence)
      into events from public.generation_events e
     where e.workspace_id = p_workspace and e.generation_id = p_id and e.created_at = now()
       and ((select h.listened_until > now() from public.event_heads h where h.workspace_id = p_workspace)
         or exists (select from public.webhook_deliveries d where d.workspace_id = p_workspace and d.sequence = e.sequence));
  end if;
  if v_free > 0 then
    v_first := array(select h.id from (select q.id, q.woken_at from public.generations q
        where q.workspace_id = p_workspace and q.status = 'queued' order by q.id limit v_free) h
      where h.woken_at is null or h.woken_at < now() - interval '10 seconds');
    if cardinality(v_first) > 0 then
      with first as (
        update public.generations g set woken_at = now() where g.workspace_id = p_workspace and g.id = any(v_first)
        returning app.wake_of(g) as wake)
      select jsonb_agg(f.wake order by f.wake ->> 'id') into woken from first f;
      -- The sweeper sends them again if nothing comes of it.
      update public.outbox o set available_at = now() + interval '15 seconds', sends = 0
       where o.workspace_id = p_workspace and o.kind = 'generation' and o.subject_id = any(v_first);
    end if;
  end if;
end $$;
--> statement-breakpoint
-- Why these photos can't be had, as one of the API's error codes, or null. `p_limits`: the most bytes (`size`), pixels, and
-- side that a photo is scaled to, and the least side that is left then.
create or replace function app.misfit(p_workspace uuid, p_ids uuid[], p_limits jsonb) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  v_ready integer;
  v_large boolean;
begin
  if cardinality(p_ids) = 0 then
    return null;
  end if;
  select count(*), bool_or(a.size > (p_limits ->> 'size')::bigint or a.width::bigint * a.height > (p_limits ->> 'pixels')::bigint
      or round(least(a.width, a.height) * least(1.0, (p_limits ->> 'side')::numeric / greatest(a.width, a.height)))
        < (p_limits ->> 'leastSide')::integer)
    into v_ready, v_large from public.assets a
   where a.workspace_id = p_workspace and a.id = any(p_ids) and a.kind = 'image' and a.status = 'ready';
  return case when v_ready < cardinality(p_ids) then 'not_found' when v_large then 'validation_failed' end;
end $$;
--> statement-breakpoint
-- Accepts a job in the workspace's turn: its row, the reservation of its credits, the note of what is owed, and how it is
-- answered. With a key that came before nothing happens, and `body` is the earlier answer. `p_photos` as in app.misfit;
-- `p_allowed`: what the workspace's plan does (src/plans.ts).
create or replace function app.accept(p_context jsonb, p_id uuid, p_request jsonb, p_photos jsonb, p_allowed jsonb, p_key text, p_hash text,
    out made boolean, out request_hash text, out body jsonb, out events jsonb, out woken jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_workspace constant uuid := p_context ->> 'workspaceId';
  v_places constant integer := p_allowed ->> 'running';
  v_period date := date_trunc('month', now() at time zone 'utc');
  -- Lists are ordered and bounded by ids.
  v_created constant timestamptz := app.time_of(p_id);
  v_asked constant public.generations := jsonb_populate_record(null::public.generations, p_request);
  v_is_free constant boolean := p_context ->> 'plan' = 'free';
  v_misfit text;
  v_counts public.workspace_counters;
  v_queued integer;
  v_has_place boolean;
  v_row public.generations;
  v_grant uuid;
begin
  if p_context ->> 'action' in ('generation.create', 'generation.retry') is not true then
    raise exception 'the action is %', p_context ->> 'action' using errcode = 'insufficient_privilege';
  end if;
  if p_key is not null then
    select false, k.request_hash, k.body into made, request_hash, body from public.idempotency_keys k
     where k.workspace_id = v_workspace and k.caller = p_context ->> 'actor' and k.key = p_key;
    if found then
      return;
    end if;
  end if;
  made := true;
  if v_asked.retry_of is not null then
    perform app.require(exists (select from public.generations g where g.workspace_id = v_workspace and g.id = v_asked.retry_of
      and g.status in ('failed', 'canceled')), 409, 'not_retryable');
  end if;
  if cardinality(v_asked.input_asset_ids) > 0 then
    v_misfit := app.misfit(v_workspace, v_asked.input_asset_ids, p_photos);
    if v_misfit is not null then
      perform app.refuse(case v_misfit when 'not_found' then 404 else 422 end, v_misfit);
    end if;
  end if;
  select * into v_counts from public.workspace_counters c where c.workspace_id = v_workspace;
  -- Whoever began before the month's turn, and comes after others of the new one, is of that, too.
  v_period := greatest(v_period, v_counts.period);
  v_queued := v_counts.queued;
  v_has_place := v_queued + v_counts.running < v_places;
  -- Without a number they are unlimited; the free ones are not every workspace's.
  if (v_asked.credits_reserved + case when v_counts.period = v_period then v_counts.reserved + v_counts.charged else 0 end
    > (p_allowed ->> 'credits')::bigint) then
    perform app.refuse(402, 'insufficient_credits');
  end if;
  if v_is_free then
    v_grant := app.take_free(v_asked.credits_reserved, (p_allowed ->> 'credits')::integer, v_period);
    perform app.require(v_grant is not null, 402, 'insufficient_credits');
  end if;
  -- How large the outputs will be, nobody knows yet: there must be room for something.
  if (v_counts.stored_bytes < (p_allowed ->> 'storage')::bigint) is not true then
    perform app.refuse(402, 'storage_quota_exceeded');
  end if;
  if (v_queued < (p_allowed ->> 'queued')::integer) is not true then
    perform app.refuse(402, 'plan_limit_reached');
  end if;
  insert into public.generations (workspace_id, id, task, kind, model, prompt, text, style, aspect_ratio, count, seed, duration,
    input_asset_ids, webhook_url, retry_of, deadline, deadline_at, credits_reserved, eta, woken_at, created_at, created_by)
  values (v_workspace, p_id, v_asked.task, v_asked.kind, v_asked.model, v_asked.prompt, v_asked.text, v_asked.style, v_asked.aspect_ratio,
    v_asked.count, v_asked.seed, v_asked.duration, v_asked.input_asset_ids, v_asked.webhook_url, v_asked.retry_of,
    -- How long it may stand in line; its first step sets when it must have ended.
    v_asked.deadline, now() + interval '1 day', v_asked.credits_reserved,
    app.eta(v_workspace, v_asked.model, coalesce(v_asked.duration, v_asked.count), null, null, v_places),
    case when v_has_place then v_created end, v_created, (p_context ->> 'userId')::uuid)
  returning * into v_row;
  insert into public.credit_entries (workspace_id, generation_id, kind, credits, period, grant_id)
  values (v_workspace, p_id, 'reserve', v_row.credits_reserved, v_period, v_grant);
  insert into public.outbox (workspace_id, kind, subject_id, available_at)
  values (v_workspace, 'generation', p_id, case when v_has_place then now() + interval '15 seconds' else v_row.deadline_at end);
  body := to_jsonb(v_row) || jsonb_build_object('position', v_queued);
  if p_key is not null then
    insert into public.idempotency_keys (workspace_id, caller, key, request_hash, generation_id, body)
    values (v_workspace, p_context ->> 'actor', p_key, p_hash, p_id, body);
  end if;
  select c.events, c.woken into events, woken from app.conclude(v_workspace, p_id, v_places) c;
  if v_has_place then
    woken := coalesce(woken, '[]') || app.wake_of(v_row);
  end if;
  if v_is_free then
    perform app.spend_free(v_row.credits_reserved);
  end if;
end $$;
--> statement-breakpoint
-- Notes what providers are about to be asked: rows of provider_jobs, as JSON. Noting twice is harmless; answers what was new.
create or replace function app.insert_calls(p_workspace uuid, p_id uuid, p_calls jsonb, out jobs jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  with noted as (
    insert into public.provider_jobs (workspace_id, id, generation_id, indexes, provider, model, output, prompt, inputs, object_ids, cost, expires_at)
    select p_workspace, c.id, p_id, c.indexes, c.provider, c.model, c.output, c.prompt, c.inputs, c.object_ids, c.cost, c.expires_at
      from jsonb_populate_recordset(null::public.provider_jobs, p_calls) c
    on conflict do nothing returning *)
  select jsonb_agg(to_jsonb(n) order by n.id) into jobs from noted n;
end $$;
--> statement-breakpoint
-- Takes the lease and a new fence, in the workspace's turn. Refused while somebody holds the job (`held_for`: seconds until
-- it must have been given back), after its end, before its next step is due (unless `p_early`: a provider has said that there
-- is news), and in line while the workspace has no place. What has stood in line for as long as a job may is claimed to be ended.
-- Of a job that was never claimed before, `p_calls` are noted as its first. `p_told`, what a provider calls one of its calls, is
-- kept in any case.
create or replace function app.claim(p_workspace uuid, p_id uuid, p_early boolean, p_places integer, p_calls jsonb, p_told jsonb,
    out generation jsonb, out inputs jsonb, out jobs jsonb, out held_for integer, out events jsonb, out woken jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  -- Longer than a step takes; a call that lasts renews it. After it another consumer may claim the job.
  v_lease constant interval := interval '60 seconds';
  v_row public.generations;
  v_starts boolean;
  v_late boolean;
  v_notes boolean;
begin
  if p_told is not null then
    perform app.keep_operation(p_workspace, (p_told ->> 'jobId')::uuid, p_told -> 'operation');
  end if;
  select * into v_row from public.generations g where g.workspace_id = p_workspace and g.id = p_id;
  if not found or v_row.status not in ('queued', 'running') then
    return;
  end if;
  -- The answer to this very claim was lost: nobody else knows the ids of its calls.
  if v_row.lease_expires_at > now() and v_row.fence = 1 and exists (select from public.provider_jobs j
    where j.workspace_id = p_workspace and j.generation_id = p_id and j.id = (p_calls -> 0 ->> 'id')::uuid) then
    generation := to_jsonb(v_row);
    jobs := (select jsonb_agg(to_jsonb(j) order by j.id) from public.provider_jobs j
      where j.workspace_id = p_workspace and j.generation_id = p_id);
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
  if v_row.status = 'queued' and not v_late
    and (select c.running from public.workspace_counters c where c.workspace_id = p_workspace) >= p_places then
    -- Whoever ends tells it again.
    update public.generations g set woken_at = null where g.workspace_id = p_workspace and g.id = p_id and g.woken_at is not null;
    return;
  end if;
  v_starts := v_row.started_at is null and not v_late;
  v_notes := v_starts and v_row.fence = 0 and jsonb_array_length(p_calls) > 0;
  update public.generations g
     set status = case when v_late then 'queued' else 'running' end,
         fence = g.fence + 1,
         started_at = case when v_starts then now() else g.started_at end,
         -- The time in line doesn't count.
         deadline_at = case when v_starts then now() + make_interval(secs => g.deadline) else g.deadline_at end,
         -- Who had a place at once was told a moment ago.
         eta = case when v_starts and (g.eta is null or g.woken_at is distinct from g.created_at or g.created_at < now() - interval '2 seconds') then app.eta(p_workspace, g.model, coalesce(g.duration, g.count), null, 0, 0) else g.eta end,
         attempts = case when v_notes then jsonb_array_length(p_calls) else g.attempts end,
         offer = case when v_notes then (p_calls -> 0 ->> 'provider') || ':' || (p_calls -> 0 ->> 'model') else g.offer end,
         lease_expires_at = now() + v_lease,
         next_step_at = null,
         woken_at = null
   where g.workspace_id = p_workspace and g.id = p_id
  returning * into v_row;
  update public.outbox o set available_at = now() + v_lease + interval '1 second', sends = 0
   where o.workspace_id = p_workspace and o.kind = 'generation' and o.subject_id = p_id;
  generation := to_jsonb(v_row);
  if cardinality(v_row.input_asset_ids) > 0 then
    inputs := (select jsonb_agg(to_jsonb(a)) from public.assets a where a.workspace_id = p_workspace and a.id = any(v_row.input_asset_ids));
  end if;
  if v_notes then
    jobs := app.insert_calls(p_workspace, p_id, p_calls);
  elsif v_row.attempts > 0 then
    jobs := (select jsonb_agg(to_jsonb(j) order by j.id) from public.provider_jobs j
      where j.workspace_id = p_workspace and j.generation_id = p_id);
  end if;
  select c.events, c.woken into events, woken from app.conclude(p_workspace, p_id, p_places) c;
end $$;
--> statement-breakpoint
-- Refuses the transaction if another claim, or a cancellation, came in between.
create or replace function app.hold(p_workspace uuid, p_id uuid, p_fence integer) returns public.generations
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_row public.generations;
begin
  select * into v_row from public.generations g
   where g.workspace_id = p_workspace and g.id = p_id and g.fence = p_fence and g.status in ('queued', 'running') for update;
  if not found then
    perform app.refuse(409, 'already_finished');
  end if;
  return v_row;
end $$;
--> statement-breakpoint
-- Notes calls while the claim holds.
create or replace function app.note_calls(p_workspace uuid, p_id uuid, p_fence integer, p_places integer, p_calls jsonb, out events jsonb, out woken jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform app.hold(p_workspace, p_id, p_fence);
  perform app.insert_calls(p_workspace, p_id, p_calls);
  update public.generations g
     set attempts = (select count(*) from public.provider_jobs j where j.workspace_id = p_workspace and j.generation_id = p_id),
         offer = (p_calls -> 0 ->> 'provider') || ':' || (p_calls -> 0 ->> 'model')
   where g.workspace_id = p_workspace and g.id = p_id;
  select c.events, c.woken into events, woken
    from app.conclude(p_workspace, p_id, p_places) c;
end $$;
--> statement-breakpoint
-- Keeps what a provider calls its job; answers whether anybody still waits for it. Keeping twice is harmless.
create or replace function app.keep_operation(p_workspace uuid, p_id uuid, p_operation jsonb, out wanted boolean)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  update public.provider_jobs j
     set operation = p_operation, status = case j.status when 'submitting' then 'running' else j.status end
   where j.workspace_id = p_workspace and j.id = p_id and j.operation is null;
  wanted := exists (select from public.provider_jobs j join public.generations g on g.workspace_id = j.workspace_id and g.id = j.generation_id
    where j.workspace_id = p_workspace and j.id = p_id and g.status in ('queued', 'running'));
end $$;
--> statement-breakpoint
-- Writes what a step has found out about calls that may still be answered: objects with `id`, and what has changed of
-- operation, status, stored, fetches, failure and cost.
create or replace function app.write_calls(p_workspace uuid, p_calls jsonb) returns void
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_call jsonb;
begin
  -- One after the other, so that each is found by its id, however many calls a workspace has.
  for v_call in select jsonb_array_elements(p_calls) loop
    update public.provider_jobs j
       set status = coalesce(v_call ->> 'status', j.status),
           operation = coalesce(j.operation, v_call -> 'operation'),
           stored = coalesce(v_call -> 'stored', j.stored),
           fetches = coalesce((v_call ->> 'fetches')::integer, j.fetches),
           failure = coalesce(v_call -> 'failure', j.failure),
           cost = coalesce((v_call ->> 'cost')::numeric, j.cost),
           ended_at = case when v_call ->> 'status' <> 'running' then now() else j.ended_at end
     where j.workspace_id = p_workspace and j.id = (v_call ->> 'id')::uuid and j.status in ('submitting', 'running');
  end loop;
end $$;
--> statement-breakpoint
-- The same at once, whoever holds the generation by now.
create or replace function app.keep_calls(p_workspace uuid, p_calls jsonb) returns void
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform app.write_calls(p_workspace, p_calls);
end $$;
--> statement-breakpoint
-- Keeps the claim; answers whether the job is still open. What was given back meanwhile has no lease, and whoever has the job by
-- now says when to look after it.
create or replace function app.renew(p_workspace uuid, p_id uuid, p_fence integer, out is_open boolean)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_lease constant interval := interval '60 seconds';
begin
  update public.generations g set lease_expires_at = now() + v_lease
   where g.workspace_id = p_workspace and g.id = p_id and g.fence = p_fence and g.status in ('queued', 'running')
     and g.lease_expires_at is not null;
  is_open := found;
  if is_open then
    update public.outbox o set available_at = now() + v_lease + interval '1 second', sends = 0
     where o.workspace_id = p_workspace and o.kind = 'generation' and o.subject_id = p_id;
  else
    is_open := exists (select from public.generations g
      where g.workspace_id = p_workspace and g.id = p_id and g.status in ('queued', 'running'));
  end if;
end $$;
--> statement-breakpoint
-- Gives the lease back: the next step is due in so many seconds. `p_changes`: progress, phase, results_at. `p_lasting`: it waits
-- for a consumer of calls that last, which may take long. Answers whether the claim still held; what was found out about the
-- calls is written in any case.
create or replace function app.release(p_workspace uuid, p_id uuid, p_fence integer, p_places integer, p_delay double precision, p_lasting boolean,
    p_changes jsonb, p_calls jsonb, out held boolean, out events jsonb, out woken jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_row public.generations;
begin
  update public.generations g
     set lease_expires_at = null,
         next_step_at = now() + make_interval(secs => p_delay),
         progress = coalesce((p_changes ->> 'progress')::integer, g.progress),
         phase = coalesce(p_changes ->> 'phase', g.phase),
         results_at = coalesce((p_changes ->> 'results_at')::timestamptz, g.results_at),
         eta = app.eta(p_workspace, g.model, coalesce(g.duration, g.count), g.offer, extract(epoch from now() - g.started_at), 0)
   where g.workspace_id = p_workspace and g.id = p_id and g.fence = p_fence and g.status in ('queued', 'running')
  returning * into v_row;
  held := found;
  perform app.write_calls(p_workspace, p_calls);
  if held then
    -- The sweeper sends it again if the message is lost; of one that only waits that would be another one each time.
    update public.outbox o set sends = 0, available_at = now() + make_interval(secs => p_delay) + case when p_lasting
        then least(greatest(interval '1 minute', (now() - v_row.started_at) / 2), greatest(interval '15 seconds', v_row.deadline_at - now()))
        else interval '15 seconds' end
     where o.workspace_id = p_workspace and o.kind = 'generation' and o.subject_id = p_id;
  end if;
  select c.events, c.woken into events, woken
    from app.conclude(p_workspace, p_id, p_places) c;
end $$;
--> statement-breakpoint
-- The end of a job, whose row is held: it is charged for the outputs' share of what was asked for, the rest of the reservation
-- goes back, what may still run at providers is to be stopped (then the answer is true), and objects that no output needs are
-- to be deleted, once a step that may still store them is over.
create or replace function app.finish(p_row public.generations, p_status text, p_error jsonb, p_outputs jsonb) returns boolean
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := p_row.workspace_id;
  v_made constant integer := jsonb_array_length(p_outputs);
  v_charged constant integer := ceil(p_row.credits_reserved::numeric * v_made / p_row.count);
  v_used constant uuid[] := array(select (o ->> 'objectId')::uuid from jsonb_array_elements(p_outputs) o);
  v_erased uuid[] := '{}';
  v_period date;
  v_stops boolean := false;
begin
  update public.generations g
     set status = p_status, progress = case when v_made > 0 then 100 else g.progress end,
         credits_charged = v_charged, error = p_error, completed_at = now(), lease_expires_at = null, next_step_at = null
   where g.workspace_id = v_workspace and g.id = p_row.id;
  -- In the month of the reservation.
  select e.period into v_period from public.credit_entries e
   where e.workspace_id = v_workspace and e.generation_id = p_row.id and e.kind = 'reserve';
  if v_charged > 0 then
    insert into public.credit_entries (workspace_id, generation_id, kind, credits, period)
    values (v_workspace, p_row.id, 'charge', v_charged, v_period);
  end if;
  if v_charged < p_row.credits_reserved then
    insert into public.credit_entries (workspace_id, generation_id, kind, credits, period)
    values (v_workspace, p_row.id, 'refund', p_row.credits_reserved - v_charged, v_period);
  end if;
  if p_row.attempts > 0 then
    select coalesce(bool_or(j.status in ('submitting', 'running')), false), coalesce(array_agg(a) filter (where a is not null and a <> all(v_used)), '{}')
      into v_stops, v_erased
      from public.provider_jobs j left join lateral unnest(j.object_ids) a on true
     where j.workspace_id = v_workspace and j.generation_id = p_row.id;
    update public.provider_jobs j
       set credits = case when j.status = 'succeeded' and v_made > 0 then round(v_charged::numeric * jsonb_array_length(j.stored) / v_made) end,
           ended_at = case when j.status = 'succeeded' then j.ended_at else now() end,
           status = case when j.status = 'succeeded' then 'succeeded' else 'canceled' end
     where j.workspace_id = v_workspace and j.generation_id = p_row.id and j.status in ('submitting', 'running', 'succeeded');
  end if;
  -- Of an input that was deleted while it was prepared, the copy may be left.
  if cardinality(p_row.input_asset_ids) > 0 then
    v_erased := v_erased || array(select i from unnest(p_row.input_asset_ids) i
      where not exists (select from public.assets a where a.workspace_id = v_workspace and a.id = i));
  end if;
  delete from public.outbox o where o.workspace_id = v_workspace and o.kind = 'generation' and o.subject_id = p_row.id;
  if v_stops or cardinality(v_erased) > 0 then
    insert into public.outbox (workspace_id, kind, subject_id, available_at)
    select v_workspace, 'prediction.cancel', p_row.id, now() + interval '30 seconds' where v_stops
    union all
    select v_workspace, 'object.delete', e, now() + interval '10 minutes' from unnest(v_erased) e
    on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at, sends = 0;
  end if;
  return v_stops;
end $$;
--> statement-breakpoint
-- Ends a job while the claim holds: it succeeds with `p_outputs`, or fails with `p_error`, and is charged nothing. `stops`:
-- something may still run at providers.
create or replace function app.settle(p_workspace uuid, p_id uuid, p_fence integer, p_places integer, p_error jsonb, p_outputs jsonb, p_calls jsonb,
    out stops boolean, out events jsonb, out woken jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_row constant public.generations := app.hold(p_workspace, p_id, p_fence);
  -- Of now, not of the objects, which have theirs since before they were made: who has read a list up to here finds them above.
  v_ids constant uuid[] := array(select app.uuid_v7() from jsonb_array_elements(p_outputs) order by 1);
begin
  perform app.write_calls(p_workspace, p_calls);
  if jsonb_array_length(p_outputs) > 0 then
    insert into public.assets (workspace_id, id, object_id, name, kind, mime_type, size, sha256, width, height, duration_seconds, pages, store, source, status, created_by)
    select p_workspace, v_ids[n], (o ->> 'objectId')::uuid, o ->> 'name', b.kind, b."mimeType", b.size, b.sha256, b.width, b.height, b."durationSeconds", b.pages, coalesce(b.store, 'home'), 'generation', 'ready', v_row.created_by
      from jsonb_array_elements(p_outputs) with ordinality x (o, n),
           lateral jsonb_to_record(o -> 'object') b (kind text, "mimeType" text, size bigint, sha256 text, width integer, height integer,
             "durationSeconds" real, pages integer, store text);
    insert into public.generation_outputs (workspace_id, generation_id, index, asset_id)
    select p_workspace, p_id, (o ->> 'index')::integer, v_ids[n] from jsonb_array_elements(p_outputs) with ordinality x (o, n);
    stops := app.finish(v_row, 'succeeded', p_error, p_outputs);
  else
    stops := app.finish(v_row, 'failed', p_error, p_outputs);
  end if;
  select c.events, c.woken into events, woken
    from app.conclude(p_workspace, p_id, p_places) c;
end $$;
--> statement-breakpoint
-- Ends a job for its caller, whoever holds it; twice is the same as once. `stops` as above.
create or replace function app.cancel(p_context jsonb, p_id uuid, p_places integer, out generation jsonb, out stops boolean, out events jsonb, out woken jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := p_context ->> 'workspaceId';
  v_row public.generations;
begin
  if p_context ->> 'action' is distinct from 'generation.cancel' then
    raise exception 'the action is %', p_context ->> 'action' using errcode = 'insufficient_privilege';
  end if;
  select * into v_row from public.generations g where g.workspace_id = v_workspace and g.id = p_id for update;
  perform app.require(found, 404, 'not_found');
  perform app.require(v_row.status in ('queued', 'running', 'canceled'), 409, 'already_finished');
  stops := false;
  if v_row.status <> 'canceled' then
    stops := app.finish(v_row, 'canceled', null, '[]');
  end if;
  generation := (select to_jsonb(g) from public.generations g where g.workspace_id = v_workspace and g.id = p_id);
  select c.events, c.woken into events, woken
    from app.conclude(v_workspace, p_id, p_places) c;
end $$;
--> statement-breakpoint
-- Of a deleted workspace's generations, at most so many that are open: cancels and refunds them, and has providers told.
create or replace function app.end_generations(p_max integer) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  v_context constant jsonb := app.context();
  v_workspace constant uuid := v_context ->> 'workspaceId';
begin
  if (v_context ->> 'actor', v_context ->> 'action') is distinct from ('system:', 'workspace.delete') then
    raise exception 'the action is %', v_context ->> 'action' using errcode = 'insufficient_privilege';
  end if;
  with slice as materialized (
    select g.id, g.started_at is not null as has_started from public.generations g
     where g.workspace_id = v_workspace and g.status in ('queued', 'running') order by g.status, g.id limit p_max for update),
  ended as (
    update public.generations g set lease_expires_at = null, next_step_at = null, status = 'canceled', completed_at = now()
      from slice s where g.workspace_id = v_workspace and g.id = s.id
    returning g.id, s.has_started as may_be_at_work),
  refunded as (
    insert into public.credit_entries (workspace_id, generation_id, kind, credits, period)
    select v_workspace, e.generation_id, 'refund', e.credits, e.period from public.credit_entries e
     where e.workspace_id = v_workspace and e.kind = 'reserve' and e.generation_id in (select id from ended)
     -- Grants are locked in one order.
     order by e.grant_id),
  stopped as (
    update public.provider_jobs j set status = case when j.status in ('submitting', 'running') then 'canceled' else j.status end
     where j.workspace_id = v_workspace and j.generation_id in (select id from ended) returning j.object_ids, j.generation_id),
  settled as (
    delete from public.outbox o where o.workspace_id = v_workspace and o.kind = 'generation' and o.subject_id in (select id from ended))
  insert into public.outbox (workspace_id, kind, subject_id, available_at)
  select v_workspace, 'prediction.cancel', id, now() from ended where may_be_at_work
  union all
  -- A step under way may still store outputs.
  select v_workspace, 'object.delete', unnest(s.object_ids), now() + interval '10 minutes'
    from stopped s join ended e on e.id = s.generation_id where e.may_be_at_work
  on conflict (workspace_id, kind, subject_id) do nothing;
end $$;
--> statement-breakpoint
-- Every change by the above: the gate, and then what the claim says, `what` with the parameters `with`, by name. So the Worker
-- has signed them, and no other statement can call what is above, nor this with other parameters. Answers the gate's answer
-- and the function's row. The text of the statement is short and always the same: to parse and plan a longer one costs as
-- much as to run it.
create or replace function app.change(p_claim text, p_proof text) returns json
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  v_claim constant jsonb := p_claim;
  v_what constant text := v_claim ->> 'what';
  v_with constant jsonb := v_claim -> 'with';
  v_id constant uuid := v_with ->> 'id';
  v_fence constant integer := v_with ->> 'fence';
  v_calls constant jsonb := v_with -> 'calls';
  v_gate record;
  v_workspace uuid;
  v_places integer;
  v_row json;
begin
  v_gate := app.enter(p_claim, p_proof);
  if v_what not in ('accept', 'cancel') and v_gate.context ->> 'actor' is distinct from 'system:' then
    raise exception 'only the server itself takes jobs and ends them' using errcode = 'insufficient_privilege';
  end if;
  v_workspace := v_gate.workspace_id;
  v_places := v_with -> 'places' ->> v_gate.plan;
  case v_what
    when 'accept' then
      v_row := to_json(app.accept(v_gate.context, v_id, v_with -> 'request', v_with -> 'photos', v_with -> 'plans' -> v_gate.plan, v_with ->> 'key', v_with ->> 'hash'));
    when 'claim' then
      v_row := to_json(app.claim(v_workspace, v_id, (v_with ->> 'early')::boolean, v_places, v_calls, v_with -> 'told'));
    when 'note_calls' then
      v_row := to_json(app.note_calls(v_workspace, v_id, v_fence, v_places, v_calls));
    when 'keep_operation' then
      v_row := json_build_object('wanted', app.keep_operation(v_workspace, v_id, v_with -> 'operation'));
    when 'keep_calls' then
      perform app.keep_calls(v_workspace, v_calls);
    when 'renew' then
      v_row := json_build_object('is_open', app.renew(v_workspace, v_id, v_fence));
    when 'release' then
      v_row := to_json(app.release(v_workspace, v_id, v_fence, v_places, (v_with ->> 'delay')::double precision, (v_with ->> 'lasting')::boolean, v_with -> 'changes', v_calls));
    when 'settle' then
      v_row := to_json(app.settle(v_workspace, v_id, v_fence, v_places, v_with -> 'error', v_with -> 'outputs', v_calls));
    when 'cancel' then
      v_row := to_json(app.cancel(v_gate.context, v_id, v_places));
  end case;
  return json_build_object('row', v_row, 'gate', json_build_object(
    'userId', v_gate.user_id, 'workspaceId', v_gate.workspace_id, 'role', v_gate.role, 'plan', v_gate.plan));
end $$;
