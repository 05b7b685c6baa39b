-- The gate, the audit trigger, forced row-level security and the grants: what drizzle-kit cannot generate.

-- Refuses the whole transaction with one of the API's error codes. The SQLSTATE is the HTTP status behind a
-- class of ours: 'AG' for what the gate refuses, 'AP' for what the work does. A refusal for want of a right says
-- who and where, for the audit log.
create function app.require(holds boolean, status integer, code text, class text default 'AP') returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if holds is not true then
    raise exception using errcode = class || status, message = code, detail = case when status = 403 then
      jsonb_build_object('workspaceId', nullif(current_setting('app.workspace_id', true), ''),
        'actor', current_setting('app.actor', true))::text else '' end;
  end if;
  return true;
end $$;
--> statement-breakpoint
create function app.role_rank(role text) returns integer language sql immutable parallel safe
  return array_position(array['viewer', 'member', 'admin', 'owner'], role);
--> statement-breakpoint
create function app.set_context(
  p_user uuid, p_workspace uuid, p_role text, p_actor_type text, p_actor_id uuid, p_action text, p_request jsonb
) returns void language sql volatile set search_path = pg_catalog, pg_temp as $$
  select set_config('app.user_id', coalesce(p_user::text, ''), true),
         set_config('app.workspace_id', coalesce(p_workspace::text, ''), true),
         set_config('app.role', coalesce(p_role, ''), true),
         set_config('app.actor', p_actor_type || ':' || coalesce(p_actor_id::text, ''), true),
         set_config('app.action', coalesce(p_action, ''), true),
         set_config('app.request', coalesce(p_request::text, '{}'), true)
$$;
--> statement-breakpoint
-- First statement of everything that is done for a caller: who is it, which workspace, may they?
-- Without a workspace scope only the caller is established.
create function app.enter(
  p_session uuid, p_workspace uuid, p_in_workspace boolean, p_role text, p_action text, p_request jsonb
) returns table (user_id uuid, workspace_id uuid, role text, plan text)
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_user uuid;
  v_workspace uuid := p_workspace;
  v_role text;
  v_plan text;
  v_memberships integer;
begin
  select s.user_id into v_user
    from public.sessions s join public.users u on u.id = s.user_id
   where s.id = p_session and s.revoked_at is null and s.expires_at > now() and u.disabled_at is null;
  perform app.require(found, 401, 'unauthorized', 'AG');
  if p_in_workspace then
    if v_workspace is null then
      select count(*), min(m.workspace_id::text)::uuid into v_memberships, v_workspace
        from (select m.workspace_id from public.memberships m where m.user_id = v_user limit 2) m;
      perform app.require(v_memberships = 1, 400, 'workspace_required', 'AG');
    end if;
    select m.role, w.plan into v_role, v_plan
      from public.memberships m join public.workspaces w on w.id = m.workspace_id
     where m.workspace_id = v_workspace and m.user_id = v_user;
    perform app.require(found, 404, 'not_found', 'AG');
    perform app.require(app.role_rank(v_role) >= app.role_rank(p_role), 403, 'forbidden', 'AG');
  end if;
  perform app.set_context(v_user, case when p_in_workspace then v_workspace end, v_role, 'user', v_user, p_action, p_request);
  return query select v_user, case when p_in_workspace then v_workspace end, v_role, v_plan;
end $$;
--> statement-breakpoint
-- The same for what the server does by itself: signing somebody in (the user is the actor), jobs, sweeps.
create function app.enter_system(p_user uuid, p_workspace uuid, p_action text, p_request jsonb)
  returns table (user_id uuid, workspace_id uuid, role text, plan text)
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.set_context(
    null, p_workspace, null, case when p_user is null then 'system' else 'user' end, p_user, p_action, p_request);
  return query select p_user, p_workspace, null::text,
    (select w.plan from public.workspaces w where w.id = p_workspace);
end $$;
--> statement-breakpoint
-- Writes the audit row of a change. Arguments: the noun of the resource, then the columns that may be shown.
-- Only the table whose noun the current action names writes, so one action leaves one kind of row.
create function app.audit() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_action text := current_setting('app.action', true);
  v_actor text := current_setting('app.actor', true);
  v_request jsonb := nullif(current_setting('app.request', true), '')::jsonb;
  v_before jsonb := case when TG_OP <> 'INSERT' then to_jsonb(old) end;
  v_after jsonb := case when TG_OP <> 'DELETE' then to_jsonb(new) end;
  v_row jsonb := coalesce(v_after, v_before);
  v_shown_before jsonb;
  v_shown_after jsonb;
