-- Accounts and their addresses: who has which, the mails that prove it, and what a proved person gets.
--
-- An address belongs to whoever has proved it: by a code or link that was mailed there, by an invite that was, or by a
-- provider that says so in the front end's session. Until then it is a claim. Several accounts may claim an address, so
-- that a claim never keeps its owner out; and the first who proves it takes it from all of them:
--
--   - They lose the address and the links and codes that were on their way to it, and nothing else: what is in such an account
--     was made by its holder, who may be somebody else than the owner. So nobody who proves an address gets into an account
--     that only claimed it, and whoever claimed it gets nothing of what comes to the address from then on: no invite (those
--     need the proof, too), no link to a provider's account, no session.
--   - Whoever has signed in to such an account stays in it, and may prove another address; by password it can't be entered any
--     more, for there is no address to name it by.
--   - A link or code proves an address for the account that asked for it only, to somebody who is signed in to it: an owner
--     who follows the link of a stranger's account proves nothing for the stranger.
--   - A password that is reset by mail is that of the account that has proved the address, or of the claim whose device sets it, or of
--     a new one: never of another claim, in which a stranger may be signed in.
--   - Nobody takes an address that another account has proved.

-- Changes of who has an address come one after the other.
create or replace function app.turn_of_email(p_email text) returns void
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('email ' || p_email, 0));
end $$;
--> statement-breakpoint
-- The same, and then the rows of whoever claims it and of whoever is about to have it, in one order for all; mails come after.
create or replace function app.turn_of_account(p_email text, p_user uuid) returns void
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform app.turn_of_email(p_email);
  perform from public.users u
   where u.id = any(array(select c.id from public.users c where c.email = p_email) || p_user) order by u.id for update;
end $$;
--> statement-breakpoint
-- Those accounts have that address no longer, nor what is on its way there. They are at most as many as may claim one.
create or replace function app.lose_email(p_email text, p_users uuid[]) returns void
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
begin
  if cardinality(p_users) = 0 then
    return;
  end if;
  perform app.set_context(v_context || '{"action": "email.lose", "workspaceId": null}');
  update public.users u set email = null, updated_at = now() where u.id = any(p_users);
  update public.mails m set used_at = now() where m.user_id = any(p_users) and m.recipient = p_email and m.used_at is null;
  perform app.record('email.lose', 'user', l.id, jsonb_build_object('email', p_email), null) from unnest(p_users) l (id);
  perform app.set_context(v_context);
end $$;
--> statement-breakpoint
-- The address for an account that is about to claim it. An address has at most 20 claims, so that to prove it stays cheap: for
-- another one the oldest loses it whose account has no workspace, of these first whoever has no open mail that proves it (of one
-- network few have: app.owe_mail); if all have a workspace, the new account gets none (null).
create or replace function app.claim_email(p_email text) returns text
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_oldest uuid;
begin
  perform app.turn_of_email(p_email);
  if (select count(*) from (select from public.users u where u.email = p_email limit 20) c) < 20 then
    return p_email;
  end if;
  select u.id into v_oldest from public.users u where u.email = p_email and u.email_verified_at is null
     and not exists (select from public.memberships m where m.user_id = u.id)
   order by exists (select from public.mails m where m.user_id = u.id and m.recipient = p_email and m.kind = 'verify' and m.used_at is null
     and m.status not in ('void', 'refused') and coalesce(m.expires_at > now(), true)), u.id limit 1 for update;
  if not found then
    return null;
  end if;
  perform app.lose_email(p_email, array[v_oldest]);
  return p_email;
end $$;
--> statement-breakpoint
-- Somebody signs up, and from then on is the caller. Asked again within a quarter of an hour, with the same address and password (whose
-- hashes are the same: src/auth/passwords.ts), it is a second click, or an answer that was lost: they are signed in to the account
-- that they have. Only the newest claim is compared: whoever tries passwords by signing up makes newer ones, and so has one try, or as many
-- as they move their own claims away in that time by mails; none where there are so many that a newer one may get no address.
create or replace function app.register(p_id uuid, p_email text, p_name text, p_language text, p_password_hash text, p_mail uuid) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
  v_user uuid;
begin
  perform app.require(v_context ->> 'action' = 'user.create' and app.is_sealed(p_password_hash), 403, 'forbidden');
  perform app.turn_of_email(p_email);
  perform app.require(not exists (select from public.users u where u.email = p_email and u.email_verified_at is not null), 409, 'email_taken');
  select u.id into v_user from public.users u
   where u.id = (select c.id from public.users c where c.email = p_email order by c.id desc limit 1)
     and u.password_hash = p_password_hash and u.created_at > now() - interval '15 minutes'
     and u.disabled_at is null and u.leaves_at is null
     and (select count(*) from (select from public.users c where c.email = p_email limit 20) c) < 20 for update;
  -- Looked up once the row is theirs: a factor may have come while this waited.
  if v_user is not null and app.factors_of(v_user) = '{}' then
    perform app.set_context(v_context || jsonb_build_object('userId', v_user, 'actor', 'user:' || v_user, 'action', 'session.create'));
    return;
  end if;
  insert into public.users (id, email, name, language, password_hash)
  values (p_id, app.claim_email(p_email), p_name, p_language, p_password_hash);
  perform app.owe_mail(p_mail, 'verify', p_email, p_id, '{}');
  perform app.set_context(v_context || jsonb_build_object('userId', p_id));
end $$;
--> statement-breakpoint
-- Somebody has proved that address. False if another account had before. A change that was asked for before is void, for the
-- address that is now proved has not agreed to it.
create or replace function app.prove_email(p_user uuid, p_email text) returns boolean
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.turn_of_account(p_email, p_user);
  if exists (select from public.users u where u.email = p_email and u.email_verified_at is not null and u.id <> p_user) then
    return false;
  end if;
  perform app.lose_email(p_email, array(select u.id from public.users u where u.email = p_email and u.id <> p_user order by u.id));
  update public.users u set email = p_email, updated_at = now(),
      email_verified_at = case when u.email = p_email then coalesce(u.email_verified_at, now()) else now() end
   where u.id = p_user;
  update public.mails m set used_at = now()
   where m.user_id = p_user and app.is_proof(m.kind) and m.used_at is null;
  perform app.fund(p_user);
  return true;
end $$;
--> statement-breakpoint
-- Whom a password for that address may sign in: who has proved it, or else all who claim it, first who has signed in from that
-- device before, and then the oldest.
create or replace function app.holders_of(p_email text, p_known uuid default null) returns uuid[]
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return array(select u.id from public.users u where u.email = p_email
    order by u.email_verified_at is null, u.disabled_at is not null, u.id is distinct from p_known, u.id limit 20);
