-- The audit log: written by triggers, append-only, chained by hashes.

-- Writes an audit row of what the context names.
create or replace function app.write_audit(p_context jsonb, p_type text, p_id uuid, p_before jsonb, p_after jsonb) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_actor text := p_context ->> 'actor';
  v_request jsonb := p_context -> 'request';
begin
  insert into public.audit_logs
    (workspace_id, action, actor_type, actor_id, resource_type, resource_id, before, after, ip, user_agent, request_id)
  values (
    (p_context ->> 'workspaceId')::uuid, p_context ->> 'action', split_part(v_actor, ':', 1), nullif(split_part(v_actor, ':', 2), '')::uuid,
    p_type, p_id, p_before, p_after, v_request ->> 'ip', v_request ->> 'userAgent', v_request ->> 'id');
end $$;
--> statement-breakpoint
-- Writes one audit row of the current action by the current actor, for what no single changed row shows.
create or replace function app.record(p_action text, p_type text, p_id uuid, p_before jsonb, p_after jsonb) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
begin
  if p_action is distinct from v_context ->> 'action' then
    raise exception 'the action is %', v_context ->> 'action' using errcode = 'insufficient_privilege';
  end if;
  perform app.write_audit(v_context, p_type, p_id, p_before, p_after);
end $$;
--> statement-breakpoint
-- Writes the audit row of a changed row. Arguments: the noun of the resource, then the columns that may be shown.
-- Only the table whose noun the current action names writes, so one action leaves one kind of row. Without a context only
-- the tables' owner changes anything: whoever else has none has thrown it away.
create or replace function app.audit() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_context jsonb := app.context();
  v_action text := v_context ->> 'action';
  v_before jsonb;
  v_after jsonb;
  v_row jsonb;
  v_shown_before jsonb;
  v_shown_after jsonb;
begin
  if v_context is null and not pg_has_role(session_user, (select c.relowner from pg_class c where c.oid = TG_RELID), 'member') then
    raise exception 'who changes % has to be known', TG_TABLE_NAME using errcode = 'insufficient_privilege';
  end if;
  if split_part(v_action, '.', 1) is distinct from TG_ARGV[0] then
    return null;
  end if;
  -- What a new one replaces leaves no row of its own.
  if TG_OP = 'DELETE' and split_part(v_action, '.', 2) = 'create' then
    return null;
  end if;
  v_before := case when TG_OP <> 'INSERT' then to_jsonb(old) end;
  v_after := case when TG_OP <> 'DELETE' then to_jsonb(new) end;
  v_row := coalesce(v_after, v_before);
  select jsonb_object_agg(key, v_before -> key) filter (where v_before is not null),
         jsonb_object_agg(key, v_after -> key) filter (where v_after is not null)
    into v_shown_before, v_shown_after
    from unnest(TG_ARGV[1:]) key
   where TG_OP <> 'UPDATE' or v_before -> key is distinct from v_after -> key;
  if v_shown_before is not null or v_shown_after is not null then
    perform app.write_audit(
      v_context, TG_ARGV[0], coalesce(v_row ->> 'id', v_row ->> 'user_id')::uuid, v_shown_before, v_shown_after);
  end if;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger audit after insert or update or delete on users
  for each row execute function app.audit('user', 'email', 'name', 'leaves_at');
--> statement-breakpoint
create or replace trigger audit after insert or update on sessions
  for each row execute function app.audit('session', 'user_id', 'revoked_at', 'refresh_generation', 'proved_at', 'second_factor');
--> statement-breakpoint
create or replace trigger audit after insert or update or delete on totp_secrets
  for each row execute function app.audit('totp', 'confirmed_at', 'created_at');
--> statement-breakpoint
create or replace trigger audit after insert or delete on passkeys
  for each row execute function app.audit('passkey', 'name', 'backed_up');
--> statement-breakpoint
create or replace trigger audit after insert or update on workspaces
  for each row execute function app.audit('workspace', 'name', 'slug', 'plan', 'second_factor_required', 'deleted_at');
--> statement-breakpoint
create or replace trigger audit after update or delete on memberships
  for each row execute function app.audit('member', 'user_id', 'role');
--> statement-breakpoint
create or replace trigger audit after insert or update or delete on invites
  for each row execute function app.audit('invite', 'email', 'role', 'expires_at', 'accepted_at');
--> statement-breakpoint
create or replace trigger audit after insert or update on api_keys
  for each row execute function app.audit('api_key', 'name', 'start', 'scopes', 'expires_at', 'revoked_at');
--> statement-breakpoint
-- An output is its generation's change.
create or replace trigger audit after insert or update or delete on assets
  for each row when (current_user <> 'app_jobs')
  execute function app.audit('asset', 'name', 'kind', 'mime_type', 'size', 'sha256', 'status', 'tags');
