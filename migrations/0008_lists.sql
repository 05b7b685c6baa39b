-- The lists, and what else is read most often.

-- Above and below all ids.
create or replace function app.last_id() returns uuid language sql immutable parallel safe
  return 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid;
--> statement-breakpoint
create or replace function app.first_id() returns uuid language sql immutable parallel safe
  return '00000000-0000-0000-0000-000000000000'::uuid;
--> statement-breakpoint
-- What is read most often, as functions, because statements that come over HTTP are planned each time, and functions once a
-- connection. They are volatile, so that they see what the gate has written in the same statement.
--
-- Lists are newest first: `p_before` is where a page begins, `p_from` the least id of all pages, and a filter that is null
-- takes everything. Of each value that a filter leaves open, the newest ids are read from an index that holds all of it, and
-- merged, so that a page reads a few times what it shows, however many rows there are. No plan may rest on how many rows a
-- workspace has on average: plans are made without parameters, ids are bounds even when they are null, `p_from` is looked
-- at last, since two bounds pass for few rows, and rows are fetched by `limit 1`, which no join becomes. Where statistics might
-- recommend another index, the order asked for is that of the right one.
create or replace function app.asset(p_workspace uuid, p_id uuid) returns setof public.assets
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  return query select * from public.assets a where a.workspace_id = p_workspace and a.id = p_id;
end $$;
--> statement-breakpoint
create or replace function app.some_assets(p_workspace uuid, p_ids uuid[]) returns setof public.assets
  language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
  return query select a.* from unnest(p_ids) i (id), lateral (
    select * from public.assets a where a.workspace_id = p_workspace and a.id = i.id limit 1) a;
end $$;
--> statement-breakpoint
create or replace function app.list_assets(p_workspace uuid, p_limit integer, p_before uuid, p_from uuid, p_kinds text[], p_sources text[],
    p_statuses text[], p_tag text) returns setof public.assets
  language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  v_before constant uuid := coalesce(p_before, app.last_id());
  v_from constant uuid := coalesce(p_from, app.first_id());
  v_ids uuid[];
begin
  if p_kinds is null then
    return query select a.* from public.assets a
     where a.workspace_id = p_workspace and a.id < v_before and a.id >= v_from order by a.id desc limit p_limit;
    return;
  end if;
  if p_tag is null then
    v_ids := array(select f.id from unnest(p_kinds) kind, unnest(p_sources) source, unnest(p_statuses) status, lateral (
        select a.id from public.assets a
         where a.workspace_id = p_workspace and a.kind = kind.kind and a.source = source.source and a.status = status.status
           and a.id < v_before order by a.id desc limit p_limit) f
      where f.id >= v_from order by f.id desc limit p_limit);
  else
    v_ids := array(select f.id from unnest(p_kinds) kind, unnest(p_sources) source, unnest(p_statuses) status, lateral (
        select t.id from public.asset_tags t
         where t.workspace_id = p_workspace and t.tag = p_tag and t.kind = kind.kind and t.source = source.source
           and t.status = status.status and t.id < v_before order by t.id desc limit p_limit) f
      where f.id >= v_from order by f.id desc limit p_limit);
  end if;
  return query select a.* from unnest(v_ids) i (id), lateral (
      select * from public.assets a where a.workspace_id = p_workspace and a.id = i.id limit 1) a order by a.id desc;
end $$;
--> statement-breakpoint
-- The ids of assets whose names are like the pattern, by their trigrams. Row-level security lets no index search for what
-- only rows that may be seen may be compared with, so this looks as the gate does, in the workspace of the context.
create or replace function app.matching_assets(p_pattern text, p_before uuid, p_from uuid, p_kinds text[], p_sources text[],
    p_statuses text[], p_tag text, p_limit integer) returns setof uuid
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set enable_bitmapscan = on set plan_cache_mode = force_generic_plan as $$
declare
  v_workspace constant text := app.workspace_id();
begin
  return query
    with matching as materialized (
      select a.id, a.kind, a.source, a.status, a.tags from public.assets a where a.workspace_id::text = v_workspace and a.name ilike p_pattern)
    select m.id from matching m
     where m.id < p_before and m.id >= p_from and (p_tag is null or p_tag = any(m.tags))
       and (p_kinds is null or m.kind = any(p_kinds) and m.source = any(p_sources) and m.status = any(p_statuses))
     order by m.id desc limit p_limit;