end $$;
--> statement-breakpoint
-- Kinds of mails that prove an address, by a link or a code.
create or replace function app.is_proof(p_kind text) returns boolean language sql immutable parallel safe
  return p_kind in ('verify', 'change_old', 'change_new');
--> statement-breakpoint
-- Where outbox notes are that belong to no workspace.
create or replace function app.nowhere() returns uuid language sql immutable parallel safe
  return '00000000-0000-0000-0000-000000000000'::uuid;
--> statement-breakpoint
-- Owes a mail. Of what anybody can have sent to anybody, an address gets 5 of a kind an hour and 20 a day, of them 3 a day by
-- registrations from one network; and a network causes 100 a day by registrations, 100 by what somebody asks who is signed in, and
-- after 100 resets a day only those of addresses that somebody has proved. What is
-- beyond is not sent (false), whoever asks, but for two: whoever has had none for an hour gets the one that proves the address
-- of their account, as the only one in that hour, beside those that others have caused; and a reset is sent where none that is still good was for 45 minutes, so that
-- whoever asks has a link that works, however often strangers have asked. None makes an earlier one void. How many resets strangers of a
-- network may ask for, the limiter says (src/limits/policies.ts).
create or replace function app.owe_mail(p_id uuid, p_kind text, p_recipient text, p_user uuid, p_data jsonb) returns boolean
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_request constant jsonb := app.context() -> 'request';
  v_network constant text := v_request ->> 'network';
  v_registers constant boolean := p_kind = 'verify' and (app.context() ->> 'action' = 'user.create') is true;
  v_data jsonb := p_data || case when v_registers then '{"registers": "yes"}' else '{}'::jsonb end;
  v_is_own boolean := false;
  v_is_beyond boolean;
begin
  if p_kind in ('verify', 'reset', 'change_new', 'invite') then
    perform pg_advisory_xact_lock(hashtextextended('mail ' || p_recipient, 0));
    if p_kind = 'reset' then
      v_is_own := not exists (select from public.mails m
        where m.recipient = p_recipient and m.kind = 'reset' and m.created_at > now() - interval '45 minutes'
          -- Of nobody's address none is sent, and so many are owed as of any.
          and (m.used_at is null and m.status not in ('void', 'refused') or not exists (select from public.users u where u.email = p_recipient)));
    elsif p_kind = 'verify' and not v_registers then
      v_is_own := exists (select from public.users u where u.id = p_user and u.created_at < now() - interval '1 hour')
        and not exists (select from public.mails m where m.user_id = p_user and m.created_at > now() - interval '1 hour')
        and not exists (select from public.mails m where m.recipient = p_recipient and m.kind = 'verify' and m.data ? 'beyond'
          and m.created_at > now() - interval '1 hour');
    end if;
    select count(*) >= 20 or count(*) filter (where m.created_at > now() - interval '1 hour') >= 5
        or v_registers and count(*) filter (where m.network = v_network) >= 3 into v_is_beyond
      from public.mails m where m.recipient = p_recipient and m.kind = p_kind and m.created_at > now() - interval '1 day';
    if v_is_beyond and not v_is_own
      or not (p_kind = 'reset' and exists (select from public.users u where u.email = p_recipient and u.email_verified_at is not null))
         and (select count(*) >= 100 from public.mails m
           where m.network = v_network and (m.kind = 'reset') = (p_kind = 'reset') and m.kind in ('verify', 'change_new', 'invite', 'reset')
             and (m.data ? 'registers') = v_registers and m.created_at > now() - interval '1 day')
    then
      return false;
    end if;
    v_data := v_data || case when v_is_beyond then '{"beyond": "yes"}' else '{}'::jsonb end;
  end if;
  -- What somebody's own doings cause, as often as they like, more of the same adds nothing to. They hold their row.
  if p_kind in ('new_device', 'leaving', 'staying', 'password_changed') and (select count(*) >= 5 from public.mails m
    where m.user_id = p_user and m.kind = p_kind and m.created_at > now() - interval '1 hour') then
    return false;
  end if;
  if p_kind = 'factor_guessed' and exists (select from public.mails m
    where m.user_id = p_user and m.kind = p_kind and m.created_at > now() - interval '1 day') then
    return false;
  end if;
  insert into public.mails (id, kind, recipient, user_id, language, data, network)
  values (p_id, p_kind, p_recipient, p_user, v_request ->> 'language', v_data, v_network);
  insert into public.outbox (workspace_id, kind, subject_id, available_at)
  values (app.nowhere(), 'mail', p_id, now() + interval '30 seconds');
  return true;
end $$;
--> statement-breakpoint
-- The caller wants to prove the address that they claim. False if there is nothing to prove.
create or replace function app.ask_verification(p_mail uuid) returns boolean
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_user public.users;
begin
  select * into v_user from public.users u where u.id = app.user_id() for no key update;
  perform app.record('email.verify', 'user', v_user.id, null, null);
  perform app.require(v_user.email is not null, 404, 'not_found');
  return v_user.email_verified_at is null and app.owe_mail(p_mail, 'verify', v_user.email, v_user.id, '{}');
end $$;
--> statement-breakpoint
-- The caller wants another address: that one is to be proved, and the present one once more, if it ever was. A later wish
-- replaces an earlier one. Whether somebody has that address shows only to whoever reads its mail.
create or replace function app.ask_change(p_email text, p_old_mail uuid, p_new_mail uuid) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_user public.users;
begin
  select * into v_user from public.users u where u.id = app.user_id() for no key update;
  perform app.record('email.change', 'user', v_user.id, null, jsonb_build_object('email', p_email));
  perform app.require(v_user.email is distinct from p_email or v_user.email_verified_at is null, 422, 'validation_failed');
  update public.mails m set used_at = now()
   where m.user_id = v_user.id and m.kind in ('change_old', 'change_new') and m.used_at is null;
  if app.owe_mail(p_new_mail, 'change_new', p_email, v_user.id, jsonb_build_object('change', p_new_mail)) and v_user.email_verified_at is not null then
    perform app.owe_mail(p_old_mail, 'change_old', v_user.email, v_user.id, jsonb_build_object('change', p_new_mail, 'email', p_email));
  end if;
end $$;
--> statement-breakpoint
-- The caller has read a mail: by the token of its link, or by its code under each of the Worker's keys. Answers the
-- `refusal`, or which address is still to be proved (`awaits`) and which mails it owes. A wrong code counts.
create or replace function app.confirm_email(p_token_hash text, p_code_hashes text[]) returns jsonb
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_user public.users;
  v_asked public.mails;
  v_mail public.mails;
  v_email text;
  v_other text;
  v_told uuid;
