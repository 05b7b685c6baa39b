-- The gate: who is calling, in which workspace, and whether they may.

-- Refuses the whole transaction with one of the API's error codes. The SQLSTATE is a class of ours and the HTTP status: 'AG'
-- for refusals of the gate, 'AP' for those of the statements behind it. The detail of a 403 names actor and workspace, for
-- the audit log.
create or replace function app.refuse(status integer, code text, class text default 'AP') returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using errcode = class || status, message = code, detail = case when status = 403 then
    jsonb_build_object('workspaceId', app.context() -> 'workspaceId', 'actor', app.context() -> 'actor')::text else '' end;
end $$;
--> statement-breakpoint
-- The same unless the condition holds.
create or replace function app.require(holds boolean, status integer, code text, class text default 'AP') returns boolean
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if holds is not true then
    perform app.refuse(status, code, class);
  end if;
  return true;
end $$;
--> statement-breakpoint
-- Signs a context and makes it that of the transaction. Its members: userId, workspaceId, plan, role (the server itself is an
-- owner), actor (`type:id`), secondFactor, provedAt, action, request (id, ip, userAgent), seals; what is null is nobody or nothing. The gate has the key at hand.
create or replace function app.set_context(p_context jsonb, p_key bytea default null) returns void
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_text constant text := (p_context || jsonb_build_object('at', extract(epoch from now())::text))::text;
  v_key bytea := p_key;
  v_set text;
begin
  if v_key is null then
    select k.key into v_key from app.gate_key k;
  end if;
  if v_key is null then
    perform app.refuse(503, 'misconfigured', 'AG');
  end if;
  v_set := set_config('app.context', encode(sha256(v_key || convert_to('context' || v_text, 'UTF8') || v_key), 'hex') || v_text, true);
end $$;
--> statement-breakpoint
-- What is kept of a provider's account after its person was erased.
create or replace function app.hash_account(p_provider text, p_account text) returns text
  language sql immutable parallel safe set search_path = pg_catalog, pg_temp
  return encode(sha256(convert_to(jsonb_build_array(p_provider, p_account)::text, 'UTF8')), 'hex');
--> statement-breakpoint
-- The user of a front end's session: by provider account, else whoever has proved the address that the provider has verified,
-- else a new one, without an address where the provider tells none. Who gets an address, and what becomes of those who only
-- claimed it: migrations/0009_accounts.sql.
create or replace function app.resolve_account(p_credential jsonb, p_request jsonb) returns uuid
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_provider text := p_credential ->> 'provider';
  v_account text := p_credential ->> 'providerAccountId';
  v_email text := p_credential ->> 'email';
  v_verified boolean := v_email is not null and coalesce((p_credential ->> 'emailVerified')::boolean, false);
  v_signed_in_at timestamptz := to_timestamp((p_credential ->> 'signedInAt')::double precision);
  v_holder uuid;
  v_user public.users;