end $$;
--> statement-breakpoint
-- Assets by a part of their names. The newest `p_looked` are looked at as they come, which finds what is common; trigrams
-- find what is rare among the rest. A pattern that has none (three letters or digits in a row) ends there, and `stopped_at`
-- says where another page begins.
create or replace function app.search_assets(p_workspace uuid, p_limit integer, p_before uuid, p_from uuid, p_kinds text[],
    p_sources text[], p_statuses text[], p_tag text, p_pattern text, p_looked integer, out listed jsonb, out stopped_at uuid)
  language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  v_before constant uuid := coalesce(p_before, app.last_id());
  v_from constant uuid := coalesce(p_from, app.first_id());
  v_ids uuid[];
begin
  if p_kinds is null then
    v_ids := array(select l.id from (select a.id, a.name from public.assets a
       where a.workspace_id = p_workspace and a.id < v_before and a.id >= v_from order by a.id desc limit p_looked) l
     where l.name ilike p_pattern limit p_limit);
    if cardinality(v_ids) < p_limit then
      select a.id into stopped_at from public.assets a
       where a.workspace_id = p_workspace and a.id < v_before and a.id >= v_from order by a.id desc offset p_looked - 1 limit 1;
    end if;
  else
    select (array_agg(l.id order by l.id desc) filter (where l.name ilike p_pattern))[:p_limit],
           (array_agg(l.id order by l.id desc))[p_looked]
      into v_ids, stopped_at
      from app.list_assets(p_workspace, p_looked, v_before, v_from, p_kinds, p_sources, p_statuses, p_tag) l;
    v_ids := coalesce(v_ids, '{}');
  end if;
  if stopped_at is not null and cardinality(v_ids) < p_limit and p_pattern ~ '[[:alnum:]]{3}' then
    v_ids := v_ids || array(select app.matching_assets(p_pattern, stopped_at, v_from, p_kinds, p_sources, p_statuses, p_tag,
      p_limit - cardinality(v_ids)));
    stopped_at := null;
  end if;
  listed := (select coalesce(jsonb_agg(to_jsonb(a) order by a.id desc), '[]') from unnest(v_ids) i (id), lateral (
    select * from public.assets a where a.workspace_id = p_workspace and a.id = i.id limit 1) a);
end $$;
--> statement-breakpoint
-- The ids of those who wait in the workspace's line, in order, as many as are counted.
create or replace function app.head_of_line(p_workspace uuid, p_max integer) returns uuid[]
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  return array(select g.id from public.generations g
    where g.workspace_id = p_workspace and g.status = 'queued' order by g.id limit p_max);
