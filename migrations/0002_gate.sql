-- The gate: who is calling, in which workspace, and whether they may.

-- Refuses the whole transaction with one of the API's error codes unless the condition holds. The SQLSTATE is a class
-- of ours and the HTTP status: 'AG' for refusals of the gate, 'AP' for those of the statements behind it. The detail of
-- a 403 names actor and workspace, for the audit log.
create or replace function app.require(holds boolean, status integer, code text, class text default 'AP') returns boolean
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
create or replace function app.role_rank(role text) returns integer language sql immutable parallel safe
  return array_position(array['viewer', 'member', 'admin', 'owner'], role);
--> statement-breakpoint
-- The settings that policies, column defaults and audit rows read, for the rest of the transaction.
create or replace function app.set_context(
  p_user uuid, p_workspace uuid, p_role text, p_actor_type text, p_actor_id uuid, p_action text, p_request jsonb
) returns void language sql volatile set search_path = pg_catalog, pg_temp as $$
  select set_config('app.user_id', coalesce(p_user::text, ''), true),
         set_config('app.workspace_id', coalesce(p_workspace::text, ''), true),
         set_config('app.role', coalesce(p_role, ''), true),
         set_config('app.actor', p_actor_type || ':' || coalesce(p_actor_id::text, ''), true),
         set_config('app.action', coalesce(p_action, ''), true),
         set_config('app.request', coalesce(p_request::text, '{}'), true),
         -- Below the Worker's own patience: what it gives up on does not go on in the database.
         set_config('statement_timeout', '9s', true),
         set_config('lock_timeout', '8s', true)
$$;
--> statement-breakpoint
-- The user of a front end's session: by provider account, else by an e-mail address that both sides have verified, else
-- a new one. An address that was never verified links to nothing.
create or replace function app.resolve_account(p_credential jsonb, p_request jsonb) returns uuid
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
    -- A page sends several first requests at once: one of them makes the account.
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
-- First statement of every transaction for a caller: identifies them, their workspace and their right to the action.
-- Without a workspace in scope, only the caller. An API key acts in its own workspace, within its scopes.
create or replace function app.enter(
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
    -- A key ends with the right of whoever made it to make keys.
    select k.* into v_key from public.api_keys k
      join public.memberships m on m.workspace_id = k.workspace_id and m.user_id = k.created_by
      join public.users u on u.id = k.created_by
     where k.key_hash = p_credential ->> 'hash' and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
       and u.disabled_at is null and app.role_rank(m.role) >= app.role_rank('admin');
    perform app.require(found, 401, 'unauthorized', 'AG');
    perform app.require(coalesce(p_workspace = v_key.workspace_id, true), 404, 'not_found', 'AG');
    v_workspace := v_key.workspace_id;
    v_role := 'member';
    select w.plan into v_plan from public.workspaces w where w.id = v_workspace and w.deleted_at is null;
    perform app.require(found, 401, 'unauthorized', 'AG');
    perform app.set_context(null, v_workspace, v_role, 'api_key', v_key.id, p_action, p_request);
    perform app.require(p_action = any(v_key.scopes), 403, 'forbidden', 'AG');
    -- To the minute, and without waiting for another request that does the same.
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
-- The same for the server's own work: signing a user in (who is the actor), jobs, sweeps.
create or replace function app.enter_system(p_user uuid, p_workspace uuid, p_action text, p_request jsonb)
  returns table (user_id uuid, workspace_id uuid, role text, plan text)
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.set_context(
    null, p_workspace, null, case when p_user is null then 'system' else 'user' end, p_user, p_action, p_request);
  return query select p_user, p_workspace, null::text,
    (select w.plan from public.workspaces w where w.id = p_workspace);
end $$;
--> statement-breakpoint
-- Joins the workspace of an invite as the current user; idempotent.
create or replace function app.accept_invite(p_token_hash text, p_member_limits jsonb) returns uuid
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
  -- Again, under the workspace's lock: it may have been accepted or deleted meanwhile.
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
-- The caller's own: tenants see the rows of fellow members, so this column is granted to nobody.
create or replace function app.own_password_hash() returns text
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select u.password_hash from public.users u where u.id = app.user_id()
$$;
