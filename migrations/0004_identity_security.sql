-- API keys and front-end sign-in at the gate, invites, the audit chain, and the grants of the new tables.

drop function app.enter(uuid, uuid, boolean, text, text, jsonb);
--> statement-breakpoint
-- Who a front end's session belongs to: by provider account, else by an e-mail that both sides have verified,
-- else somebody new. An address that somebody merely claimed first is never handed over, nor its account.
create function app.resolve_account(p_credential jsonb, p_request jsonb) returns uuid
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_provider text := p_credential ->> 'provider';
  v_account text := p_credential ->> 'providerAccountId';
  v_email text := p_credential ->> 'email';
  v_verified boolean := coalesce((p_credential ->> 'emailVerified')::boolean, false);
  v_user public.users;
begin
  select u.* into v_user from public.accounts a join public.users u on u.id = a.user_id
   where a.provider = v_provider and a.provider_account_id = v_account;
  if not found then
    perform app.require(v_email is not null, 401, 'unauthorized', 'AG');
    -- A page that loads sends several first requests at once.
    perform pg_advisory_xact_lock(hashtextextended(v_provider || ':' || v_account, 0));
    select u.* into v_user from public.accounts a join public.users u on u.id = a.user_id
     where a.provider = v_provider and a.provider_account_id = v_account;
    if not found then
      perform app.set_context(null, null, null, 'user', (p_credential ->> 'newUserId')::uuid, 'user.create', p_request);
      insert into public.users (id, email, name, email_verified_at)
      values ((p_credential ->> 'newUserId')::uuid, v_email, p_credential ->> 'name', case when v_verified then now() end)
      on conflict (email) do nothing returning * into v_user;
      if not found then
        select * into v_user from public.users u where u.email = v_email;
        perform app.require(v_verified and v_user.email_verified_at is not null, 401, 'account_not_linked', 'AG');
        perform app.set_context(null, null, null, 'user', v_user.id, 'user.link', p_request);
        perform app.record('user.link', 'user', v_user.id, null, jsonb_build_object('provider', v_provider));
      end if;
      insert into public.accounts (provider, provider_account_id, user_id) values (v_provider, v_account, v_user.id);
    end if;
  end if;
  perform app.require(v_user.disabled_at is null, 401, 'unauthorized', 'AG');
  if v_verified and v_user.email = v_email and v_user.email_verified_at is null then
    update public.users set email_verified_at = now() where id = v_user.id;
  end if;
  return v_user.id;
end $$;
--> statement-breakpoint
-- First statement of everything that is done for a caller: who is it, which workspace, may they?
-- Without a workspace scope only the caller is established. An API key acts in its own workspace, within its scopes.
create function app.enter(
  p_credential jsonb, p_workspace uuid, p_in_workspace boolean, p_role text, p_action text, p_request jsonb
) returns table (user_id uuid, workspace_id uuid, role text, plan text)
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_type text := p_credential ->> 'type';
  v_user uuid;
  v_key public.api_keys;
  v_workspace uuid := p_workspace;
  v_role text;
  v_plan text;
  v_memberships integer;
begin
  if v_type = 'api_key' then
    select k.* into v_key from public.api_keys k
     where k.key_hash = p_credential ->> 'hash' and k.revoked_at is null and (k.expires_at is null or k.expires_at > now());
    perform app.require(found, 401, 'unauthorized', 'AG');
    perform app.require(coalesce(p_workspace = v_key.workspace_id, true), 404, 'not_found', 'AG');
    v_workspace := v_key.workspace_id;
    v_role := 'member';
    select w.plan into v_plan from public.workspaces w where w.id = v_workspace and w.deleted_at is null;
    perform app.require(found, 401, 'unauthorized', 'AG');
    perform app.set_context(null, v_workspace, v_role, 'api_key', v_key.id, p_action, p_request);
    perform app.require(p_action = any(v_key.scopes), 403, 'forbidden', 'AG');
    -- To the minute, and never waiting for another request that does the same.
    update public.api_keys set last_used_at = now()
     where key_hash = (select k.key_hash from public.api_keys k
                        where k.key_hash = v_key.key_hash
                          and (k.last_used_at is null or k.last_used_at < now() - interval '1 minute')
                          for no key update skip locked);
    return query select null::uuid, v_workspace, v_role, v_plan;
    return;
  end if;
  if v_type = 'session' then
    select s.user_id into v_user
      from public.sessions s join public.users u on u.id = s.user_id
     where s.id = (p_credential ->> 'id')::uuid and s.revoked_at is null and s.expires_at > now() and u.disabled_at is null;
    perform app.require(found, 401, 'unauthorized', 'AG');
  else
    v_user := app.resolve_account(p_credential, p_request);
  end if;
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
  end if;
  perform app.set_context(v_user, case when p_in_workspace then v_workspace end, v_role, 'user', v_user, p_action, p_request);
  perform app.require(not p_in_workspace or app.role_rank(v_role) >= app.role_rank(p_role), 403, 'forbidden', 'AG');
  return query select v_user, case when p_in_workspace then v_workspace end, v_role, v_plan;
