-- When jobs will probably end: from how long those like them took lately, and from who is before them in line.
create or replace function app.keep_timing() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- The slot is random, so that workspaces seldom wait for each other here.
  insert into public.generation_timings (model, size, slot, offer, seconds)
  values (new.model, coalesce(new.duration, new.count), floor(random() * 50), new.offer,
    extract(epoch from new.completed_at - new.started_at))
  on conflict (model, size, slot) do update set offer = excluded.offer, seconds = excluded.seconds;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger timing after update of status on generations
  for each row when (new.status = 'succeeded' and old.status <> 'succeeded') execute function app.keep_timing();
--> statement-breakpoint
-- Seconds from now until such a job starts and ends, not exceeded in 50, 90 and 95 % of cases; null while fewer than ten
-- like it have been measured. `p_elapsed`: since its first step; null: it has not started, and all open jobs of the workspace
-- share `p_places` before it. Of n measured, the k-th shortest is exceeded by one in (n + 1) / (n + 1 - k) of those to come.
create or replace function app.forecast(p_workspace uuid, p_model text, p_size integer, p_offer text, p_elapsed double precision, p_places integer,
    out starts double precision[], out ends double precision[])
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  v_quantiles constant double precision[] := '{0.5, 0.9, 0.95}';
  -- Of the standard normal distribution.
  v_deviations constant double precision[] := '{0, 1.2816, 1.6449}';
  v_elapsed constant double precision := coalesce(p_elapsed, 0);
  v_seconds double precision[];
  v_rest double precision[];
  v_count integer;
  v_open double precision := 0;
  v_mean double precision;
  v_variance double precision;
begin
  if p_offer is not null then
    select array_agg(t.seconds order by t.seconds) into v_seconds from public.generation_timings t
     where t.model = p_model and t.size = p_size and t.offer = p_offer;
  end if;
  if cardinality(v_seconds) >= 10 is not true then
    select array_agg(t.seconds order by t.seconds) into v_seconds from public.generation_timings t
     where t.model = p_model and t.size = p_size;
  end if;
  if cardinality(v_seconds) >= 10 is not true then
    return;
  end if;
  v_rest := case when v_elapsed = 0 then v_seconds
    else array(select s - v_elapsed from unnest(v_seconds) s where s > v_elapsed order by s) end;
  v_count := cardinality(v_rest);
  for i in 1 .. 3 loop
    -- Who takes longer than any before: as little is known of the rest.
    ends[i] := case when v_count = 0 then v_elapsed * v_quantiles[i]
      else v_rest[least(v_count, ceil(v_quantiles[i] * (v_count + 1)))] end;
  end loop;
  starts := '{0, 0, 0}';
  if p_elapsed is null then
    select c.queued + c.running / 2.0 into v_open from public.workspace_counters c
     where c.workspace_id = p_workspace and c.queued + c.running >= p_places;
  end if;
  if v_open > 0 then
    -- The first of the line stand for the rest of it.
    select sum(g.jobs * coalesce(t.mean, o.mean)) / sum(g.jobs), sum(g.jobs * coalesce(t.variance, o.variance)) / sum(g.jobs)
      into v_mean, v_variance
      from (select h.model, coalesce(h.duration, h.count) size, count(*) jobs
              from ((select model, duration, count from public.generations
                      where workspace_id = p_workspace and status = 'running' order by id limit 200)
                    union all
                    (select model, duration, count from public.generations
                      where workspace_id = p_workspace and status = 'queued' order by id limit 200) limit 200) h
             group by 1, 2) g
      cross join (select avg(s) mean, var_pop(s) variance from unnest(v_seconds) s) o
      left join lateral (select avg(seconds) mean, var_pop(seconds) variance from public.generation_timings
                          where model = g.model and size = g.size having count(*) >= 10) t on true;
    starts := array(select v_open * v_mean / p_places + d * sqrt(v_open * v_variance) / p_places
      from unnest(v_deviations) d order by d);
    ends := array(select starts[1] + ends[1] + sqrt((starts[i] - starts[1]) ^ 2 + (ends[i] - ends[1]) ^ 2)
      from generate_series(1, 3) i order by i);
  end if;
end $$;
--> statement-breakpoint
-- The same as times: 50 and 90 %.
create or replace function app.eta(p_workspace uuid, p_model text, p_size integer, p_offer text, p_elapsed double precision, p_places integer)
  returns timestamptz[] language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  v_ends double precision[];
begin
  select f.ends into v_ends from app.forecast(p_workspace, p_model, p_size, p_offer, p_elapsed, p_places) f;
  return case when v_ends is not null then array[now() + make_interval(secs => v_ends[1]), now() + make_interval(secs => v_ends[2])] end;
end $$;
