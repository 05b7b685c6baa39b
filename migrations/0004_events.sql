-- One event for each change of a generation's status, phase, progress or provider, and its webhook deliveries in the same
-- transaction: to the endpoints that subscribe to its type (to `progress` by name only), and, at the end, to the URL that
-- the generation came with.
create or replace function app.emit_event() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_type text := case
    when TG_OP = 'INSERT' or new.status is distinct from old.status then new.status
    when new.offer is distinct from old.offer and old.offer is not null then 'provider.switched'
    when (new.progress, new.phase) is distinct from (old.progress, old.phase) then 'progress'
  end;
  v_sequence bigint;
begin
  if v_type is null then
    return null;
  end if;
  with head as (
    update public.event_heads h set sequence = h.sequence + 1 where h.workspace_id = new.workspace_id returning h.sequence)
  insert into public.generation_events (workspace_id, sequence, generation_id, type, status, progress, phase, eta)
  select new.workspace_id, h.sequence, new.id, v_type, new.status, new.progress, new.phase, new.eta from head h
  returning sequence into strict v_sequence;
  if new.webhook_url is null and not exists (select from public.webhook_endpoints e where e.workspace_id = new.workspace_id) then
    return null;
  end if;
  with target as (
    select e.id, e.url from public.webhook_endpoints e
     where e.workspace_id = new.workspace_id and e.disabled_at is null
       and (v_type = any(e.events) or e.events = '{}' and v_type <> 'progress')
    union all
    select null, new.webhook_url where new.webhook_url is not null and v_type in ('succeeded', 'failed', 'canceled')
  ), delivery as (
    insert into public.webhook_deliveries (workspace_id, endpoint_id, url, sequence, payload)
    select new.workspace_id, t.id, t.url, v_sequence, jsonb_build_object(
      'type', 'generation.' || v_type,
      'timestamp', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
      'data', jsonb_build_object('generationId', new.id, 'status', new.status, 'progress', new.progress,
        'at', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))
    from target t returning workspace_id, id)
  insert into public.outbox (workspace_id, kind, subject_id, available_at)
  select workspace_id, 'webhook.deliver', id, now() + interval '30 seconds' from delivery;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger event after insert or update of status, progress, phase, offer on generations for each row execute function app.emit_event();
--> statement-breakpoint
-- Somebody begins to listen to the workspace's events, for ten minutes at most. What is committed after this is told to the
-- feed; what was before, the listener finds in the table, which it reads next. Who finds that others have begun locks nothing:
-- every change of a job waits for this row.
create or replace function app.listen() returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := app.workspace_id();
begin
  update public.event_heads h set listened_until = now() + interval '20 minutes'
   where h.workspace_id = v_workspace and (h.listened_until > now() + interval '11 minutes') is not true;
end $$;