begin
  select m.* into v_asked from public.mails m
   where m.user_id = app.user_id() and app.is_proof(m.kind)
     and (m.token_hash = p_token_hash or m.code_hash = any(p_code_hashes))
   order by m.created_at desc limit 1;
  select m.recipient into v_email from public.mails m where m.id = coalesce((v_asked.data ->> 'change')::uuid, v_asked.id);
  perform app.turn_of_account(v_email, app.user_id());
  select * into v_user from public.users u where u.id = app.user_id();
  select * into v_mail from public.mails m
   where m.user_id = v_user.id and app.is_proof(m.kind) and m.used_at is null and m.expires_at > clock_timestamp()
     and m.tries < 5 and (m.token_hash = p_token_hash or m.code_hash = any(p_code_hashes))
   order by m.created_at desc limit 1 for update;
  if not found or v_mail.kind = 'verify' and v_mail.recipient is distinct from v_user.email then
    -- Sent twice, as by a double click: it has done what it was for.
    if v_user.email = v_email and v_user.email_verified_at is not null then
      return '{}';
    end if;
    select m.kind into v_other from public.mails m where m.user_id = v_user.id and m.data ->> 'change' = v_asked.data ->> 'change'
       and m.used_at is null and v_asked.used_at is not null and m.id <> v_asked.id;
    if found then
      return jsonb_build_object('awaits', case v_other when 'change_new' then 'new' else 'current' end);
    end if;
    update public.mails m set tries = m.tries + 1
     where m.user_id = v_user.id and m.used_at is null and m.expires_at > now() and cardinality(p_code_hashes) > 0;
    return '{"refusal": "invalid_token"}';
  end if;
  update public.mails m set used_at = now() where m.id = v_mail.id;
  if v_mail.kind <> 'verify' then
    select m.kind into v_other from public.mails m
     where m.user_id = v_user.id and m.data ->> 'change' = v_mail.data ->> 'change' and m.used_at is null;
    if found then
      perform app.record('email.confirm', 'user', v_user.id, null, jsonb_build_object('email', v_mail.recipient));
      return jsonb_build_object('awaits', case v_other when 'change_new' then 'new' else 'current' end);
    end if;
    if v_user.email_verified_at is not null and v_user.email is distinct from v_email and not exists (select from public.mails m
      where m.user_id = v_user.id and m.kind = 'change_old' and m.data ->> 'change' = v_mail.data ->> 'change') then
      return '{"refusal": "invalid_token"}';
    end if;
    v_mail.recipient := v_email;
  end if;
  if not app.prove_email(v_user.id, v_mail.recipient) then
    return '{"refusal": "email_taken"}';
  end if;
  perform app.record('email.confirm', 'user', v_user.id, jsonb_build_object('email', v_user.email), jsonb_build_object('email', v_mail.recipient));
  -- Of what is on its way only the ways back stay good.
  update public.mails m set used_at = now()
   where m.used_at is null and m.recipient = v_user.email and m.recipient <> v_mail.recipient and m.kind = 'reset';
  if v_user.email_verified_at is not null and v_user.email <> v_mail.recipient then
    v_told := app.uuid_v7();
    perform app.owe_mail(v_told, 'email_changed', v_user.email, v_user.id, jsonb_build_object('email', v_mail.recipient));
  end if;
  return jsonb_build_object('mails', to_jsonb(array_remove(array[v_told], null)));
end $$;
--> statement-breakpoint
-- Second factors of somebody that are younger than that go: whoever had the password may have set them up to keep its owner out.
-- Whether there were any.
create or replace function app.lose_factors(p_user uuid, p_since timestamptz) returns boolean
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_apps integer;
  v_keys integer;
begin
  delete from public.totp_secrets t where t.user_id = p_user and coalesce(t.confirmed_at, t.created_at) >= p_since;
  get diagnostics v_apps = row_count;
  delete from public.passkeys p where p.user_id = p_user and p.created_at >= p_since;
  get diagnostics v_keys = row_count;
  return v_apps + v_keys > 0;
end $$;
--> statement-breakpoint
-- What lets somebody into workspaces, or tells them what happens there, and was made by that account since then: open invites go, keys and
-- endpoints end, each with an audit row there. In their turn, so that nobody joins by such an invite meanwhile; who has joined stays.
-- Answers which keys, whose streams may be open.
create or replace function app.close_doors(p_user uuid, p_since timestamptz) returns jsonb
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
  v_workspaces uuid[];
  v_row record;
  v_keys jsonb := '[]';
begin
  -- Also those that they have left since.
  v_workspaces := array(
    select m.workspace_id from public.memberships m where m.user_id = p_user
    union select i.workspace_id from public.invites i where i.invited_by = p_user and i.created_at >= p_since
    union select e.workspace_id from public.webhook_endpoints e where e.created_by = p_user and e.created_at >= p_since
    union select k.workspace_id from public.api_keys k where k.created_by = p_user and k.created_at >= p_since);
  perform from public.workspaces w where w.id = any(v_workspaces) order by w.id for no key update;
  -- Before any row of the audit log: what came of a webhook's attempt locks in this order.
  for v_row in update public.webhook_endpoints e set disabled_at = now() where e.workspace_id = any(v_workspaces) and e.created_by = p_user
      and e.created_at >= p_since and e.disabled_at is null returning e.workspace_id, e.id, e.disabled_at
  loop
    perform app.write_audit(v_context || jsonb_build_object('workspaceId', v_row.workspace_id, 'action', 'webhook.update'), 'webhook', v_row.id,
      '{"disabled_at": null}', jsonb_build_object('disabled_at', v_row.disabled_at));
  end loop;
  for v_row in delete from public.invites i where i.workspace_id = any(v_workspaces) and i.invited_by = p_user and i.created_at >= p_since
      and i.accepted_at is null returning i.*
  loop
    perform app.write_audit(v_context || jsonb_build_object('workspaceId', v_row.workspace_id, 'action', 'invite.delete'), 'invite', v_row.id,
      jsonb_build_object('email', v_row.email, 'role', v_row.role), null);
  end loop;
  for v_row in update public.api_keys k set revoked_at = now() where k.workspace_id = any(v_workspaces) and k.created_by = p_user
      and k.created_at >= p_since and k.revoked_at is null returning k.workspace_id, k.id, k.key_hash, k.revoked_at
  loop
    v_keys := v_keys || jsonb_build_object('workspaceId', v_row.workspace_id, 'hash', v_row.key_hash);
    perform app.write_audit(v_context || jsonb_build_object('workspaceId', v_row.workspace_id, 'action', 'api_key.revoke'), 'api_key', v_row.id,
      '{"revoked_at": null}', jsonb_build_object('revoked_at', v_row.revoked_at));
  end loop;
  return v_keys;