begin
  select u.* into v_user from public.accounts a join public.users u on u.id = a.user_id
   where a.provider = v_provider and a.provider_account_id = v_account;
  if not found then
    -- A page sends several first requests at once: one of them makes the account.
    perform pg_advisory_xact_lock(hashtextextended(v_provider || ':' || v_account, 0));
    select u.* into v_user from public.accounts a join public.users u on u.id = a.user_id
     where a.provider = v_provider and a.provider_account_id = v_account;
    if not found then
      -- Nor does a cookie from before somebody was erased make them anew.
      perform app.require(not exists (select from public.erased_accounts e
        where e.account_hash = app.hash_account(v_provider, v_account) and coalesce(v_signed_in_at <= e.erased_at, true)),
        401, 'unauthorized', 'AG');
      if v_email is not null then
        perform app.turn_of_email(v_email);
      end if;
      select u.id into v_holder from public.users u where u.email = v_email and u.email_verified_at is not null;
      if v_verified and v_holder is not null then
        select * into v_user from public.users u where u.id = v_holder;
        perform app.set_context(jsonb_build_object(
          'actor', 'user:' || v_user.id, 'action', 'user.link', 'request', p_request));
        perform app.record('user.link', 'user', v_user.id, null, jsonb_build_object('provider', v_provider));
      else
        perform app.set_context(jsonb_build_object(
          'actor', 'user:' || (p_credential ->> 'newUserId'), 'action', 'user.create', 'request', p_request));
        insert into public.users (id, email, name, language)
        values ((p_credential ->> 'newUserId')::uuid, case when v_holder is null and v_email is not null then app.claim_email(v_email) end, p_credential ->> 'name',
          p_request ->> 'language')
        returning * into v_user;
      end if;
      insert into public.accounts (provider, provider_account_id, user_id) values (v_provider, v_account, v_user.id);
    end if;
  end if;
  perform app.require(v_user.disabled_at is null, 401, 'unauthorized', 'AG');
  -- A cookie from before somebody deleted their account is none any more; whoever has signed in since then stays.
  if v_user.leaves_at is not null then
    perform app.require(coalesce(v_signed_in_at > v_user.leaves_at - app.user_grace()
      and app.stay(v_user.id), false), 401, 'unauthorized', 'AG');
  end if;
  if v_verified and v_user.email_verified_at is null and coalesce(v_user.email = v_email, true)
    and not exists (select from public.users u where u.email = v_email and u.email_verified_at is not null) then
    perform app.set_context(jsonb_build_object('actor', 'user:' || v_user.id, 'request', p_request));
    perform app.prove_email(v_user.id, v_email);
  end if;
  return v_user.id;
end $$;
--> statement-breakpoint
-- How somebody can prove themselves besides by their password; empty without a second factor.
create or replace function app.factors_of(p_user uuid) returns text[]
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select case when not (f.totp or f.passkey) then '{}' else array_remove(array[case when f.totp then 'totp' end,
      case when f.passkey then 'passkey' end,
      case when exists (select from public.recovery_codes r where r.user_id = p_user) then 'recovery_code' end], null) end
    from (select exists (select from public.totp_secrets t where t.user_id = p_user and t.confirmed_at is not null) totp,
      exists (select from public.passkeys p where p.user_id = p_user) passkey) f
$$;
--> statement-breakpoint
-- Since when somebody has second factors, in seconds; null without.
create or replace function app.factors_since(p_user uuid) returns text
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select extract(epoch from least((select t.confirmed_at from public.totp_secrets t where t.user_id = p_user),
    (select min(p.created_at) from public.passkeys p where p.user_id = p_user)))::text
$$;
--> statement-breakpoint
-- A password as tokens name it, which are void once it changes.
create or replace function app.password_mark(p_hash text) returns text
  language sql immutable parallel safe set search_path = pg_catalog, pg_temp
  return left(encode(sha256(convert_to(coalesce(p_hash, ''), 'UTF8')), 'hex'), 32);
--> statement-breakpoint
-- What somebody proves themselves by, the password and the factors, as the tokens name it that are void once it changes
-- (`markDevice`).
create or replace function app.mark_of(p_user uuid) returns text
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select left(encode(sha256(convert_to(concat(app.password_mark(u.password_hash), ' ', app.factors_since(u.id)), 'UTF8')), 'hex'), 32)
    from public.users u where u.id = p_user
$$;
--> statement-breakpoint
create or replace function app.own_mark() returns text
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select app.mark_of(app.user_id())
$$;
--> statement-breakpoint
-- Those of the caller; whose others are is nobody's business.
create or replace function app.own_factors() returns text[]
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select app.factors_of(app.user_id())
$$;
--> statement-breakpoint
-- Refuses what is dangerous to whoever has not proved themselves lately, and by their second factor if they have one.
create or replace function app.require_proof(p_has_factor boolean, p_at timestamptz, p_second_factor boolean) returns void
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  if (p_at > now() - interval '15 minutes' and (p_second_factor or not p_has_factor)) is not true then
    perform app.refuse(403, 'step_up_required', 'AG');
  end if;
