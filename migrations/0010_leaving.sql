-- Leaving: what somebody has deleted stays for some days, in which they can undo it, and then goes for good.

-- Between the wish of a person to be deleted and the deletion.
create or replace function app.user_grace() returns interval language sql immutable parallel safe
  return interval '7 days';
--> statement-breakpoint
-- Between the deletion of a workspace and the removal of what is in it.
create or replace function app.workspace_grace() returns interval language sql immutable parallel safe
  return interval '30 days';
--> statement-breakpoint
-- Whether a workspace has an owner who stays, other than p_but.
create or replace function app.has_owner(p_workspace uuid, p_but uuid) returns boolean
  language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return exists (select from public.memberships m join public.users u on u.id = m.user_id
    where m.workspace_id = p_workspace and m.role = 'owner' and m.user_id <> p_but and u.leaves_at is null);
end $$;
--> statement-breakpoint
-- The caller is to be deleted. Their sessions end, their keys stop (the gate asks for `leaves_at`), and their open invites are
-- withdrawn, so that nobody joins what goes with them. Answers when they go, where streams may be open, by which keys, and
-- which mail is owed; or, with the refusal, the names of workspaces with other members and no other owner. Twice is once.
create or replace function app.leave(p_mail uuid) returns jsonb
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_user public.users;
  v_workspaces uuid[];
  v_orphans jsonb;
  v_mails uuid[] := '{}';
begin
  perform app.require(app.context() ->> 'action' = 'user.delete', 403, 'forbidden');
  select * into v_user from public.users u where u.id = app.user_id() for no key update;
  v_workspaces := array(select m.workspace_id from public.memberships m where m.user_id = v_user.id);
  perform from public.workspaces w where w.id = any(v_workspaces) order by w.id for no key update;
  if v_user.leaves_at is null then
    select jsonb_agg(w.name order by w.id) into v_orphans from public.workspaces w
      join public.memberships m on m.workspace_id = w.id and m.user_id = v_user.id and m.role = 'owner'
     where w.id = any(v_workspaces) and w.deleted_at is null and not app.has_owner(w.id, v_user.id)
       and exists (select from public.memberships o where o.workspace_id = w.id and o.user_id <> v_user.id);
    if v_orphans is not null then
      return jsonb_build_object('refusal', 'last_owner', 'orphans', v_orphans);
    end if;
    update public.users u set leaves_at = now() + app.user_grace(), updated_at = now() where u.id = v_user.id returning * into v_user;
    delete from public.invites i where i.workspace_id = any(v_workspaces) and i.invited_by = v_user.id and i.accepted_at is null;
    insert into public.outbox (workspace_id, kind, subject_id, available_at) values (app.nowhere(), 'user.erase', v_user.id, v_user.leaves_at)
    on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at, sends = 0;
    if v_user.email_verified_at is not null and app.owe_mail(p_mail, 'leaving', v_user.email, v_user.id,
      jsonb_build_object('day', to_char(v_user.leaves_at at time zone 'utc', 'YYYY-MM-DD'))) then
      v_mails := array[p_mail];
    end if;
  end if;
  return app.end_sessions(v_user.id) || jsonb_build_object('leavesAt', v_user.leaves_at, 'mails', v_mails, 'keys', array(
    select jsonb_build_object('workspaceId', k.workspace_id, 'hash', k.key_hash) from public.api_keys k
     where k.workspace_id = any(v_workspaces) and k.created_by = v_user.id and k.revoked_at is null));
end $$;
--> statement-breakpoint
-- Somebody who was to be deleted has signed in, and stays. False if they are gone by now.
create or replace function app.stay(p_user uuid) returns boolean
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
  v_base constant jsonb := jsonb_build_object('actor', 'user:' || p_user, 'action', 'user.restore',
    'request', v_context -> 'request');
  v_mail constant uuid := app.uuid_v7();
  v_user public.users;
begin
  perform app.set_context(v_base);
  update public.users u set leaves_at = null, updated_at = now() where u.id = p_user and u.leaves_at is not null returning * into v_user;
  if found then
    delete from public.outbox o where o.workspace_id = app.nowhere() and o.kind = 'user.erase' and o.subject_id = p_user;
    if v_user.email_verified_at is not null then
      perform app.owe_mail(v_mail, 'staying', v_user.email, p_user, '{}');
      -- Nobody sends it at the commit: the next sweep does.
      update public.outbox o set available_at = now() where o.workspace_id = app.nowhere() and o.kind = 'mail' and o.subject_id = v_mail;
    end if;
  end if;
  perform app.set_context(coalesce(v_context, v_base));
  return exists (select from public.users u where u.id = p_user and u.leaves_at is null);