end $$;
--> statement-breakpoint
-- Whoever reads the mail of a former address takes it back, for a day. Who changed it may know the password, and in the day before, too,
-- have linked a provider's account, set up a second factor, made keys and endpoints, and invited themselves: those go, and every session; a
-- password is set by mail. Answers whose account it is, where and by which keys streams may be open, and the mail that is owed; or the `refusal`.
create or replace function app.undo_change(p_token_hash text) returns jsonb
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
  v_mail public.mails;
  v_email text;
  v_since timestamptz;
  v_keys jsonb;
  v_reset constant uuid := app.uuid_v7();
begin
  select * into v_mail from public.mails m where m.token_hash = p_token_hash;
  perform app.turn_of_account(v_mail.recipient, v_mail.user_id);
  select * into v_mail from public.mails m
   where m.token_hash = p_token_hash and m.kind = 'email_changed' and m.used_at is null and m.expires_at > clock_timestamp() for update;
  if not found then
    return '{"refusal": "invalid_token"}';
  end if;
  v_since := v_mail.created_at - interval '1 day';
  select u.email into v_email from public.users u where u.id = v_mail.user_id;
  perform app.set_context(v_context || jsonb_build_object('actor', 'user:' || v_mail.user_id));
  if exists (select from public.users u where u.email = v_mail.recipient and u.email_verified_at is not null and u.id <> v_mail.user_id) then
    return '{"refusal": "email_taken"}';
  end if;
  -- Workspaces come before the free credits that an address may bring.
  v_keys := app.close_doors(v_mail.user_id, v_since);
  perform app.prove_email(v_mail.user_id, v_mail.recipient);
  -- The ways back from earlier changes stay good.
  update public.mails m set used_at = now()
   where m.user_id = v_mail.user_id and m.used_at is null and (m.kind <> 'email_changed' or m.created_at >= v_mail.created_at);
  update public.users u set password_hash = null where u.id = v_mail.user_id;
  delete from public.accounts a where a.user_id = v_mail.user_id and a.created_at >= v_since;
  perform app.lose_factors(v_mail.user_id, v_since);
  -- Seen, perhaps, by whoever set one up.
  delete from public.recovery_codes r where r.user_id = v_mail.user_id;
  perform app.record('email.undo', 'user', v_mail.user_id, jsonb_build_object('email', v_email), jsonb_build_object('email', v_mail.recipient));
  perform app.owe_mail(v_reset, 'reset', v_mail.recipient, null, '{"undone": "yes"}');
  return app.end_sessions(v_mail.user_id) || jsonb_build_object('keys', v_keys, 'mails', array[v_reset]);
end $$;
--> statement-breakpoint
-- Ends all sessions of somebody: who, and where their streams may be open.
create or replace function app.end_sessions(p_user uuid) returns jsonb
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  update public.sessions s set revoked_at = now() where s.user_id = p_user and s.revoked_at is null;
  return jsonb_build_object('userId', p_user, 'workspaces', array(
    select m.workspace_id from public.memberships m where m.user_id = p_user));
end $$;
--> statement-breakpoint
-- Somebody has read the mail that a password may be reset by. Of an address that nobody has proved, it is that of the claim that this
-- device has signed in to (p_device, whatever its password and factors have become since), and else a new account is made (p_new_user). All sessions end, and a mail says so. A second factor of the last day goes, and the recovery codes with it: whoever
-- had the password may have set it up to keep its owner out. Answers as app.undo_change does.
create or replace function app.reset_password(p_token_hash text, p_password_hash text, p_new_user uuid, p_device uuid) returns jsonb
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
  v_mail public.mails;
  v_user uuid;
  v_leaves_at timestamptz;
  v_factors boolean := false;
  v_told constant uuid := app.uuid_v7();
begin
  perform app.require(v_context ->> 'action' = 'password.confirm' and app.is_sealed(p_password_hash), 403, 'forbidden');
  select * into v_mail from public.mails m where m.token_hash = p_token_hash;
  perform app.turn_of_account(v_mail.recipient, null);
  select * into v_mail from public.mails m
   where m.token_hash = p_token_hash and m.kind = 'reset' and m.used_at is null and m.expires_at > clock_timestamp() for update;
  if not found then
    return '{"refusal": "invalid_token"}';
  end if;
  select u.id into v_user from public.users u where u.email = v_mail.recipient and (u.email_verified_at is not null
    or u.id = p_device and u.disabled_at is null) order by u.email_verified_at is null limit 1;
  perform app.set_context(v_context || jsonb_build_object('actor', 'user:' || coalesce(v_user, p_new_user)));
  if v_user is null then
    v_user := p_new_user;
    insert into public.users (id, language, password_hash) values (v_user, v_mail.language, p_password_hash);
  else
    update public.users u set password_hash = p_password_hash, updated_at = now() where u.id = v_user;
    v_factors := app.lose_factors(v_user, now() - interval '1 day');
    if v_factors then
      delete from public.recovery_codes r where r.user_id = v_user;
    end if;
  end if;
  perform app.prove_email(u.id, v_mail.recipient) from public.users u where u.id = v_user and u.email_verified_at is null;
  update public.mails m set used_at = now() where m.recipient = v_mail.recipient and m.kind = 'reset' and m.used_at is null;
  perform app.record('password.confirm', 'user', v_user, null, null);
  select u.leaves_at into v_leaves_at from public.users u where u.id = v_user;
  perform app.owe_mail(v_told, 'password_reset', v_mail.recipient, v_user,
    jsonb_strip_nulls(jsonb_build_object('day', to_char(v_leaves_at at time zone 'utc', 'YYYY-MM-DD'), 'factors', case when v_factors then 'gone' end)));
  return app.end_sessions(v_user) || jsonb_build_object('mails', array[v_told], 'email', v_mail.recipient,
    'factorsSince', app.factors_since(v_user), 'leavesAt', v_leaves_at);
end $$;
--> statement-breakpoint
-- Tells the caller that their password was changed, if they have proved where to.
create or replace function app.tell_of_password(p_mail uuid) returns boolean
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_user public.users;
begin
  perform app.require(app.context() ->> 'action' = 'password.update', 403, 'forbidden');
  select * into v_user from public.users u where u.id = app.user_id();
  return v_user.email_verified_at is not null and app.owe_mail(p_mail, 'password_changed', v_user.email, v_user.id, '{}');