--> statement-breakpoint
create or replace trigger audit after insert or update of status on asset_exports
  for each row execute function app.audit('export', 'asset_id', 'channel', 'status', 'output_id', 'refusal');
--> statement-breakpoint
-- That it starts is nobody's action.
create or replace trigger audit after insert or update of task, kind, status, model, prompt, text, style, count,
  input_asset_ids, error, credits_reserved, credits_charged on generations
  for each row when (new.status <> 'running')
  execute function app.audit('generation', 'task', 'kind', 'status', 'model', 'prompt', 'text', 'style', 'count',
    'input_asset_ids', 'error', 'credits_reserved', 'credits_charged');
--> statement-breakpoint
create or replace trigger audit after insert or update or delete on webhook_endpoints
  for each row execute function app.audit('webhook', 'url', 'events', 'disabled_at', 'deleted_at');
--> statement-breakpoint
-- Changes a plan, with an audit row by the system. For the operator, as owner of the schema: an update by hand leaves
-- no audit row.
create or replace function app.set_plan(p_workspace uuid, p_plan text) returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform app.set_context(jsonb_build_object(
    'workspaceId', p_workspace, 'role', 'owner', 'actor', 'system:', 'action', 'workspace.update'));
  update public.workspaces set plan = p_plan, updated_at = now() where id = p_workspace and deleted_at is null;
  if not found then
    raise exception 'there is no workspace %', p_workspace using errcode = 'no_data_found';
  end if;
  perform app.fund_owners(array[p_workspace]);
end $$;
--> statement-breakpoint
-- The hash of a row, given the hash of the one before it.
create or replace function app.audit_hash(p_previous text, p_row audit_logs) returns text
  language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  return encode(sha256(convert_to(p_previous || jsonb_build_array(
    p_row.sequence, p_row.id, p_row.workspace_id, p_row.action, p_row.actor_type, p_row.actor_id, p_row.resource_type,
    p_row.resource_id, p_row.before, p_row.after, p_row.ip, p_row.user_agent, p_row.request_id,
    extract(epoch from p_row.created_at))::text, 'UTF8')), 'hex');
end $$;
--> statement-breakpoint
-- Appends a row to its workspace's chain; the row lock on the head makes concurrent ones wait until the first commits.
create or replace function app.chain_audit() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_head public.audit_heads;
begin
  if new.workspace_id is null then
    return new;
  end if;
  select * into v_head from public.audit_heads h where h.workspace_id = new.workspace_id for update;
  if not found then
    insert into public.audit_heads (workspace_id, sequence, hash) values (new.workspace_id, 0, '')
      on conflict (workspace_id) do update set sequence = audit_heads.sequence
      returning * into v_head;
  end if;
  new.id := app.uuid_v7();
  new.sequence := v_head.sequence + 1;
  new.hash := app.audit_hash(v_head.hash, new);
  update public.audit_heads set sequence = new.sequence, hash = new.hash where workspace_id = new.workspace_id;
  return new;
end $$;
--> statement-breakpoint
create or replace trigger chain before insert on audit_logs for each row execute function app.chain_audit();
--> statement-breakpoint
create or replace function app.refuse_change() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception '% is append-only', TG_TABLE_NAME using errcode = 'insufficient_privilege';
end $$;
--> statement-breakpoint
create or replace trigger append_only before update or truncate on audit_logs
  for each statement execute function app.refuse_change();
--> statement-breakpoint
create or replace trigger undeletable before delete on audit_logs
  for each statement when (current_user <> 'app_retention') execute function app.refuse_change();
--> statement-breakpoint
create or replace trigger append_only before update or truncate on audit_checkpoints
  for each statement execute function app.refuse_change();
--> statement-breakpoint
create or replace trigger undeletable before delete on audit_checkpoints
  for each statement when (current_user <> 'app_retention') execute function app.refuse_change();
--> statement-breakpoint
create or replace trigger append_only before update or truncate on credit_entries
  for each statement execute function app.refuse_change();
--> statement-breakpoint
create or replace trigger undeletable before delete on credit_entries
  for each statement when (current_user <> 'app_retention') execute function app.refuse_change();
--> statement-breakpoint
-- How long entries of a workspace's audit log are kept.
create or replace function app.audit_life() returns interval language sql immutable parallel safe
  return interval '2 years';