end $$;
--> statement-breakpoint
-- Joins the workspace of an invite as the current user. The same person accepting twice is the same as once.
create function app.accept_invite(p_token_hash text, p_member_limits jsonb) returns uuid
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_invite public.invites;
  v_plan text;
begin
  select i.* into v_invite from public.invites i join public.users u on u.email = i.email and u.id = app.user_id()
   where i.token_hash = p_token_hash;
  perform app.require(found, 404, 'not_found');
  select w.plan into v_plan from public.workspaces w
   where w.id = v_invite.workspace_id and w.deleted_at is null for no key update;
  perform app.require(found, 404, 'not_found');
  -- As it is now that it is this transaction's turn.
  select i.* into v_invite from public.invites i where i.token_hash = p_token_hash;
  perform app.require(found, 404, 'not_found');
  perform set_config('app.workspace_id', v_invite.workspace_id::text, true);
  if v_invite.accepted_at is not null then
    perform app.require(exists (select from public.memberships m
      where m.workspace_id = v_invite.workspace_id and m.user_id = app.user_id()), 409, 'invite_used');
    return v_invite.workspace_id;
  end if;
  perform app.require(v_invite.expires_at > now(), 409, 'invite_expired');
  insert into public.memberships (workspace_id, user_id, role)
  values (v_invite.workspace_id, app.user_id(), v_invite.role) on conflict do nothing;
  update public.invites set accepted_at = now() where token_hash = p_token_hash;
  perform app.require(coalesce((p_member_limits ->> v_plan)::integer >=
    (select count(*) from public.memberships m where m.workspace_id = v_invite.workspace_id), true), 402, 'plan_limit_reached');
  return v_invite.workspace_id;
end $$;
--> statement-breakpoint
-- Nobody's but the caller's: tenants see their fellow members' rows, without this column.
create function app.own_password_hash() returns text
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select u.password_hash from public.users u where u.id = app.user_id()
$$;
--> statement-breakpoint
-- One audit row by the current actor, for what no single changed row can tell.
create function app.record(p_action text, p_type text, p_id uuid, p_before jsonb, p_after jsonb) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_actor text := current_setting('app.actor', true);
  v_request jsonb := nullif(current_setting('app.request', true), '')::jsonb;
begin
  insert into public.audit_logs
    (workspace_id, action, actor_type, actor_id, resource_type, resource_id, before, after, ip, user_agent, request_id)
  values (
    app.workspace_id(), p_action, split_part(v_actor, ':', 1), nullif(split_part(v_actor, ':', 2), '')::uuid,
    p_type, p_id, p_before, p_after, v_request ->> 'ip', v_request ->> 'userAgent', v_request ->> 'id');
end $$;
--> statement-breakpoint
create or replace function app.audit() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_action text := current_setting('app.action', true);
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
  if v_shown_before is not null or v_shown_after is not null then
    perform app.record(v_action, TG_ARGV[0], coalesce(v_row ->> 'id', v_row ->> 'user_id')::uuid, v_shown_before, v_shown_after);
  end if;
  return null;
end $$;
--> statement-breakpoint
drop trigger audit on sessions;
--> statement-breakpoint
create trigger audit after insert or update on sessions
  for each row execute function app.audit('session', 'user_id', 'revoked_at', 'refresh_generation');
--> statement-breakpoint
drop trigger audit on workspaces;
--> statement-breakpoint
create trigger audit after insert or update on workspaces
  for each row execute function app.audit('workspace', 'name', 'slug', 'plan', 'deleted_at');
--> statement-breakpoint
create trigger audit after update or delete on memberships
  for each row execute function app.audit('member', 'user_id', 'role');
--> statement-breakpoint
create trigger audit after insert or update or delete on invites
  for each row execute function app.audit('invite', 'email', 'role', 'expires_at', 'accepted_at');
--> statement-breakpoint
create trigger audit after insert or update on api_keys
  for each row execute function app.audit('api_key', 'name', 'start', 'scopes', 'expires_at', 'revoked_at');