end $$;
--> statement-breakpoint
-- Tells the caller that they have one second factor more, or less, or other recovery codes, if they have proved where to. Before it goes.
create or replace function app.tell_of_factor(p_mail uuid) returns boolean
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_action constant text := app.context() ->> 'action';
  v_user public.users;
begin
  perform app.require(v_action in ('totp.confirm', 'passkey.create', 'totp.delete', 'passkey.delete', 'recovery_code.create'), 403, 'forbidden');
  select * into v_user from public.users u where u.id = app.user_id();
  return v_user.email_verified_at is not null
    and (v_action <> 'totp.delete' or exists (select from public.totp_secrets t where t.user_id = v_user.id and t.confirmed_at is not null))
    and app.owe_mail(p_mail, case when v_action in ('totp.confirm', 'passkey.create') then 'factor_added'
        when v_action = 'recovery_code.create' then 'codes_renewed' else 'factor_removed' end,
      v_user.email, v_user.id, '{}');
end $$;
--> statement-breakpoint
-- Tells somebody who signs in from a device or country that none of their sessions of the last weeks was from.
create or replace function app.tell_of_device(p_mail uuid, p_user uuid, p_device text, p_country text) returns boolean
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_user public.users;
begin
  select * into v_user from public.users u where u.id = p_user;
  return v_user.email_verified_at is not null
    and exists (select from public.sessions s where s.user_id = p_user)
    and not exists (select from public.sessions s where s.user_id = p_user
      and s.device is not distinct from p_device and s.country is not distinct from p_country)
    and app.owe_mail(p_mail, 'new_device', v_user.email, p_user, jsonb_strip_nulls(jsonb_build_object(
      'device', p_device, 'country', p_country, 'at', to_char(now() at time zone 'utc', 'YYYY-MM-DD HH24:MI'))));
end $$;
--> statement-breakpoint
-- Somebody had the right password, and showed a wrong second factor: records it, and at the tenth within an hour tells the person,
-- whose password they have, and whom they can keep from the second step on devices that are not known.
create or replace function app.refuse_second_step(p_mail uuid, p_user uuid) returns boolean
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_user public.users;
begin
  perform app.record('session.refuse', 'user', p_user, null, '{"step": "second"}');
  -- Of many at once the last one sees all.
  select * into v_user from public.users u where u.id = p_user for no key update;
  return v_user.email_verified_at is not null
    and (select count(*) >= 10 from public.audit_logs a where a.workspace_id is null and a.resource_id = p_user
      and a.id > app.uuid_at(now() - interval '1 hour') and a.action = 'session.refuse' and a.after ->> 'step' = 'second')
    and app.owe_mail(p_mail, 'factor_guessed', v_user.email, p_user, '{}');
end $$;
--> statement-breakpoint
-- Mails an invite of the current workspace, if whoever invites has proved who they are.
create or replace function app.mail_invite(p_mail uuid, p_invite uuid) returns boolean
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := app.workspace_id();
  v_by public.users;
  v_invite public.invites;
begin
  select * into v_invite from public.invites i where i.workspace_id = v_workspace and i.id = p_invite and i.invited_by = app.user_id();
  select * into v_by from public.users u where u.id = app.user_id();
  return v_invite.id is not null and v_by.email_verified_at is not null
    and app.owe_mail(p_mail, 'invite', v_invite.email, null, jsonb_strip_nulls(jsonb_build_object('workspaceId', v_workspace,
      'role', v_invite.role, 'workspace', (select w.name from public.workspaces w where w.id = v_workspace), 'by', v_by.name)));
end $$;
--> statement-breakpoint
-- Takes a mail to send it, with the hashes of what its link and code will be, and answers what it is to say; null where
-- there is nothing to send. Whoever has taken it makes one call of the mail service: if they never tell its outcome, it may have
-- been sent, and is not sent again (`status: unknown`). Asking twice as the same taker is harmless.
create or replace function app.take_mail(p_id uuid, p_taker uuid, p_token_hash text, p_code_hash text) returns jsonb
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_mail public.mails;
  v_user public.users;
  v_invite public.invites;
  v_end text;
begin
  select * into v_mail from public.mails m where m.id = p_id for update;
  if v_mail.status = 'sending' and v_mail.taker is distinct from p_taker and v_mail.lease_expires_at > now() then
    return null;
  end if;
  -- Of a reset the account is looked up here, after the answer, which so tells nothing of it.
  select * into v_user from public.users u where u.id = coalesce(v_mail.user_id, (app.holders_of(v_mail.recipient))[1]);
  if v_mail.kind = 'invite' then
    v_invite := app.invite_by(null, v_mail);
  end if;
  v_end := case
    when v_mail.id is null or v_mail.status not in ('pending', 'sending') then v_mail.status
    when v_mail.status = 'sending' and v_mail.taker is distinct from p_taker then 'unknown'
    when v_mail.used_at is not null or v_mail.created_at < now() - interval '1 day' then 'void'
    when v_mail.kind = 'verify' and (v_user.email is distinct from v_mail.recipient or v_user.email_verified_at is not null) then 'void'
    when v_mail.kind = 'reset' and v_user.id is null then 'void'
    when v_mail.kind = 'change_old' and v_user.email is distinct from v_mail.recipient then 'void'
    when v_mail.kind = 'invite' and (v_invite.accepted_at is null and v_invite.expires_at > now()) is not true then 'void'
    -- Who only complained still gets the ways back into their account, and what it suffers.
    when exists (select from public.bounces b where b.address = v_mail.recipient and (b.reason <> 'complaint'
      or v_mail.kind not in ('reset', 'email_changed', 'password_changed', 'password_reset', 'factor_guessed'))) then 'refused'
  end;
  if v_mail.id is null or v_end is not null then
    update public.mails m set status = v_end, ended_at = coalesce(m.ended_at, now()),
        error = case when v_end = 'refused' then coalesce(m.error, 'bounced') else m.error end where m.id = p_id;
    delete from public.outbox o where o.workspace_id = app.nowhere() and o.kind = 'mail' and o.subject_id = p_id;
    return jsonb_build_object('status', v_end);
  end if;
  update public.mails m set status = 'sending', taker = p_taker, lease_expires_at = now() + interval '1 minute',
      attempts = m.attempts + (m.status = 'pending')::integer,
      token_hash = case when m.kind not in ('password_changed', 'password_reset', 'factor_added', 'factor_removed', 'codes_renewed', 'new_device', 'factor_guessed', 'leaving', 'staying', 'export') then p_token_hash end,
      code_hash = case when app.is_proof(m.kind) then p_code_hash end,
      expires_at = case m.kind when 'invite' then v_invite.expires_at when 'email_changed' then now() + interval '1 day'
        else now() + interval '1 hour' end
   where m.id = p_id returning * into v_mail;
  update public.outbox o set available_at = now() + interval '65 seconds', sends = 0
   where o.workspace_id = app.nowhere() and o.kind = 'mail' and o.subject_id = p_id;
  return jsonb_build_object('status', 'sending', 'kind', v_mail.kind, 'recipient', v_mail.recipient,
    -- What somebody else may have caused is in the language of whose address it is, if they have said.
    'language', case when v_mail.kind in ('reset', 'invite', 'factor_guessed') then coalesce(case when v_user.email_verified_at is not null then v_user.language end, v_mail.language)
      else coalesce(v_mail.language, v_user.language) end,
    'data', v_mail.data || jsonb_build_object('isProved', v_user.email_verified_at is not null));