end $$;
--> statement-breakpoint
-- Open sessions that a person may have: another one ends the oldest.
create or replace function app.max_sessions() returns integer language sql immutable parallel safe
  return 100;
--> statement-breakpoint
-- A session begins, however: its person is there again, and has so many at most that all of them can be ended at once. Who
-- signs in holds their row, so of two at once the second sees the first one's.
create or replace function app.note_return() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update public.sessions s set revoked_at = now() where s.id = any(array(
    select o.id from public.sessions o where o.user_id = new.user_id and o.id <> new.id and o.revoked_at is null
     order by o.id desc offset app.max_sessions() - 1 limit 1000));
  if exists (select from public.users u where u.id = new.user_id and u.leaves_at is not null) then
    perform app.stay(new.user_id);
  end if;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger return after insert on sessions for each row execute function app.note_return();
--> statement-breakpoint
-- Deletes a person whose grace is over: the row with all that hangs on it, and their mails. Workspaces that they had alone are
-- deleted; in others their keys are revoked, and if they are the last owner after all, the member of the highest role who has
-- been there longest becomes one. Whoever signs in at the same moment either came first, and there is nothing to do, or finds
-- nobody; a session of the front end that was there before makes no new account. What the audit log says of them stays there, by their id, as long as entries are kept. Answers the deleted workspaces,
-- and those where streams may be open.
create or replace function app.erase_user(p_user uuid) returns jsonb
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
  v_user public.users;
  v_member record;
  v_heir uuid;
  v_deleted uuid[] := '{}';
  v_left uuid[] := '{}';
begin
  perform app.require(v_context ->> 'action' = 'user.erase', 403, 'forbidden');
  select * into v_user from public.users u where u.id = p_user for update;
  if v_user.leaves_at > now() then
    update public.outbox o set available_at = v_user.leaves_at, sends = 0
     where o.workspace_id = app.nowhere() and o.kind = 'user.erase' and o.subject_id = p_user;
    return jsonb_build_object('deleted', v_deleted);
  end if;
  delete from public.outbox o where o.workspace_id = app.nowhere() and o.kind = 'user.erase' and o.subject_id = p_user;
  if v_user.leaves_at is null then
    return jsonb_build_object('deleted', v_deleted);
  end if;
  perform from public.workspaces w where w.id = any(array(select m.workspace_id from public.memberships m where m.user_id = p_user))
    order by w.id for no key update;
  for v_member in select m.workspace_id, m.role, w.plan from public.memberships m join public.workspaces w on w.id = m.workspace_id
    where m.user_id = p_user and w.deleted_at is null order by w.id
  loop
    if exists (select from public.memberships o where o.workspace_id = v_member.workspace_id and o.user_id <> p_user) then
      perform app.set_context(v_context || jsonb_build_object('workspaceId', v_member.workspace_id, 'role', 'owner',
        'plan', v_member.plan, 'action', 'workspace.transfer'));
      if v_member.role = 'owner' and not app.has_owner(v_member.workspace_id, p_user) then
        select m.user_id into v_heir from public.memberships m join public.users u on u.id = m.user_id
         where m.workspace_id = v_member.workspace_id and m.user_id <> p_user
         order by u.leaves_at is not null, app.role_rank(m.role) desc, m.entry_id limit 1;
        update public.memberships m set role = 'owner' where m.workspace_id = v_member.workspace_id and m.user_id = v_heir;
        perform app.record('workspace.transfer', 'workspace', v_member.workspace_id, jsonb_build_object('owner_id', p_user),
          jsonb_build_object('owner_id', v_heir));
      end if;
      perform app.set_context(app.context() || '{"action": "member.remove"}');
      update public.api_keys k set revoked_at = now()
       where k.workspace_id = v_member.workspace_id and k.created_by = p_user and k.revoked_at is null;
      delete from public.memberships m where m.workspace_id = v_member.workspace_id and m.user_id = p_user;
      if (select count(*) from public.memberships m where m.workspace_id = v_member.workspace_id and m.role = 'owner') = 1 then
        v_left := v_left || v_member.workspace_id;
      end if;
    else
      perform app.set_context(v_context || jsonb_build_object('workspaceId', v_member.workspace_id, 'role', 'owner',
        'plan', v_member.plan, 'action', 'workspace.delete'));
      perform app.end_workspace(v_member.workspace_id);
      v_deleted := v_deleted || v_member.workspace_id;
    end if;
  end loop;
  -- Free credits that were theirs there are gone: whoever is left as the owner may have their own.
  perform app.fund_owners(v_left);
  -- Neither name nor address is written anew.
  perform app.set_context(v_context || '{"action": null}');
  update public.outbox o set available_at = now(), sends = 0 where o.workspace_id = app.nowhere() and o.kind = 'user.export'
     and o.subject_id in (select e.id from public.user_exports e where e.user_id = p_user);
  delete from public.mails m where m.recipient = v_user.email and v_user.email_verified_at is not null;
  insert into public.erased_accounts (account_hash)
  select app.hash_account(a.provider, a.provider_account_id) from public.accounts a where a.user_id = p_user
  on conflict (account_hash) do update set erased_at = now();
  delete from public.users u where u.id = p_user;
  perform app.write_audit(v_context, 'user', p_user, jsonb_build_object('leaves_at', v_user.leaves_at), null);
  return jsonb_build_object('deleted', v_deleted);