end $$;
--> statement-breakpoint
-- The same to the caller: for what is dangerous in some of its cases only.
create or replace function app.require_own_proof() returns void
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
begin
  perform app.require_proof(app.factors_of(app.user_id()) <> '{}', to_timestamp((v_context ->> 'provedAt')::double precision),
    (v_context ->> 'secondFactor')::boolean);
end $$;
--> statement-breakpoint
-- Whether the Worker has signed that this transaction may store that secret.
create or replace function app.is_sealed(p_secret text) returns boolean
  language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(app.context() -> 'seals' ? encode(sha256(convert_to(p_secret, 'UTF8')), 'hex'), false)
$$;
--> statement-breakpoint
-- What people prove themselves by is as the Worker has made it: other statements behind the same gate can't put in their own.
-- Argument: the column.
create or replace function app.guard_secret() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if row_security_active(TG_RELID) and to_jsonb(new) -> TG_ARGV[0] is distinct from to_jsonb(old) -> TG_ARGV[0]
    and not app.is_sealed(to_jsonb(new) ->> TG_ARGV[0]) then
    raise exception 'this secret is not one that the Worker has signed' using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;
--> statement-breakpoint
create or replace trigger secret before insert or update of secret on totp_secrets
  for each row execute function app.guard_secret('secret');
--> statement-breakpoint
create or replace trigger secret before insert or update of code_hash on recovery_codes
  for each row execute function app.guard_secret('code_hash');
--> statement-breakpoint
create or replace trigger secret before insert or update of public_key on passkeys
  for each row execute function app.guard_secret('public_key');
--> statement-breakpoint
create or replace trigger secret before insert or update of key_hash on api_keys
  for each row execute function app.guard_secret('key_hash');
--> statement-breakpoint
create or replace trigger secret before insert or update of token_hash on invites
  for each row execute function app.guard_secret('token_hash');
--> statement-breakpoint
-- What makes a session proved is written behind the gate of what proves, or ends a proof, only.
create or replace function app.guard_proof() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if row_security_active('public.sessions') and (new.proved_at <= now()
    and app.context() ->> 'action' in ('session.prove', 'totp.confirm', 'totp.delete', 'passkey.create', 'passkey.delete')) is not true then
    raise exception 'this proves nobody' using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;
--> statement-breakpoint
create or replace trigger proof before update of proved_at, second_factor on sessions
  for each row execute function app.guard_proof();
--> statement-breakpoint
-- Ownership is given and taken only by people who have proved themselves of late, however they do it.
create or replace function app.guard_ownership() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if 'owner' in (old.role, new.role) and row_security_active(TG_RELID) and app.context() ->> 'actor' like 'user:%' then
    perform app.require_own_proof();
  end if;
  return coalesce(new, old);
end $$;
--> statement-breakpoint
create or replace trigger ownership before update of role or delete on memberships
  for each row execute function app.guard_ownership();
--> statement-breakpoint
create or replace trigger ownership before insert on invites
  for each row execute function app.guard_ownership();
--> statement-breakpoint
-- The plan of a workspace that is not deleted, else null, and whether it demands a second factor of its members. With its turn: its row is locked until the transaction ends, before
-- any other row of it, so that changes of one workspace never wait for each other in circles.
create or replace function app.plan_of(p_workspace uuid, p_turn boolean, out plan text, out demands_factor boolean)
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  if p_turn then
    select w.plan, w.second_factor_required into plan, demands_factor
      from public.workspaces w where w.id = p_workspace and w.deleted_at is null for no key update;
  else
    select w.plan, w.second_factor_required into plan, demands_factor
      from public.workspaces w where w.id = p_workspace and w.deleted_at is null;
  end if;