end $$;
--> statement-breakpoint
-- What the mail service has said: sent, refused (for good), later, or unknown. Later is tried again for a day, with backoff.
create or replace function app.end_mail(p_id uuid, p_taker uuid, p_outcome text, p_error text, p_message_id text, p_bounced boolean) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_mail public.mails;
begin
  update public.mails m set
      status = case when p_outcome <> 'later' then p_outcome when m.created_at < now() - interval '1 day' then 'refused' else 'pending' end,
      ended_at = case when p_outcome <> 'later' or m.created_at < now() - interval '1 day' then now() end,
      error = p_error, message_id = p_message_id, lease_expires_at = null
   where m.id = p_id and m.status = 'sending' and m.taker = p_taker returning * into v_mail;
  if not found then
    return;
  end if;
  if v_mail.status = 'pending' then
    update public.outbox o set sends = 0, available_at = now() + least(interval '1 hour', interval '15 seconds' * power(2, least(v_mail.attempts, 12)))
     where o.workspace_id = app.nowhere() and o.kind = 'mail' and o.subject_id = p_id;
  else
    delete from public.outbox o where o.workspace_id = app.nowhere() and o.kind = 'mail' and o.subject_id = p_id;
  end if;
  if p_bounced then
    perform app.note_bounce(v_mail.recipient, p_error);
  end if;
end $$;
--> statement-breakpoint
-- An address takes no mail: nothing more is sent there while that is remembered (app.prune).
create or replace function app.note_bounce(p_address text, p_reason text) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.bounces (address, reason) values (lower(p_address), p_reason)
  on conflict (address) do update set reason = excluded.reason, created_at = now();
end $$;
--> statement-breakpoint
-- An address without what its owner may add to it: what follows a plus, and at Google the dots.
create or replace function app.canonical_email(p_email text) returns text
  language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp
  return case when split_part(lower(p_email), '@', 2) in ('gmail.com', 'googlemail.com')
    then replace(split_part(split_part(lower(p_email), '@', 1), '+', 1), '.', '') || '@gmail.com'
    else split_part(split_part(lower(p_email), '@', 1), '+', 1) || '@' || split_part(lower(p_email), '@', 2) end;
--> statement-breakpoint
-- Where mailboxes of one owner are, as far as a name tells: two labels, or three where the second is a short one (co.uk).
create or replace function app.mail_domain(p_email text) returns text
  language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp
  return substring(lower(p_email) from '@(?:.*\.)?([^.@]+\.[^.@]{1,3}\.[^.@]{2}|[^.@]+\.[^.@]+)$');
--> statement-breakpoint
-- Domains of mailboxes that anybody can have; of the big ones with every ending, as they have one for many countries.
create or replace function app.is_everybodys(p_domain text) returns boolean
  language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp
  return split_part(p_domain, '.', 1) in ('gmail', 'googlemail', 'outlook', 'hotmail', 'live', 'msn', 'yahoo', 'ymail', 'rocketmail',
      'icloud', 'aol', 'gmx', 'orange', 'proton', 'protonmail', 'yandex', 'zoho', 'tutanota')
    or p_domain in ('me.com', 'mac.com', 'mail.com', 'pm.me', 'fastmail.com', 'hey.com', 'tuta.com', 'mail.ru', 'inbox.ru', 'bk.ru',
      'web.de', 't-online.de', 'freenet.de', 'free.fr', 'laposte.net', 'wanadoo.fr', 'sfr.fr', 'libero.it', 'virgilio.it', 'tiscali.it',
      'btinternet.com', 'sky.com', 'virginmedia.com', 'ntlworld.com', 'comcast.net', 'verizon.net', 'att.net', 'sbcglobal.net',
      'bellsouth.net', 'cox.net', 'rogers.com', 'shaw.ca', 'bigpond.com', 'optusnet.com.au', 'bluewin.ch', 'ziggo.nl', 'kpnmail.nl',
      'telenet.be', 'skynet.be', 'seznam.cz', 'wp.pl', 'o2.pl', 'interia.pl', 'onet.pl', 'uol.com.br', 'bol.com.br', 'terra.com.br',
      'naver.com', 'hanmail.net', 'daum.net', 'docomo.ne.jp', 'rediffmail.com',
      'qq.com', '163.com', '126.com', 'sina.com', 'foxmail.com', 'yeah.net', 'aliyun.com');
--> statement-breakpoint
-- Whether free credits are held; by itself that ends after a week, and an operator's hold by them only.
create or replace function app.is_held(p_at timestamptz, p_reason text) returns boolean
  language sql stable parallel safe set search_path = pg_catalog, pg_temp
  return p_at is not null and (p_reason not in ('network', 'domain') or p_at > now() - interval '7 days');
--> statement-breakpoint
-- A grant is a person's, by the address that they have proved, or else by the account, which may have had another one.
create or replace function app.grant_of(p_user uuid) returns public.free_grants
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_email text;
  v_grant public.free_grants;
begin
  select u.email into v_email from public.users u where u.id = p_user and u.email_verified_at is not null;
  select * into v_grant from public.free_grants g where g.person = app.person_of(v_email);
  if not found then
    select * into v_grant from public.free_grants g where g.user_id = p_user;
  end if;
  return v_grant;
end $$;
--> statement-breakpoint
create or replace function app.person_of(p_email text) returns text
  language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp
  return encode(sha256(convert_to(app.canonical_email(p_email), 'UTF8')), 'hex');