end $$;
--> statement-breakpoint
-- A workspace that nobody has any more: a job removes it.
create or replace function app.end_workspace(p_workspace uuid) returns void
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  delete from public.memberships m where m.workspace_id = p_workspace;
  update public.webhook_endpoints e set disabled_at = now() where e.workspace_id = p_workspace and e.disabled_at is null;
  update public.workspaces w set deleted_at = now(), updated_at = now() where w.id = p_workspace;
  insert into public.outbox (workspace_id, kind, subject_id, available_at) values (p_workspace, 'workspace.delete', p_workspace, now())
  on conflict (workspace_id, kind, subject_id) do update set available_at = excluded.available_at, sends = 0;
end $$;
--> statement-breakpoint
-- Whether the current workspace is deleted for good: its grace is over, or nobody is left to restore it.
create or replace function app.is_over() returns boolean
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return exists (select from public.workspaces w where w.id = app.workspace_id() and w.deleted_at is not null
    and (w.deleted_at <= now() - app.workspace_grace() or not exists (select from public.memberships m where m.workspace_id = w.id)));
end $$;
--> statement-breakpoint
-- The rest of the transaction acts in a deleted workspace, in its turn, to restore it as its owner; in one that is not
-- deleted there is nothing to restore.
create or replace function app.enter_deleted(p_workspace uuid) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace public.workspaces;
  v_role text;
begin
  perform app.require(app.workspace_id() is null and app.context() ->> 'action' = 'workspace.restore', 403, 'forbidden');
  perform from public.users u where u.id = app.user_id() for no key update;
  select w.* into v_workspace from public.workspaces w join public.memberships m on m.workspace_id = w.id
   where w.id = p_workspace and m.user_id = app.user_id() for no key update of w;
  -- As late as it is by now: while this waited, a job that began later may have removed a part.
  perform app.require(found and coalesce(v_workspace.deleted_at > clock_timestamp() - app.workspace_grace(), true), 404, 'not_found');
  select m.role into v_role from public.memberships m where m.workspace_id = p_workspace and m.user_id = app.user_id();
  perform app.set_context(app.context() || jsonb_build_object('workspaceId', p_workspace, 'role', v_role, 'plan', v_workspace.plan));
  perform app.require(v_role = 'owner', 403, 'forbidden');
  perform app.require(v_workspace.deleted_at is null or v_workspace.plan <> 'free' or (select count(*) from public.memberships m
    join public.workspaces w on w.id = m.workspace_id where m.user_id = app.user_id() and m.role = 'owner' and w.plan = 'free'
      and w.deleted_at is null) < app.max_free_workspaces(), 402, 'plan_limit_reached');
end $$;
--> statement-breakpoint
-- Removes what callers may not: the ledger, events, jobs and the audit log of a workspace that is deleted for good, up to p_max
-- rows of each, and last the workspace. p_empty: the rest is gone. Checkpoints of its audit log stay (app.prune). Answers
-- `waits` during the grace, `more`, `later` while providers are told that nobody wants their jobs, and uploads come to their end, or `done`.
create or replace function app.purge_workspace(p_max integer, p_empty boolean) returns text
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  v_workspace constant uuid := app.workspace_id();
  v_count integer;
  v_total integer := 0;
  v_waits boolean;
