-- What triggers keep in the transaction that changes it. Counters instead of sums: storage, open jobs and the month's credits
-- of a workspace; which object an asset has; and the index of tags.

-- A workspace begins with its rows, so that whatever counts only updates them.
create or replace function app.begin_counts() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.workspace_counters (workspace_id) values (new.id);
  insert into public.event_heads (workspace_id, sequence) values (new.id, 0);
  return null;
end $$;
--> statement-breakpoint
create or replace trigger counters after insert on workspaces
  for each row execute function app.begin_counts();
--> statement-breakpoint
create or replace function app.count_asset() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_bytes bigint := case when TG_OP <> 'DELETE' then new.size else 0 end - case when TG_OP <> 'INSERT' then old.size else 0 end;
begin
  update public.workspace_counters c set stored_bytes = c.stored_bytes + v_bytes
   where c.workspace_id = case when TG_OP = 'DELETE' then old.workspace_id else new.workspace_id end;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger counters after insert or delete or update of size on assets
  for each row execute function app.count_asset();
--> statement-breakpoint
create or replace function app.count_copy() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_bytes bigint := case when TG_OP <> 'DELETE' then new.size else 0 end - case when TG_OP <> 'INSERT' then old.size else 0 end;
begin
  update public.workspace_counters c set copied_bytes = c.copied_bytes + v_bytes
   where c.workspace_id = case when TG_OP = 'DELETE' then old.workspace_id else new.workspace_id end;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger counters after insert or delete or update of size on asset_copies
  for each row execute function app.count_copy();
--> statement-breakpoint
-- Of the same bytes a workspace stores one object: an asset that is ready takes an earlier one's, and its own is deleted.
-- Changes of a workspace take turns, so that the earlier one is not just being deleted. Lists are ordered and bounded by ids,
-- so what is shown as the time of an asset is its id's.
create or replace function app.share_object() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_earlier public.assets;
  v_own uuid;
begin
  if TG_OP = 'UPDATE' and old.status = 'ready' then
    raise exception 'asset % is what it is', new.id using errcode = 'insufficient_privilege';
  end if;
  if TG_OP = 'INSERT' then
    new.created_at := app.time_of(new.id);
    -- An older one would be missed in storage at once, by the walk that looks at all workspaces.
    if row_security_active(TG_RELID) and new.created_at not between now() - interval '1 hour' and now() + interval '1 hour' then
      raise exception 'the id % is not of now', new.id using errcode = 'insufficient_privilege';
    end if;
  end if;
  new.object_id := coalesce(new.object_id, new.id);
  v_own := new.object_id;
  if new.status <> 'ready' then
    return new;
  end if;
  select * into v_earlier from public.assets a
   where a.workspace_id = new.workspace_id and a.sha256 = new.sha256 and a.size = new.size and a.status = 'ready' and a.id <> new.id limit 1;
  if found then
    new.object_id := v_earlier.object_id;
    new.store := v_earlier.store;
  end if;
  -- Its own object goes, or comes home.
  if found or new.store = 'fallback' then
    insert into public.outbox (workspace_id, kind, subject_id, available_at)
    values (new.workspace_id, case when found then 'object.delete' else 'object.move' end, v_own, now() + interval '1 minute')
    on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at, sends = 0;
  end if;
  return new;
end $$;
--> statement-breakpoint
create or replace trigger share before insert or update of status, sha256 on assets
  for each row execute function app.share_object();
--> statement-breakpoint
create or replace function app.index_tags() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if TG_OP = 'UPDATE' then
    delete from public.asset_tags t where t.workspace_id = new.workspace_id and t.id = new.id;
  end if;
  insert into public.asset_tags (workspace_id, tag, kind, source, status, id)
  select new.workspace_id, tag, new.kind, new.source, new.status, new.id from unnest(new.tags) tag;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger tags_insert after insert on assets
  for each row when (new.tags <> '{}') execute function app.index_tags();
--> statement-breakpoint
create or replace trigger tags_update after update of tags, status on assets
  for each row when (new.tags <> '{}' or old.tags <> '{}') execute function app.index_tags();
--> statement-breakpoint
create or replace function app.count_generation() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_queued integer := (new.status = 'queued')::integer - coalesce((old.status = 'queued')::integer, 0);
  v_running integer := (new.status = 'running')::integer - coalesce((old.status = 'running')::integer, 0);
begin
  update public.workspace_counters c set queued = c.queued + v_queued, running = c.running + v_running
   where c.workspace_id = new.workspace_id;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger counters_insert after insert on generations
  for each row execute function app.count_generation();