--> statement-breakpoint
-- The grant that a workspace has: as long as its person is an owner there, and not that of whom it was handed over by.
create or replace function app.grant_at(p_workspace uuid) returns public.free_grants
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_grant public.free_grants;
begin
  select * into v_grant from public.free_grants g where g.workspace_id = p_workspace and exists (select from public.memberships m
    where m.workspace_id = p_workspace and m.role = 'owner' and (app.grant_of(m.user_id)).person = g.person);
  return v_grant;
end $$;
--> statement-breakpoint
-- Whether a grant counts where it is.
create or replace function app.has_place(p_grant public.free_grants) returns boolean
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return exists (select from public.workspaces w where w.id = p_grant.workspace_id and w.deleted_at is null and w.plan = 'free'
    and (app.grant_at(w.id)).person is not null);
end $$;
--> statement-breakpoint
-- Free credits: granted to a proved person once, for the oldest free workspace that they own (alone, if there is one), and when that is gone, not free or
-- not theirs any more for the next one, less what was used of them this month. What looks farmed is held for a week: the sixth of a network in a
-- day, or the twenty-first of a mail domain that is not one of everybody's. They come by what a person does themselves: a
-- workspace that they make (p_first, which is theirs before older ones), their proof, or a job that they ask for in one that is theirs
-- alone; and those that they have go on when their place is gone (app.pass_on). Who is made an owner is not funded by it, so nobody takes
-- somebody else's credits by that.
create or replace function app.fund(p_user uuid, p_first uuid default null) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
  v_network constant text := v_context -> 'request' ->> 'network';
  v_email text;
  v_person text;
  v_grant public.free_grants;
  v_workspace uuid;
  v_reason text;
begin
  select u.email into v_email from public.users u where u.id = p_user and u.email_verified_at is not null;
  if not found then
    return;
  end if;
  v_person := app.person_of(v_email);
  perform pg_advisory_xact_lock(hashtextextended('person ' || v_person, 0));
  loop
    v_grant := app.grant_of(p_user);
    if app.has_place(v_grant) then
      return;
    end if;
    select m.workspace_id into v_workspace from public.memberships m join public.workspaces w on w.id = m.workspace_id
     where m.user_id = p_user and m.role = 'owner' and w.plan = 'free' and w.deleted_at is null
       and (app.grant_at(w.id)).person is null
     order by w.id is distinct from p_first,
       -- An `exists` may be answered from all memberships that there are.
       (select count(*) from public.memberships o where o.workspace_id = w.id and o.role = 'owner' and o.user_id <> p_user) > 0, w.id limit 1;
    if not found then
      return;
    end if;
    begin
      -- Found by its two indexes, and locked in one order.
      perform from public.free_grants g
       where g.person = any(array(select o.person from public.free_grants o where o.workspace_id = v_workspace) || v_grant.person)
       order by g.id for update;
      -- While this waited somebody else may have come to this place, or this grant to another.
      continue when (app.grant_at(v_workspace)).person is not null or app.has_place(app.grant_of(p_user));
      -- Whoever had it before has a grant for their next one.
      update public.free_grants g set workspace_id = null where g.workspace_id = v_workspace and g.person is distinct from v_grant.person;
      if v_grant.person is not null then
        -- It is of this account from now on, whatever address that has next: whoever had it may be gone.
        update public.free_grants g
           set workspace_id = v_workspace,
             came_from = coalesce((select w.id from public.workspaces w where w.id = g.came_from and w.deleted_at is not null), (select w.id from public.workspaces w where w.id = g.workspace_id and w.deleted_at is not null and w.plan = 'free')),
             user_id = case when exists (select from public.free_grants o where o.user_id = p_user) then g.user_id else p_user end
         where g.person = v_grant.person;
        return;
      end if;
      -- New ones of a network come one after the other, so that each counts the ones before.
      if v_network is not null then
        perform pg_advisory_xact_lock(hashtextextended('network ' || v_network, 0));
      end if;
      v_reason := case
        when (select count(*) >= 5 from public.free_grants g where g.network = v_network and g.created_at > now() - interval '1 day') then 'network'
        when not app.is_everybodys(app.mail_domain(v_email)) and (select count(*) >= 20 from public.free_grants g
          where g.domain = app.mail_domain(v_email) and g.created_at > now() - interval '1 day') then 'domain' end;
      insert into public.free_grants (person, user_id, workspace_id, period, network, domain, held_at, hold_reason)
      values (v_person, p_user, v_workspace, date_trunc('month', now() at time zone 'utc')::date, v_network, app.mail_domain(v_email),
        case when v_reason is not null then now() end, v_reason);
      if v_reason is not null then
        perform app.audit_hold(v_workspace, 'credit.hold', v_reason);
      end if;
      return;
    exception when unique_violation then
      -- Another owner has theirs there since a moment ago: the next one, if there is one.
    end;
  end loop;
end $$;
--> statement-breakpoint
-- The current workspace was deleted, or has lost an owner: the free credits that it had go on to another one of whose they are, if they
-- don't count here any more. A new owner, who was not asked, has theirs by what they do.
create or replace function app.pass_on() returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_grant public.free_grants;
begin
  select * into v_grant from public.free_grants g where g.workspace_id = app.workspace_id();
  if found and not app.has_place(v_grant) and (app.grant_of(v_grant.user_id)).person = v_grant.person then
    perform app.fund(v_grant.user_id);
  end if;
end $$;
--> statement-breakpoint
-- The current workspace is being restored: it has the free credits again that it had, unless they were used elsewhere since.
create or replace function app.take_back() returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := app.workspace_id();
  v_person text;
begin
  select g.person into v_person from public.memberships m, lateral app.grant_of(m.user_id) g
   where m.workspace_id = v_workspace and m.role = 'owner' and g.came_from = v_workspace limit 1;
  update public.free_grants g set workspace_id = v_workspace, came_from = null
   where g.person = v_person and g.came_from = v_workspace
     and not exists (select from public.free_grants o where o.workspace_id = v_workspace);
end $$;
--> statement-breakpoint
-- Whether the current workspace may have the caller's free credits: it is theirs alone, and they have none elsewhere. Keys and jobs are no callers.
create or replace function app.may_fund() returns boolean
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_context constant jsonb := app.context();
begin
  return (v_context ->> 'role' = 'owner' and v_context ->> 'plan' = 'free' and v_context ->> 'actor' = 'user:' || app.user_id()
    and not exists (select from public.memberships m where m.workspace_id = app.workspace_id() and m.role = 'owner' and m.user_id <> app.user_id())
    and exists (select from public.users u where u.id = app.user_id() and u.email_verified_at is not null)
    and not app.has_place(app.grant_of(app.user_id()))) is true;