--> statement-breakpoint
-- The hash of a row, given the hash of the one before it.
create function app.audit_hash(p_previous text, p_row audit_logs) returns text
  language sql immutable set search_path = pg_catalog, pg_temp
  return encode(sha256(convert_to(p_previous || jsonb_build_array(
    p_row.sequence, p_row.id, p_row.workspace_id, p_row.action, p_row.actor_type, p_row.actor_id, p_row.resource_type,
    p_row.resource_id, p_row.before, p_row.after, p_row.ip, p_row.user_agent, p_row.request_id,
    extract(epoch from p_row.created_at))::text, 'UTF8')), 'hex');
--> statement-breakpoint
-- Appends a row to its workspace's chain; the head's row lock puts concurrent ones in line until they commit.
create function app.chain_audit() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_head public.audit_heads;
begin
  if new.workspace_id is null then
    return new;
  end if;
  insert into public.audit_heads (workspace_id, sequence, hash) values (new.workspace_id, 0, '')
    on conflict (workspace_id) do update set sequence = audit_heads.sequence
    returning * into v_head;
  new.id := app.uuid_v7();
  new.sequence := v_head.sequence + 1;
  new.hash := app.audit_hash(v_head.hash, new);
  update public.audit_heads set sequence = new.sequence, hash = new.hash where workspace_id = new.workspace_id;
  return new;
end $$;
--> statement-breakpoint
-- Rows from before the chain join it as they are.
do $$
declare
  r audit_logs;
  v_head audit_heads;
begin
  alter table audit_logs disable trigger append_only;
  for r in select * from audit_logs where workspace_id is not null order by id loop
    insert into audit_heads (workspace_id, sequence, hash) values (r.workspace_id, 0, '')
      on conflict (workspace_id) do update set sequence = audit_heads.sequence returning * into v_head;
    r.sequence := v_head.sequence + 1;
    r.hash := app.audit_hash(v_head.hash, r);
    update audit_logs set sequence = r.sequence, hash = r.hash where id = r.id;
    update audit_heads set sequence = r.sequence, hash = r.hash where workspace_id = r.workspace_id;
  end loop;
  alter table audit_logs enable trigger append_only;
end $$;
--> statement-breakpoint
create trigger chain before insert on audit_logs for each row execute function app.chain_audit();
--> statement-breakpoint
alter table accounts force row level security;
--> statement-breakpoint
alter table invites force row level security;
--> statement-breakpoint
alter table api_keys force row level security;
--> statement-breakpoint
alter table audit_heads force row level security;
--> statement-breakpoint
revoke execute on all functions in schema app from public;
--> statement-breakpoint
grant execute on function app.role_rank(text), app.accept_invite(text, jsonb), app.audit_hash(text, audit_logs), app.own_password_hash(),
  app.record(text, text, uuid, jsonb, jsonb) to app_tenant, app_system;
--> statement-breakpoint
grant execute on function app.enter(jsonb, uuid, boolean, text, text, jsonb), app.resolve_account(jsonb, jsonb) to app_system;
--> statement-breakpoint
grant select, insert, delete on invites to app_tenant;
--> statement-breakpoint
grant select, insert, update (revoked_at) on api_keys to app_tenant;
--> statement-breakpoint
grant select on audit_heads to app_tenant;
--> statement-breakpoint
grant update (password_hash) on users to app_tenant;
--> statement-breakpoint
grant update on users, sessions to app_system;
--> statement-breakpoint
grant select, insert on accounts to app_system;
--> statement-breakpoint
grant select, update on invites, api_keys to app_system;
--> statement-breakpoint
grant insert on memberships to app_system;
--> statement-breakpoint
-- For row locks only.
grant update (updated_at) on workspaces to app_system;
--> statement-breakpoint
grant select, insert, update on audit_heads to app_system;
--> statement-breakpoint
grant create on schema app to app_system;
--> statement-breakpoint
alter function app.enter(jsonb, uuid, boolean, text, text, jsonb) owner to app_system;
--> statement-breakpoint
alter function app.resolve_account(jsonb, jsonb) owner to app_system;
--> statement-breakpoint
alter function app.accept_invite(text, jsonb) owner to app_system;
--> statement-breakpoint
alter function app.record(text, text, uuid, jsonb, jsonb) owner to app_system;
--> statement-breakpoint
alter function app.own_password_hash() owner to app_system;
--> statement-breakpoint
alter function app.chain_audit() owner to app_system;
--> statement-breakpoint
revoke create on schema app from app_system;