begin
  if not app.is_over() then
    return case when exists (select from public.generations g where g.workspace_id = v_workspace and g.status in ('queued', 'running'))
      then 'more' else 'waits' end;
  end if;
  delete from public.generation_events e where e.ctid = any(array(
    select x.ctid from public.generation_events x where x.workspace_id = v_workspace order by x.sequence limit p_max));
  get diagnostics v_count = row_count;
  v_total := v_total + v_count;
  delete from public.credit_entries e where e.ctid = any(array(
    select x.ctid from public.credit_entries x where x.workspace_id = v_workspace order by x.id limit p_max));
  get diagnostics v_count = row_count;
  v_total := v_total + v_count;
  delete from public.audit_logs a where a.ctid = any(array(
    select x.ctid from public.audit_logs x where x.workspace_id = v_workspace order by x.sequence limit p_max));
  get diagnostics v_count = row_count;
  v_total := v_total + v_count;
  -- Providers are told by what these say.
  v_waits := exists (select from public.outbox o where o.workspace_id = v_workspace and o.kind = 'prediction.cancel');
  if not v_waits then
    delete from public.provider_jobs j where j.ctid = any(array(
      select x.ctid from public.provider_jobs x where x.workspace_id = v_workspace order by x.id limit p_max));
    get diagnostics v_count = row_count;
    v_total := v_total + v_count;
  end if;
  if v_total > 0 or p_empty is not true then
    return 'more';
  end if;
  if v_waits or exists (select from public.outbox o where o.workspace_id = v_workspace and o.kind = 'upload.end') then
    return 'later';
  end if;
  delete from public.generations g where g.ctid = any(array(
    select x.ctid from public.generations x where x.workspace_id = v_workspace order by x.id limit p_max));
  get diagnostics v_count = row_count;
  if v_count > 0 then
    return 'more';
  end if;
  delete from public.event_heads h where h.workspace_id = v_workspace;
  delete from public.workspace_counters c where c.workspace_id = v_workspace;
  delete from public.audit_heads h where h.workspace_id = v_workspace;
  delete from public.memberships m where m.workspace_id = v_workspace;
  delete from public.workspaces w where w.id = v_workspace;
  perform app.write_audit(app.context() || '{"workspaceId": null, "action": "workspace.purge"}', 'workspace', v_workspace, null, null);
  return 'done';
end $$;
--> statement-breakpoint
-- The caller wants what is known of them: made by a job, kept for a day, and until then the same, unless nothing has come of it
-- within an hour. Answers its id, when it is deleted if it is there, and whether it is new.
create or replace function app.ask_export(p_id uuid) returns jsonb
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_export public.user_exports;
begin
  perform app.require(app.context() ->> 'action' = 'user.export', 403, 'forbidden');
  perform from public.users u where u.id = app.user_id() for no key update;
  select * into v_export from public.user_exports e where e.user_id = app.user_id();
  if v_export.id is null or coalesce(v_export.expires_at, v_export.created_at + interval '1 hour') <= clock_timestamp() then
    insert into public.user_exports (user_id, id) values (app.user_id(), p_id)
    on conflict (user_id) do update set id = excluded.id, expires_at = null, created_at = now() returning * into v_export;
    insert into public.outbox (workspace_id, kind, subject_id, available_at) values (app.nowhere(), 'user.export', p_id, now() + interval '30 seconds');
    perform app.record('user.export', 'user', app.user_id(), null, null);
  end if;
  return jsonb_build_object('id', v_export.id, 'expiresAt', v_export.expires_at, 'isNew', v_export.id = p_id);
end $$;
--> statement-breakpoint
-- Of rows that come newest first, as many as fit into 1.5 MB, oldest first.
create or replace function app.newest(p_rows jsonb[]) returns jsonb
  language sql immutable set search_path = pg_catalog, pg_temp as $$
  select coalesce(jsonb_agg(r.row order by r.age desc), '[]') from (
    select u.row, u.age, sum(octet_length(u.row::text)) over (order by u.age) as size
      from unnest(p_rows) with ordinality u (row, age)) r
   where r.size <= 1500000