begin
  if split_part(v_action, '.', 1) is distinct from TG_ARGV[0] then
    return null;
  end if;
  select jsonb_object_agg(key, v_before -> key) filter (where v_before is not null),
         jsonb_object_agg(key, v_after -> key) filter (where v_after is not null)
    into v_shown_before, v_shown_after
    from unnest(TG_ARGV[1:]) key
   where TG_OP <> 'UPDATE' or v_before -> key is distinct from v_after -> key;
  if v_shown_before is null and v_shown_after is null then
    return null;
  end if;
  insert into public.audit_logs
    (workspace_id, action, actor_type, actor_id, resource_type, resource_id, before, after, ip, user_agent, request_id)
  values (
    case when TG_TABLE_NAME = 'workspaces' then (v_row ->> 'id')::uuid else (v_row ->> 'workspace_id')::uuid end,
    v_action, split_part(v_actor, ':', 1), nullif(split_part(v_actor, ':', 2), '')::uuid,
    TG_ARGV[0], (v_row ->> 'id')::uuid, v_shown_before, v_shown_after,
    v_request ->> 'ip', v_request ->> 'userAgent', v_request ->> 'id');
  return null;
end $$;
--> statement-breakpoint
create trigger audit after insert or update or delete on users
  for each row execute function app.audit('user', 'email', 'name');
--> statement-breakpoint
create trigger audit after insert or update on sessions
  for each row execute function app.audit('session', 'user_id', 'revoked_at');
--> statement-breakpoint
create trigger audit after insert or update or delete on workspaces
  for each row execute function app.audit('workspace', 'name', 'slug', 'plan');
--> statement-breakpoint
create trigger audit after insert or update or delete on assets
  for each row execute function app.audit('asset', 'name', 'kind', 'mime_type', 'size', 'sha256');
--> statement-breakpoint
create trigger audit after insert or update on generations
  for each row execute function app.audit('generation', 'kind', 'status', 'model', 'prompt', 'style', 'count',
    'input_asset_ids', 'error', 'credits_reserved', 'credits_charged');
--> statement-breakpoint
create function app.refuse_change() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception '% is append-only', TG_TABLE_NAME using errcode = 'insufficient_privilege';
end $$;
--> statement-breakpoint
create trigger append_only before update or delete or truncate on audit_logs
  for each statement execute function app.refuse_change();
--> statement-breakpoint
create trigger append_only before update or delete or truncate on credit_entries
  for each statement execute function app.refuse_change();
--> statement-breakpoint
alter table users force row level security;
--> statement-breakpoint
alter table sessions force row level security;
--> statement-breakpoint
alter table workspaces force row level security;
--> statement-breakpoint
alter table memberships force row level security;
--> statement-breakpoint
alter table assets force row level security;
--> statement-breakpoint
alter table generations force row level security;
--> statement-breakpoint
alter table generation_outputs force row level security;
--> statement-breakpoint
alter table credit_entries force row level security;
--> statement-breakpoint
alter table audit_logs force row level security;
--> statement-breakpoint
alter table outbox force row level security;
--> statement-breakpoint
revoke execute on all functions in schema app from public;
--> statement-breakpoint
grant usage on schema app to app_tenant, app_system;
--> statement-breakpoint
grant execute on function app.workspace_id(), app.user_id(), app.uuid_v7(), app.require(boolean, integer, text, text)
  to app_tenant, app_system;
--> statement-breakpoint
grant execute on function app.role_rank(text),
  app.set_context(uuid, uuid, text, text, uuid, text, jsonb),
  app.enter(uuid, uuid, boolean, text, text, jsonb),
  app.enter_system(uuid, uuid, text, jsonb) to app_system;
--> statement-breakpoint
grant usage on schema public to app_tenant, app_system;
--> statement-breakpoint
grant select (id, email, name, created_at, updated_at), update (name, updated_at) on users to app_tenant;
--> statement-breakpoint
grant select (id, user_id, expires_at, revoked_at, ip, user_agent, created_at), update (revoked_at) on sessions to app_tenant;
--> statement-breakpoint
grant select, insert, update on workspaces to app_tenant;
--> statement-breakpoint
grant select, insert, update, delete on memberships, assets, outbox to app_tenant;
--> statement-breakpoint
grant select, insert, update on generations to app_tenant;
--> statement-breakpoint
grant select, insert on generation_outputs, credit_entries to app_tenant;
--> statement-breakpoint
grant select on audit_logs to app_tenant;
--> statement-breakpoint
grant select, insert on users to app_system;
--> statement-breakpoint
grant select, insert on sessions to app_system;
--> statement-breakpoint
grant select on workspaces, memberships to app_system;
--> statement-breakpoint
grant insert on audit_logs to app_system;
--> statement-breakpoint
grant select, update on outbox to app_system;
--> statement-breakpoint
-- The gate and the audit trigger run as app_system, which sees just enough for them: no role bypasses RLS.
do $$ begin
  execute format('grant app_tenant, app_system to %I', current_user);
end $$;
--> statement-breakpoint
grant create on schema app to app_system;
--> statement-breakpoint
alter function app.enter(uuid, uuid, boolean, text, text, jsonb) owner to app_system;
--> statement-breakpoint
alter function app.enter_system(uuid, uuid, text, jsonb) owner to app_system;
--> statement-breakpoint
alter function app.audit() owner to app_system;
--> statement-breakpoint
revoke create on schema app from app_system;