end $$;
--> statement-breakpoint
-- First statement of every transaction: identifies the caller, their workspace and their right to the action. The Worker
-- signs the claim, so that what runs behind the gate can't pass it again as somebody else. Members of the claim:
--   credential   {type: session, id} | {type: api_key, hash} | {type: authjs, …}
--                | {type: system, userId?, actor?}: the server itself, which may act for somebody
--   scope        workspace | user | system: without a workspace in scope only the caller is established
--   workspaceId, role (the least), action, request (id, ip, userAgent)
--   stepUp       whether it takes a proof of the person that is not older than 15 minutes
--   removes      the member whom it removes
--   turn         whether the transaction changes the workspace: it then waits for those before it
--   seals        SHA-256 of each secret that the transaction may store
--   what, with   what app.change calls
-- Answers with the rest the context that it has signed.
create or replace function app.enter(p_claim text, p_proof text, out user_id uuid, out workspace_id uuid, out role text, out plan text, out context jsonb)
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_claim constant jsonb := p_claim;
  v_credential constant jsonb := v_claim -> 'credential';
  v_action constant text := v_claim ->> 'action';
  v_turn constant boolean := (v_claim ->> 'turn')::boolean;
  v_step_up constant boolean := (v_claim ->> 'stepUp')::boolean;
  v_gate_key bytea;
  v_set text;
  v_workspace uuid := v_claim ->> 'workspaceId';
  v_context constant jsonb := jsonb_build_object('action', v_action, 'request', v_claim -> 'request', 'seals', v_claim -> 'seals');
  v_user uuid;
  v_key public.api_keys;
  v_role text;
  v_plan text;
  v_memberships integer;
  v_workspace_now record;
  v_demands_factor boolean;
  v_second_factor boolean;
  v_has_factor boolean;
  v_proved_at timestamptz;