$$;
--> statement-breakpoint
-- What is known of whoever asked for that export, if it is to be made; null if its file is to be deleted. Of what may be much it
-- has the newest 5,000, so that all of it is one answer of the database; what workspaces know is theirs.
create or replace function app.read_export(p_id uuid) returns jsonb
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_user public.users;
begin
  select u.* into v_user from public.user_exports e join public.users u on u.id = e.user_id
   where e.id = p_id and coalesce(e.expires_at > now(), true);
  if not found then
    return null;
  end if;
  return jsonb_build_object(
    'exportedAt', now(),
    'user', jsonb_build_object('id', v_user.id, 'email', v_user.email, 'emailVerifiedAt', v_user.email_verified_at, 'name', v_user.name,
      'language', v_user.language, 'hasPassword', v_user.password_hash is not null, 'createdAt', v_user.created_at),
    'signInProviders', (select coalesce(jsonb_agg(jsonb_build_object('provider', a.provider, 'account', a.provider_account_id,
      'since', a.created_at)), '[]') from public.accounts a where a.user_id = v_user.id),
    'factors', app.factors_of(v_user.id),
    'passkeys', (select coalesce(jsonb_agg(jsonb_build_object('id', p.id, 'name', p.name, 'createdAt', p.created_at,
      'lastUsedAt', p.last_used_at) order by p.id), '[]') from public.passkeys p where p.user_id = v_user.id),
    'workspaces', app.newest(array(select jsonb_build_object('id', w.id, 'name', w.name, 'role', m.role, 'since', m.created_at,
      'deletedAt', w.deleted_at)
      from public.memberships m join public.workspaces w on w.id = m.workspace_id
     where m.user_id = v_user.id order by w.id desc limit 5000)),
    'apiKeys', app.newest(array(select jsonb_build_object('workspaceId', k.workspace_id, 'id', k.id, 'name', k.name, 'start', k.start,
      'scopes', k.scopes, 'createdAt', k.created_at, 'revokedAt', k.revoked_at, 'lastUsedAt', k.last_used_at)
      from public.memberships m join public.api_keys k on k.workspace_id = m.workspace_id
     where m.user_id = v_user.id and k.created_by = v_user.id order by k.id desc limit 5000)),
    'invitesSent', app.newest(array(select jsonb_build_object('workspaceId', i.workspace_id, 'email', i.email, 'role', i.role,
      'createdAt', i.created_at, 'acceptedAt', i.accepted_at)
      from public.memberships m join public.invites i on i.workspace_id = m.workspace_id
     where m.user_id = v_user.id and i.invited_by = v_user.id order by i.id desc limit 5000)),
    'sessions', app.newest(array(select jsonb_build_object('id', s.id, 'ip', s.ip, 'country', s.country, 'device', s.device,
      'userAgent', s.user_agent, 'createdAt', s.created_at, 'lastUsedAt', coalesce(s.refreshed_at, s.created_at),
      'endedAt', s.revoked_at) from public.sessions s where s.user_id = v_user.id order by s.id desc limit 5000)),
    'mails', app.newest(array(select jsonb_build_object('kind', m.kind, 'to', m.recipient, 'status', m.status,
      'createdAt', m.created_at) from public.mails m where m.user_id = v_user.id order by m.id desc limit 5000)),
    'auditLog', app.newest(array(select jsonb_build_object('action', a.action, 'before', a.before, 'after', a.after, 'ip', a.ip,
      'userAgent', a.user_agent, 'createdAt', a.created_at)
      from public.audit_logs a where a.workspace_id is null and a.actor_id = v_user.id order by a.id desc limit 5000)));
end $$;
--> statement-breakpoint
-- The file is in storage: whoever asked for it is told, once, and it is deleted after a day. Null if nobody wants it any
-- more; else the mail, if one is owed.
create or replace function app.end_export(p_id uuid, p_mail uuid) returns jsonb
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_user public.users;
  v_export public.user_exports;
begin
  select u.* into v_user from public.users u
   where u.id = (select e.user_id from public.user_exports e where e.id = p_id) for no key update;
  select * into v_export from public.user_exports e where e.id = p_id;
  if v_user.id is null or v_export.id is null then
    return null;
  end if;
  if v_export.expires_at is null then
    update public.user_exports e set expires_at = now() + interval '1 day' where e.id = p_id returning * into v_export;
  else
    v_user.email_verified_at := null;
  end if;
  update public.outbox o set available_at = v_export.expires_at, sends = 0
   where o.workspace_id = app.nowhere() and o.kind = 'user.export' and o.subject_id = p_id;
  return jsonb_build_object('mails', case when v_user.email_verified_at is not null
    and app.owe_mail(p_mail, 'export', v_user.email, v_user.id, '{}') then array[p_mail] else '{}' end);
end $$;
--> statement-breakpoint
-- The file is deleted.
create or replace function app.forget_export(p_id uuid) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from public.user_exports e where e.id = p_id and e.expires_at <= now();
  delete from public.outbox o where o.workspace_id = app.nowhere() and o.kind = 'user.export' and o.subject_id = p_id;
end $$;