end $$;
--> statement-breakpoint
-- A generation as it is shown: with how many of the workspace stand before it in line, counted to p_max, and its outputs.
create or replace function app.show_generations(p_workspace uuid, p_ids uuid[], p_max integer)
  returns table (generation public.generations, "position" integer, outputs jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
begin
  return query select g.row, case when (g.row).status = 'queued' then (
      -- The line depends on no row, so it is read once, and only if one of them waits.
      select case when i.id > line.ids[p_max] then p_max else array_position(line.ids, i.id) - 1 end
        from (select (select app.head_of_line(p_workspace, p_max)) ids offset 0) line) end,
      case when (g.row).status = 'succeeded' then (
        select jsonb_agg(to_jsonb(a) order by o.index) from public.generation_outputs o, lateral (
            select * from public.assets a where a.workspace_id = p_workspace and a.id = o.asset_id limit 1) a
         where o.workspace_id = p_workspace and o.generation_id = i.id) end
    from unnest(p_ids) i (id), lateral (
      select g as row from public.generations g where g.workspace_id = p_workspace and g.id = i.id limit 1) g order by i.id desc;
end $$;
--> statement-breakpoint
create or replace function app.list_generations(p_workspace uuid, p_limit integer, p_before uuid, p_from uuid, p_tasks text[],
    p_statuses text[], p_max integer) returns table (generation public.generations, "position" integer, outputs jsonb)
  language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  v_before constant uuid := coalesce(p_before, app.last_id());
  v_from constant uuid := coalesce(p_from, app.first_id());
  v_ids uuid[];
begin
  if p_tasks is not null then
    v_ids := array(select f.id from unnest(p_tasks) task, unnest(p_statuses) status, lateral (
        select g.id from public.generations g where g.workspace_id = p_workspace and g.task = task.task and g.status = status.status
           and g.id < v_before order by g.id desc limit p_limit) f
      where f.id >= v_from order by f.id desc limit p_limit);
  elsif p_statuses is not null then
    v_ids := array(select f.id from unnest(p_statuses) status, lateral (
        select g.id from public.generations g where g.workspace_id = p_workspace and g.status = status.status
           and g.id < v_before order by g.id desc limit p_limit) f
      where f.id >= v_from order by f.id desc limit p_limit);
  else
    v_ids := array(select g.id from public.generations g
      where g.workspace_id = p_workspace and g.id < v_before and g.id >= v_from order by g.id desc limit p_limit);
  end if;
  return query select * from app.show_generations(p_workspace, v_ids, p_max);
end $$;
--> statement-breakpoint
-- Entries of the audit log. Their types and actions are found in the index, each with one step, and the newest of each read.
create or replace function app.list_audit(p_workspace uuid, p_limit integer, p_before uuid, p_from uuid, p_actor uuid,
    p_resource uuid, p_type text, p_action text) returns setof public.audit_logs
  language plpgsql volatile set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  v_before constant uuid := coalesce(p_before, app.last_id());
  v_from constant uuid := coalesce(p_from, app.first_id());
  v_ids uuid[];
begin
  if p_resource is not null then
    v_ids := array(select a.id from public.audit_logs a
      where a.workspace_id = p_workspace and (a.resource_id, a.id) < (p_resource, v_before) and a.resource_id >= p_resource
        and (p_actor is null or a.actor_id = p_actor) and (p_type is null or a.resource_type = p_type)
        and (p_action is null or a.action = p_action) and a.id >= v_from order by a.resource_id desc, a.id desc limit p_limit);
  elsif p_actor is not null then
    v_ids := array(
      with recursive kind as (
        (select a.resource_type, a.action from public.audit_logs a where a.workspace_id = p_workspace and a.actor_id = p_actor
          order by a.resource_type, a.action limit 1)
        union all
        select next.* from kind, lateral (
          select a.resource_type, a.action from public.audit_logs a where a.workspace_id = p_workspace and a.actor_id = p_actor
             and (a.resource_type, a.action) > (kind.resource_type, kind.action) order by a.resource_type, a.action limit 1) next)
      select f.id from kind, lateral (
        select a.id from public.audit_logs a where a.workspace_id = p_workspace and a.actor_id = p_actor
           and a.resource_type = kind.resource_type and a.action = kind.action
           and a.id < v_before order by a.id desc limit p_limit) f
       where f.id >= v_from and (p_type is null or kind.resource_type = p_type) and (p_action is null or kind.action = p_action)
       order by f.id desc limit p_limit);
  elsif p_type is not null or p_action is not null then
    v_ids := array(
      with recursive kind as (
        (select a.resource_type, a.action from public.audit_logs a where a.workspace_id = p_workspace
          order by a.resource_type, a.action limit 1)
        union all
        select next.* from kind, lateral (
          select a.resource_type, a.action from public.audit_logs a where a.workspace_id = p_workspace
             and (a.resource_type, a.action) > (kind.resource_type, kind.action) order by a.resource_type, a.action limit 1) next)
      select f.id from kind, lateral (
        select a.id from public.audit_logs a where a.workspace_id = p_workspace
           and a.resource_type = kind.resource_type and a.action = kind.action
           and a.id < v_before order by a.id desc limit p_limit) f
       where f.id >= v_from and (p_type is null or kind.resource_type = p_type) and (p_action is null or kind.action = p_action)
       order by f.id desc limit p_limit);
  else
    return query select a.* from public.audit_logs a
     where a.workspace_id = p_workspace and a.id < v_before and a.id >= v_from order by a.id desc limit p_limit;
    return;
  end if;
  return query select a.* from unnest(v_ids) i (id), lateral (
      select * from public.audit_logs a where a.workspace_id = p_workspace and a.id = i.id limit 1) a order by a.id desc;
end $$;
--> statement-breakpoint
-- Every read of the above: the gate, and then the function of that name, with its parameters by name; answers the gate's
-- answer and the function's rows. One statement whose text is short and always the same, since to parse and plan it costs
-- more than to run it.
create or replace function app.read(p_claim text, p_proof text, p_what text, p_with jsonb) returns json
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_gate record;
  v_rows json;
begin
  v_gate := app.enter(p_claim, p_proof);
  case p_what
    when 'asset' then
      select json_agg(r) into v_rows from app.asset(v_gate.workspace_id, (p_with ->> 'id')::uuid) r;
    when 'generation' then
      select json_agg(r) into v_rows from app.show_generations(v_gate.workspace_id, array[(p_with ->> 'id')::uuid], (p_with ->> 'counted')::integer) r;
    when 'some assets' then
      select json_agg(r) into v_rows from app.some_assets(v_gate.workspace_id, translate(p_with ->> 'ids', '[]', '{}')::uuid[]) r;
    else
      declare
        v_limit constant integer := p_with ->> 'limit';
        -- Ids tell their time, so times are bounds of ids.
        v_before constant uuid := least((p_with ->> 'before')::uuid, app.uuid_at((p_with ->> 'until')::timestamptz));
        v_from constant uuid := app.uuid_at((p_with ->> 'since')::timestamptz);
        -- Lists of plain words: JSON's brackets are the only difference.
        v_kinds constant text[] := translate(p_with ->> 'kinds', '[]', '{}');
        v_sources constant text[] := translate(p_with ->> 'sources', '[]', '{}');
        v_tasks constant text[] := translate(p_with ->> 'tasks', '[]', '{}');
        v_statuses constant text[] := translate(p_with ->> 'statuses', '[]', '{}');
      begin
        case p_what
          when 'assets' then
            select json_agg(r) into v_rows from app.list_assets(v_gate.workspace_id, v_limit, v_before, v_from, v_kinds, v_sources, v_statuses,
              p_with ->> 'tag') r;
          when 'matching assets' then
            select json_agg(r) into v_rows from app.search_assets(v_gate.workspace_id, v_limit, v_before, v_from, v_kinds, v_sources, v_statuses,
              p_with ->> 'tag', p_with ->> 'pattern', (p_with ->> 'looked')::integer) r;
          when 'generations' then
            select json_agg(r) into v_rows from app.list_generations(v_gate.workspace_id, v_limit, v_before, v_from, v_tasks, v_statuses,
              (p_with ->> 'counted')::integer) r;
          when 'audit logs' then
            select json_agg(r) into v_rows from app.list_audit(v_gate.workspace_id, v_limit, v_before, v_from, (p_with ->> 'actor')::uuid,
              (p_with ->> 'resource')::uuid, p_with ->> 'type', p_with ->> 'action') r;
        end case;
      end;
  end case;
  return json_build_object('rows', coalesce(v_rows, '[]'), 'gate', json_build_object(
    'userId', v_gate.user_id, 'workspaceId', v_gate.workspace_id, 'role', v_gate.role, 'plan', v_gate.plan));
end $$;
--> statement-breakpoint
-- The same of what is the caller's own: who they are, and their workspaces, newest first, from `before` on; or those that can
-- still be restored, which are their owners' alone. It sees what no tenant does, and looks at nobody's but the caller's.
create or replace function app.read_own(p_claim text, p_proof text, p_what text, p_with jsonb) returns json
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_gate constant record := app.enter(p_claim, p_proof);
  v_deleted boolean;
  v_rows json;
begin
  case p_what
    when 'me' then
      v_rows := (select json_build_array(json_build_object('id', u.id, 'email', u.email, 'email_verified_at', u.email_verified_at, 'name', u.name,
          'created_at', u.created_at, 'bounced', exists (select from public.bounces b where b.address = u.email), 'workspaces', coalesce(
            (select json_agg(json_build_object('id', w.id, 'name', w.name, 'slug', w.slug, 'role', m.role) order by m.workspace_id)
               from public.memberships m join public.workspaces w on w.id = m.workspace_id
              where m.user_id = v_gate.user_id and w.deleted_at is null), '[]')))
        from public.users u where u.id = v_gate.user_id);
    when 'workspaces' then
      v_deleted := coalesce((p_with ->> 'deleted')::boolean, false);
      v_rows := (select json_agg(r) from (
        select w.id, w.name, w.slug, w.plan, w.second_factor_required, m.role, w.deleted_at, w.created_at, w.updated_at
          from public.memberships m join public.workspaces w on w.id = m.workspace_id
         where m.user_id = v_gate.user_id and m.workspace_id < coalesce((p_with ->> 'before')::uuid, app.last_id())
           and case when v_deleted then m.role = 'owner' and w.deleted_at > now() - app.workspace_grace() else w.deleted_at is null end
         order by m.workspace_id desc limit (p_with ->> 'limit')::integer) r);
  end case;
  return json_build_object('rows', coalesce(v_rows, '[]'), 'gate', json_build_object('userId', v_gate.user_id));
end $$;
--> statement-breakpoint
-- What a bucket lists, held against the rows of assets: for walks through storage, which see all workspaces. `p_listed` has of
-- each key workspace, id, what it is (object, copy, parts), and whether it has been there for longer than anything waits for
-- its row. Answers the places in it of what no row needs and nothing owes to delete; and of the objects after `p_after`, up to
-- `p_until`, that ready assets from before `p_before` have in this storage, those that are not listed, at most p_max, and how many were compared.
create or replace function app.compare_storage(p_store text, p_listed jsonb, p_after uuid[], p_until uuid[], p_before timestamptz, p_max integer,
    out without_row integer[], out without_object jsonb, out compared integer)
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  v_ids constant uuid[] := array(select (e ->> 1)::uuid from jsonb_array_elements(p_listed) e where e ->> 2 = 'object');
  v_workspace constant uuid := coalesce(p_until[1], app.last_id());
  v_id constant uuid := coalesce(p_until[2], app.last_id());
begin
  without_row := array(
    select l.place - 1 from (
      select e.place, (e.value ->> 0)::uuid workspace_id, (e.value ->> 1)::uuid id, e.value ->> 2 kind
        from jsonb_array_elements(p_listed) with ordinality e (value, place) where (e.value ->> 3)::boolean) l
     where not exists (select from public.outbox o where o.workspace_id = l.workspace_id and o.subject_id = l.id
         and o.kind in ('object.delete', 'object.move', 'copies.delete', 'upload.end'))
       and case l.kind
         when 'object' then not exists (select from public.assets a where a.workspace_id = l.workspace_id and a.object_id = l.id
           and (p_store = 'home' or a.store = 'fallback'))
         when 'copy' then not exists (select from public.assets a where a.workspace_id = l.workspace_id and a.id = l.id)
         else true end
     order by l.place);
  if p_store = 'fallback' then
    select count(*), coalesce(jsonb_agg(jsonb_build_object('workspaceId', o.workspace_id, 'id', o.object_id)) filter (where o.object_id <> all (v_ids)), '[]')
      into compared, without_object
      from (select distinct a.workspace_id, a.object_id from public.assets a
             where a.store = 'fallback' and (a.workspace_id, a.object_id) > (coalesce(p_after[1], app.first_id()), coalesce(p_after[2], app.first_id()))
               and (a.workspace_id, a.object_id) <= (v_workspace, v_id) and a.status = 'ready' and a.created_at < p_before
             limit cardinality(v_ids) + p_max) o;
    return;
  end if;
  -- From one object to the next, however many assets share it.
  with recursive own (workspace_id, object_id) as (
    (select a.workspace_id, a.object_id from public.assets a
      where (a.workspace_id, a.object_id) > (coalesce(p_after[1], app.first_id()), coalesce(p_after[2], app.first_id()))
        and (a.workspace_id, a.object_id) <= (v_workspace, v_id) and a.status = 'ready' and a.store = 'home' and a.created_at < p_before
      order by a.workspace_id, a.object_id limit 1)
    union all
    select n.workspace_id, n.object_id from own o, lateral (
      select a.workspace_id, a.object_id from public.assets a
       where (a.workspace_id, a.object_id) > (o.workspace_id, o.object_id)
         and (a.workspace_id, a.object_id) <= (v_workspace, v_id) and a.status = 'ready' and a.store = 'home' and a.created_at < p_before
       order by a.workspace_id, a.object_id limit 1) n)
  select count(*), coalesce(jsonb_agg(jsonb_build_object('workspaceId', o.workspace_id, 'id', o.object_id)) filter (where o.object_id <> all (v_ids)), '[]')
    into compared, without_object
    from (select * from own limit cardinality(v_ids) + p_max) o;
end $$;
--> statement-breakpoint
-- Notes what a walk has found to be mended after p_delay; what is owed already stays as it is.
create or replace function app.note_findings(p_kind text, p_found jsonb, p_delay interval) returns void
  language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  insert into public.outbox (workspace_id, kind, subject_id, available_at)
  select distinct (f ->> 'workspaceId')::uuid, p_kind, (f ->> 'id')::uuid, now() + p_delay from jsonb_array_elements(p_found) f
   where p_kind in ('object.delete', 'object.lost')
  on conflict (workspace_id, kind, subject_id) do nothing
$$;