begin
  select k.key into v_gate_key from app.gate_key k
   where p_proof = encode(sha256(k.key || convert_to(p_claim, 'UTF8') || k.key), 'hex');
  if not found then
    perform app.refuse(503, 'misconfigured', 'AG');
  end if;
  -- Below the Worker's own patience: what it gives up on does not go on in the database. Before PostgreSQL 17 only each
  -- statement can be bounded, and not this one.
  -- Most workspaces are small, and plans for one of average size would read all of its rows and sort them. Plans have to
  -- serve the largest, whose rows come in the order of an index, as many as are wanted.
  v_set := concat(
    set_config(case when current_setting('server_version_num')::integer < 170000 then 'statement_timeout' else 'transaction_timeout' end, '9s', true),
    set_config('lock_timeout', '8s', true), set_config('enable_seqscan', 'off', true),
    set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true));
  case v_credential ->> 'type'
  when 'system' then
    v_user := v_credential ->> 'userId';
    if v_workspace is not null then
      if v_turn then
        select w.plan into v_plan from public.workspaces w
         where w.id = v_workspace and (w.deleted_at is null or v_action in ('workspace.delete', 'asset.expire')) for no key update;
        if not found then
          perform app.refuse(404, 'not_found', 'AG');
        end if;
      else
        select w.plan into v_plan from public.workspaces w where w.id = v_workspace;
      end if;
    end if;
    context := v_context || jsonb_build_object('workspaceId', v_workspace, 'role', 'owner', 'plan', v_plan,
      'actor', coalesce(v_credential ->> 'actor', 'user:' || v_user, 'system:'));
    perform app.set_context(context, v_gate_key);
    user_id := v_user; workspace_id := v_workspace; plan := v_plan;
    return;
  when 'api_key' then
    for v_pass in 1 .. case when v_turn then 2 else 1 end loop
      -- A key ends with the right of whoever made it to make keys.
      select k.* into v_key from public.api_keys k
        join public.memberships m on m.workspace_id = k.workspace_id and m.user_id = k.created_by
        join public.users u on u.id = k.created_by
       where k.key_hash = v_credential ->> 'hash' and k.revoked_at is null and (k.expires_at is null or k.expires_at > clock_timestamp())
         and u.disabled_at is null and u.leaves_at is null and app.role_rank(m.role) >= app.role_rank('admin');
      if not found then
        perform app.refuse(401, 'unauthorized', 'AG');
      end if;
      if v_pass = 1 then
        perform app.require(coalesce(v_workspace = v_key.workspace_id, true), 404, 'not_found', 'AG');
        v_plan := (app.plan_of(v_key.workspace_id, v_turn)).plan;
        perform app.require(v_plan is not null, 401, 'unauthorized', 'AG');
      end if;
    end loop;
    v_workspace := v_key.workspace_id;
    v_role := 'member';
    context := v_context || jsonb_build_object('workspaceId', v_workspace, 'role', v_role, 'plan', v_plan, 'actor', 'api_key:' || v_key.id);
    perform app.set_context(context, v_gate_key);
    perform app.require(v_action = any(v_key.scopes), 403, 'forbidden', 'AG');
    -- To the minute, and without waiting for another request that does the same.
    update public.api_keys set last_used_at = now()
     where key_hash = (select k.key_hash from public.api_keys k
                        where k.key_hash = v_key.key_hash
                          and (k.last_used_at is null or k.last_used_at < now() - interval '1 minute')
                          for no key update skip locked);
    workspace_id := v_workspace; role := v_role; plan := v_plan;
    return;
  when 'session' then
    -- With the membership and the plan, if a workspace is named; and whether there is a second factor, in one look with whether
    -- it was shown: the first one may be set up at the same time.
    if v_workspace is null then
      select s.user_id, s.second_factor, s.proved_at, case when v_step_up then app.factors_of(s.user_id) <> '{}' end
        into v_user, v_second_factor, v_proved_at, v_has_factor
        from public.sessions s join public.users u on u.id = s.user_id
       where s.id = (v_credential ->> 'id')::uuid and s.revoked_at is null and s.expires_at > now()
         and u.disabled_at is null and u.leaves_at is null;
    else
      select s.user_id, s.second_factor, s.proved_at, case when v_step_up then app.factors_of(s.user_id) <> '{}' end,
          m.role, w.plan, w.second_factor_required
        into v_user, v_second_factor, v_proved_at, v_has_factor, v_role, v_plan, v_demands_factor
        from public.sessions s join public.users u on u.id = s.user_id
        left join public.memberships m on m.workspace_id = v_workspace and m.user_id = s.user_id
        left join public.workspaces w on w.id = m.workspace_id and w.deleted_at is null
       where s.id = (v_credential ->> 'id')::uuid and s.revoked_at is null and s.expires_at > now()
         and u.disabled_at is null and u.leaves_at is null;
    end if;
    if not found then
      perform app.refuse(401, 'unauthorized', 'AG');
    end if;
  else
    v_user := app.resolve_account(v_credential, v_claim -> 'request');
    -- Their front end has just vouched for them, but knows nothing of the factors that they have here.
    v_has_factor := case when v_step_up or v_credential #>> '{proof,userId}' = v_user::text then app.factors_of(v_user) <> '{}' end;
    v_second_factor := coalesce(v_credential #>> '{proof,userId}' = v_user::text and v_has_factor
      and v_credential #>> '{proof,mark}' = app.mark_of(v_user), false);
    -- The first factor shuts out whoever has not shown one, so it takes a sign-in there of late.
    v_proved_at := case when v_second_factor then to_timestamp((v_credential #>> '{proof,at}')::double precision)
      when v_action in ('totp.create', 'passkey.prepare', 'passkey.create') then to_timestamp((v_credential ->> 'signedInAt')::double precision)
      else now() end;
  end case;
  user_id := v_user;
  context := v_context || jsonb_build_object('userId', v_user, 'actor', 'user:' || v_user, 'secondFactor', v_second_factor,
    'provedAt', extract(epoch from v_proved_at));
  if v_claim ->> 'scope' is distinct from 'workspace' then
    perform app.set_context(context, v_gate_key);
    if v_step_up then
      perform app.require_proof(v_has_factor, v_proved_at, v_second_factor);
    end if;
    return;
  end if;
  if v_workspace is null then
    select count(*), min(m.workspace_id::text)::uuid into v_memberships, v_workspace
      from (select m.workspace_id from public.memberships m join public.workspaces w on w.id = m.workspace_id
             where m.user_id = v_user and w.deleted_at is null limit 2) m;
    if v_memberships <> 1 then
      raise exception using errcode = 'AG400', message = 'workspace_required', detail = v_memberships;
    end if;
  end if;
  if v_role is null then
    select m.role into v_role from public.memberships m where m.workspace_id = v_workspace and m.user_id = v_user;
    if not found then
      perform app.refuse(404, 'not_found', 'AG');
    end if;
  end if;
  -- Strangers don't get in line, and whoever has waited may have lost the right meanwhile.
  if v_turn or v_plan is null then
    v_workspace_now := app.plan_of(v_workspace, v_turn);
    v_plan := v_workspace_now.plan;
    v_demands_factor := v_workspace_now.demands_factor;
    if v_plan is null then
      perform app.refuse(404, 'not_found', 'AG');
    end if;
  end if;
  if v_turn then
    select m.role into v_role from public.memberships m where m.workspace_id = v_workspace and m.user_id = v_user;
    if not found then
      perform app.refuse(404, 'not_found', 'AG');
    end if;
    if v_credential ->> 'type' = 'session'
      and not exists (select from public.sessions s where s.id = (v_credential ->> 'id')::uuid and s.revoked_at is null) then
      perform app.refuse(401, 'unauthorized', 'AG');
    end if;
  end if;
  context := context || jsonb_build_object('workspaceId', v_workspace, 'role', v_role, 'plan', v_plan);
  perform app.set_context(context, v_gate_key);
  if app.role_rank(v_role) < app.role_rank(v_claim ->> 'role') then
    perform app.refuse(403, 'forbidden', 'AG');
  end if;
  -- Whoever has none may leave all the same.
  if v_demands_factor and v_second_factor is not true
    and ((v_claim ->> 'removes')::uuid = v_user and app.factors_of(v_user) = '{}') is not true then
    perform app.refuse(403, 'second_factor_required', 'AG');
  end if;
  if v_step_up then
    perform app.require_proof(v_has_factor, v_proved_at, v_second_factor);
  end if;
  workspace_id := v_workspace; role := v_role; plan := v_plan;
end $$;
--> statement-breakpoint
-- Names the actor of a transaction that begins before anybody is known: the holder of a refresh token.
create or replace function app.act_as(p_user uuid) returns void
  language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select app.set_context(app.context() || jsonb_build_object('actor', 'user:' || p_user))
$$;
--> statement-breakpoint
-- The limits of src/plans.ts that the two functions below hold; null is unlimited.
create or replace function app.max_free_workspaces() returns integer language sql immutable parallel safe
  return 10;
--> statement-breakpoint
create or replace function app.max_members(p_plan text) returns integer language sql immutable parallel safe
  return case p_plan when 'free' then 5 when 'pro' then 25 end;
--> statement-breakpoint
-- A workspace of the caller's own, in which the rest of the transaction acts: so it can't have begun in another. A person
-- makes one at a time, so that the limit of free ones holds.
create or replace function app.create_workspace(p_id uuid, p_name text, p_slug text) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.require(app.workspace_id() is null, 403, 'forbidden');
  perform from public.users u where u.id = app.user_id() for no key update;
  perform app.set_context(app.context() || jsonb_build_object('workspaceId', p_id, 'role', 'owner'));
  insert into public.workspaces (id, name, slug) values (p_id, p_name, p_slug);
  insert into public.memberships (workspace_id, user_id, role) values (p_id, app.user_id(), 'owner');
  perform app.require((select count(*) from public.memberships m join public.workspaces w on w.id = m.workspace_id
    where m.user_id = app.user_id() and m.role = 'owner' and w.plan = 'free' and w.deleted_at is null) <= app.max_free_workspaces(), 402, 'plan_limit_reached');
  perform app.fund(app.user_id(), p_id);
end $$;
--> statement-breakpoint
-- The invite of a token: whoever invited was shown it, or else it was mailed, and then leads to the newest invite of that address and workspace,
-- so that to invite somebody again, which may cause no mail, leaves them the links that they have.
create or replace function app.invite_by(p_token_hash text, p_mailed public.mails) returns public.invites
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  v_invite public.invites;
begin
  if p_mailed.id is not null then
    select * into v_invite from public.invites i where i.workspace_id = (p_mailed.data ->> 'workspaceId')::uuid and i.email = p_mailed.recipient
     order by i.accepted_at is not null, i.id desc limit 1;
  else
    select * into v_invite from public.invites i where i.token_hash = p_token_hash;
  end if;
  return v_invite;
end $$;
--> statement-breakpoint
-- Joins the workspace of an invite as the current user, and lets the rest of the transaction see it; idempotent. Who has the
-- token that was mailed has proved the address with it; the one that whoever invited was shown is for who has before.
create or replace function app.accept_invite(p_token_hash text) returns uuid
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_mailed public.mails;
  v_invite public.invites;
  v_user public.users;
  v_plan text;
begin
  perform app.require(app.workspace_id() is null, 403, 'forbidden');
  select m.* into v_mailed from public.mails m where m.token_hash = p_token_hash and m.kind = 'invite';
  v_invite := app.invite_by(p_token_hash, v_mailed);
  select * into v_user from public.users u where u.id = app.user_id();
  perform app.require(v_invite.email = v_user.email, 404, 'not_found');
  if v_user.email_verified_at is null then
    perform app.require(v_mailed.id is not null, 403, 'email_not_verified');
    -- The address and its person come before the workspace, and after it the free credits that the proof may bring.
    perform app.turn_of_account(v_user.email, v_user.id);
  end if;
  select w.plan into v_plan from public.workspaces w
   where w.id = v_invite.workspace_id and w.deleted_at is null for no key update;
  perform app.require(found, 404, 'not_found');
  -- Again, under the workspace's lock: it may have been accepted, deleted or made again meanwhile.
  v_invite := app.invite_by(p_token_hash, v_mailed);
  perform app.require(v_invite.id is not null, 404, 'not_found');
  if v_user.email_verified_at is null then
    perform app.require(app.prove_email(v_user.id, v_user.email), 404, 'not_found');
  end if;
  perform app.set_context(app.context() || jsonb_build_object('workspaceId', v_invite.workspace_id, 'role', 'viewer'));
  if v_invite.accepted_at is not null then
    perform app.require(exists (select from public.memberships m
      where m.workspace_id = v_invite.workspace_id and m.user_id = app.user_id()), 409, 'invite_used');
    return v_invite.workspace_id;
  end if;
  perform app.require(v_invite.expires_at > clock_timestamp(), 409, 'invite_expired');
  insert into public.memberships (workspace_id, user_id, role)
  values (v_invite.workspace_id, app.user_id(), v_invite.role) on conflict do nothing;
  update public.invites set accepted_at = now() where token_hash = v_invite.token_hash;
  perform app.require(coalesce(app.max_members(v_plan) >=
    (select count(*) from public.memberships m where m.workspace_id = v_invite.workspace_id), true), 402, 'plan_limit_reached');
  return v_invite.workspace_id;
end $$;
--> statement-breakpoint
-- The caller's own, for what compares it, and first looks it up in a transaction without an action: tenants see the rows of
-- fellow members, so this column is granted to nobody.
create or replace function app.own_password_hash() returns text
  language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select u.password_hash from public.users u
   where u.id = app.user_id() and coalesce(app.context() ->> 'action', 'session.prove') = 'session.prove'
$$;
--> statement-breakpoint
-- Changes the caller's password. Of two changes at once only the first knew the current one.
create or replace function app.change_password(p_current text, p_password_hash text) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_user constant uuid := app.user_id();
  v_current text;
begin
  perform app.require(app.context() ->> 'action' = 'password.update' and app.is_sealed(p_password_hash), 403, 'forbidden');
  select u.password_hash into v_current from public.users u where u.id = v_user for no key update;
  perform app.require(v_current = p_current, 401, 'invalid_credentials');
  update public.users u set password_hash = p_password_hash, updated_at = now() where u.id = v_user;
  perform app.record('password.update', 'user', v_user, null, null);
end $$;