end $$;
--> statement-breakpoint
-- The plans of these workspaces have changed, or an owner's account is gone: their owners may have free credits. In one order for all.
create or replace function app.fund_owners(p_workspaces uuid[]) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_owner uuid;
begin
  for v_owner in select u.id from public.users u
    where u.id in (select m.user_id from public.memberships m where m.workspace_id = any(p_workspaces) and m.role = 'owner')
    order by app.person_of(u.email), u.id
  loop
    perform app.fund(v_owner);
  end loop;
end $$;
--> statement-breakpoint
-- An audit row by the system in the workspace whose free credits are held or released.
create or replace function app.audit_hold(p_workspace uuid, p_action text, p_reason text) returns void
  language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform app.write_audit(jsonb_build_object('workspaceId', p_workspace, 'actor', 'system:', 'action', p_action,
    'request', app.context() -> 'request'), 'workspace', p_workspace, null, jsonb_build_object('reason', p_reason));
end $$;
--> statement-breakpoint
-- How many of p_most free credits the current workspace, a free one, has this month, and why: one of `freeCreditStates` (src/words.ts).
-- What is used of a grant elsewhere is not had here, nor what was used here of another one.
create or replace function app.free_state(p_most integer, out state text, out granted integer)
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := app.workspace_id();
  v_period constant date := date_trunc('month', now() at time zone 'utc');
  v_grant public.free_grants := app.grant_at(v_workspace);
  v_owner uuid;
  v_comes boolean := false;
begin
  -- Those of its only owner come with a job that they ask for themselves.
  if v_grant.person is null then
    select (array_agg(m.user_id))[1] into v_owner from public.memberships m join public.users u on u.id = m.user_id
     where m.workspace_id = v_workspace and m.role = 'owner'
     having count(*) = 1 and bool_and(u.email_verified_at is not null);
    v_comes := v_owner is not null and not app.has_place(app.grant_of(v_owner));
    if v_comes then
      v_grant := app.grant_of(v_owner);
    end if;
  end if;
  state := case
    when app.is_held(v_grant.held_at, v_grant.hold_reason) then 'held'
    when v_comes and not app.may_fund() then 'waiting'
    when v_grant.person is not null or v_comes then 'granted'
    when exists (select from public.memberships m join public.users u on u.id = m.user_id
      where m.workspace_id = v_workspace and m.role = 'owner' and u.email_verified_at is not null) then 'elsewhere'
    else 'unverified' end;
  granted := case when state = 'granted' then greatest(0, p_most - greatest(0,
    case when v_grant.period >= v_period then v_grant.used else 0 end - coalesce((select c.reserved + c.charged
      from public.workspace_counters c where c.workspace_id = v_workspace and c.period >= v_period), 0))) else 0 end;
end $$;
--> statement-breakpoint
-- Takes credits of the grant that the current workspace has, or that comes with the caller's job, and answers which; null where they are
-- too few. The grant's row says what was used of it, so it gives no more than p_most in a month, wherever it moves and whatever runs at the
-- same time. Who comes late, when it has given some of the next month, takes from that.
create or replace function app.take_free(p_credits integer, p_most integer, p_period date) returns uuid
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_workspace constant uuid := app.workspace_id();
  v_person text := (app.grant_at(v_workspace)).person;
  v_id uuid;
begin
  if v_person is null then
    if not app.may_fund() then
      return null;
    end if;
    perform app.fund(app.user_id(), v_workspace);
    v_person := (app.grant_at(v_workspace)).person;
  end if;
  update public.free_grants g
     set period = greatest(g.period, p_period), used = p_credits + case when g.period >= p_period then g.used else 0 end, came_from = null
   where g.person = v_person and g.workspace_id = v_workspace and not app.is_held(g.held_at, g.hold_reason)
     and p_credits + case when g.period >= p_period then g.used else 0 end <= p_most
  returning g.id into v_id;
  return v_id;
end $$;
--> statement-breakpoint
-- Takes from the day's budget of all free workspaces together; one row, locked last and for a moment (what comes back is
-- counted earlier: app.count_credits). Whoever began before midnight, and
-- comes when the next day has begun there, takes from that.
create or replace function app.spend_free(p_credits integer) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_today constant date := now() at time zone 'utc';
begin
  update public.free_budget b set day = greatest(b.day, v_today), spent = p_credits + case when b.day >= v_today then b.spent else 0 end
   where coalesce(p_credits + case when b.day >= v_today then b.spent else 0 end <= b.daily, true);
  if not found then
    perform app.refuse(402, 'free_credits_paused');
  end if;
end $$;
--> statement-breakpoint
insert into free_budget (daily) values (100000) on conflict do nothing;
--> statement-breakpoint
-- For the operator, as owner of the schema, each with an audit row by the system: the budget of all free workspaces a day
-- (null: no limit), and a workspace whose free credits are held, or given back.
create or replace function app.set_free_budget(p_daily bigint) returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_before bigint;
begin
  select b.daily into v_before from public.free_budget b for update;
  update public.free_budget set daily = p_daily;
  perform app.write_audit('{"actor": "system:", "action": "budget.update"}', 'budget', null,
    jsonb_build_object('daily', v_before), jsonb_build_object('daily', p_daily));
end $$;
--> statement-breakpoint
create or replace function app.hold_free_credits(p_workspace uuid, p_reason text) returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- By these app.is_held knows what ends by itself.
  if coalesce(p_reason in ('network', 'domain'), true) then
    raise exception 'say why in other words than network and domain' using errcode = 'invalid_parameter_value';
  end if;
  -- In the workspace's turn, as what ends jobs there.
  perform from public.workspaces w where w.id = p_workspace for no key update;
  update public.free_grants g set held_at = now(), hold_reason = p_reason where g.workspace_id = p_workspace;
  if not found then
    raise exception 'workspace % has no free credits', p_workspace using errcode = 'no_data_found';
  end if;
  perform app.audit_hold(p_workspace, 'credit.hold', p_reason);
end $$;
--> statement-breakpoint
create or replace function app.release_free_credits(p_workspace uuid) returns void
  language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  v_reason text;
begin
  perform from public.workspaces w where w.id = p_workspace for no key update;
  select g.hold_reason into v_reason from public.free_grants g where g.workspace_id = p_workspace and g.held_at is not null for update;
  if not found then
    raise exception 'the free credits of workspace % are not held', p_workspace using errcode = 'no_data_found';
  end if;
  update public.free_grants g set held_at = null, hold_reason = null where g.workspace_id = p_workspace;
  perform app.audit_hold(p_workspace, 'credit.release', v_reason);
end $$;