--> statement-breakpoint
create or replace trigger counters_update after update of status on generations
  for each row when (old.status is distinct from new.status) execute function app.count_generation();
--> statement-breakpoint
-- What the ledger takes: a reservation of what its job costs, in the current month or the one that has begun meanwhile, and then
-- at most as much of it back, as charge and refund, in the same month and of the same grant. It runs as whoever inserts, and sees
-- no other workspace's jobs than they do.
create or replace function app.check_entry() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_price integer;
  v_left bigint;
  v_period date := date_trunc('month', now() at time zone 'utc');
begin
  -- Entries of one job come one after the other.
  select g.credits_reserved into v_price from public.generations g
   where g.workspace_id = new.workspace_id and g.id = new.generation_id for no key update;
  if new.kind <> 'reserve' then
    select sum(case e.kind when 'reserve' then e.credits else -e.credits end), min(e.period), min(e.grant_id::text)::uuid
      into v_left, v_period, new.grant_id
      from public.credit_entries e where e.workspace_id = new.workspace_id and e.generation_id = new.generation_id;
  end if;
  if (case new.kind when 'reserve' then new.credits = v_price else new.credits <= v_left end and (new.period = v_period
    or new.kind = 'reserve' and new.period > v_period and new.period = (select c.period from public.workspace_counters c where c.workspace_id = new.workspace_id))) is not true then
    raise exception 'the ledger takes no such entry of generation %', new.generation_id using errcode = 'check_violation';
  end if;
  return new;
end $$;
--> statement-breakpoint
create or replace trigger fits before insert on credit_entries
  for each row execute function app.check_entry();
--> statement-breakpoint
-- What comes back is of the grant that paid, wherever that is by now. Before the day's budget is locked, for all entries of a statement.
create or replace function app.return_free() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update public.free_grants g set used = greatest(0, g.used - new.credits) where g.id = new.grant_id and g.period = new.period;
  return new;
end $$;
--> statement-breakpoint
-- After the one above, by its name, which says of what grant the entry is.
create or replace trigger grants before insert on credit_entries
  for each row when (new.kind = 'refund' and new.grant_id is not null) execute function app.return_free();
--> statement-breakpoint
-- A reservation pays for charge and refund of its own month: what is settled of an earlier one changes nothing here.
create or replace function app.count_credits() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_reserved integer := case new.kind when 'reserve' then new.credits else -new.credits end;
  v_charged integer := case new.kind when 'charge' then new.credits else 0 end;
begin
  update public.workspace_counters c
     set period = greatest(c.period, new.period),
         reserved = case when new.period > c.period then v_reserved when new.period = c.period then c.reserved + v_reserved else c.reserved end,
         charged = case when new.period > c.period then v_charged when new.period = c.period then c.charged + v_charged else c.charged end
   where c.workspace_id = new.workspace_id;
  -- What comes back was not spent; the job's id says on which day it was.
  if new.kind = 'refund' and app.context() ->> 'plan' = 'free'
    and new.generation_id >= app.uuid_at(date_trunc('day', now() at time zone 'utc') at time zone 'utc') then
    update public.free_budget b set spent = greatest(0, b.spent - new.credits) where b.day = (now() at time zone 'utc')::date;
  end if;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger counters after insert on credit_entries
  for each row execute function app.count_credits();
--> statement-breakpoint
-- For operators and tests: the workspaces whose counters differ from the sums, which there must be none of.
create or replace function app.wrong_counters() returns setof uuid
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select w.id from public.workspaces w left join public.workspace_counters c on c.workspace_id = w.id
   where c.stored_bytes is distinct from (select coalesce(sum(a.size), 0) from public.assets a where a.workspace_id = w.id)
      or c.copied_bytes is distinct from (select coalesce(sum(a.size), 0) from public.asset_copies a where a.workspace_id = w.id)
      or c.queued is distinct from (select count(*) from public.generations g where g.workspace_id = w.id and g.status = 'queued')
      or c.running is distinct from (select count(*) from public.generations g where g.workspace_id = w.id and g.status = 'running')
      or c.charged is distinct from (select coalesce(sum(e.credits), 0) from public.credit_entries e
           where e.workspace_id = w.id and e.period = c.period and e.kind = 'charge')
      or c.reserved is distinct from (select coalesce(sum(case e.kind when 'reserve' then e.credits else -e.credits end), 0)
           from public.credit_entries e where e.workspace_id = w.id and e.period = c.period)
$$;