--> statement-breakpoint
-- How long data is kept, and the only way to delete it for its age: up to p_max rows of a kind, the oldest first. What
-- somebody holds is left for the next time; a second run at once finds nothing to do.
create or replace function app.prune(p_kind text, p_max integer) returns integer
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_count integer := 0;
  v_user uuid;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('prune ' || p_kind, 0)) then
    return 0;
  end if;
  case p_kind
    when 'sessions' then
      delete from public.sessions where ctid = any(array(
        select s.ctid from public.sessions s where least(s.revoked_at, s.expires_at) < now() - interval '30 days'
         order by least(s.revoked_at, s.expires_at) limit p_max for update skip locked));
    when 'users' then
      -- Whom nobody can enter: somebody else has proved the address. Who has another way in is looked at again as much later.
      for v_user in select u.id from public.users u where u.email is null and u.updated_at < now() - interval '30 days'
        order by u.updated_at limit p_max for update skip locked
      loop
        if exists (select from public.accounts a where a.user_id = v_user) or exists (select from public.passkeys p where p.user_id = v_user)
          or exists (select from public.sessions s where s.user_id = v_user) or exists (select from public.memberships m where m.user_id = v_user)
        then
          update public.users u set updated_at = now() where u.id = v_user;
        else
          delete from public.users u where u.id = v_user;
          perform app.write_audit(app.context() || '{"action": "user.erase"}', 'user', v_user, null, null);
          v_count := v_count + 1;
        end if;
      end loop;
      return v_count;
    when 'spent_tokens' then
      -- The Worker, by whose clock a token is over, may be behind.
      delete from public.spent_tokens where ctid = any(array(
        select t.ctid from public.spent_tokens t where t.expires_at < now() - interval '5 minutes' order by t.expires_at limit p_max));
    when 'mails' then
      -- As long as they count for limits, and a little longer for whoever asks what became of one.
      delete from public.mails where ctid = any(array(
        select m.ctid from public.mails m where m.created_at < now() - interval '30 days'
         order by m.created_at limit p_max for update skip locked));
    when 'erased_accounts' then
      -- Longer than a front end keeps a session that nobody uses.
      delete from public.erased_accounts where ctid = any(array(
        select e.ctid from public.erased_accounts e where e.erased_at < now() - interval '90 days' order by e.erased_at limit p_max));
    when 'bounces' then
      -- A mailbox may be there again.
      delete from public.bounces where ctid = any(array(
        select b.ctid from public.bounces b where b.created_at < now() - interval '30 days' order by b.created_at limit p_max));
    when 'invites' then
      delete from public.invites where ctid = any(array(
        select i.ctid from public.invites i where least(i.accepted_at, i.expires_at) < now() - interval '30 days'
         order by least(i.accepted_at, i.expires_at) limit p_max for update skip locked));
    when 'api_keys' then
      delete from public.api_keys where ctid = any(array(
        select k.ctid from public.api_keys k where least(k.revoked_at, k.expires_at) < now() - interval '1 year'
         order by least(k.revoked_at, k.expires_at) limit p_max for update skip locked));
    when 'idempotency_keys' then
      delete from public.idempotency_keys where ctid = any(array(
        select i.ctid from public.idempotency_keys i where i.created_at < now() - interval '24 hours'
         order by i.created_at limit p_max));
    when 'events' then
      delete from public.generation_events where ctid = any(array(
        select e.ctid from public.generation_events e
         where e.created_at < now() - interval '30 days' and not exists (select from public.generations g
           where g.workspace_id = e.workspace_id and g.id = e.generation_id and g.status in ('queued', 'running'))
         order by e.created_at limit p_max));
    when 'deliveries' then
      delete from public.webhook_deliveries where ctid = any(array(
        select d.ctid from public.webhook_deliveries d
         where d.ended_at < now() - interval '30 days' and d.status <> 'pending'
         order by d.ended_at limit p_max for update skip locked));
    when 'audit_outside' then
      delete from public.audit_logs where ctid = any(array(
        select a.ctid from public.audit_logs a
         where a.workspace_id is null and a.id < app.uuid_at(now() - interval '90 days')
         order by a.workspace_id, a.id limit p_max));
    when 'audit_entries' then
      -- Up to a checkpoint that is as old, where verification then begins.
      delete from public.audit_logs where ctid = any(array(
        select a.ctid from public.audit_logs a
         where a.workspace_id is not null and a.id < app.uuid_at(now() - app.audit_life())
           and exists (select from public.audit_checkpoints c where c.workspace_id = a.workspace_id
             and c.sequence >= a.sequence and c.created_at < now() - app.audit_life())
         order by a.id limit p_max));
    when 'audit_checkpoints' then
      -- Each workspace keeps the newest of the old ones.
      delete from public.audit_checkpoints where ctid = any(array(
        select c.ctid from public.audit_checkpoints c
         where c.created_at < now() - app.audit_life() and exists (select from public.audit_checkpoints newer
           where newer.workspace_id = c.workspace_id and newer.sequence > c.sequence
             and newer.created_at < now() - app.audit_life())
         order by c.created_at limit p_max));
  end case;
  get diagnostics v_count = row_count;
  return v_count;
end $$;
