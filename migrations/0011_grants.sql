-- Who may do what. Row-level security is forced on every table, and the roles have exactly the grants below: earlier ones
-- are revoked, so that a later migration may repeat the whole block with its changes.
do $$
declare
  v_table regclass;
begin
  for v_table in select oid from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') loop
    execute format('alter table %s enable row level security, force row level security', v_table);
  end loop;
end $$;
--> statement-breakpoint
grant usage on schema public, app to app_tenant, app_system, app_gate, app_jobs, app_retention;
--> statement-breakpoint
-- Nobody needs tables of their own.
do $$ begin
  execute format('revoke temporary on database %I from public', current_database());
end $$;
--> statement-breakpoint
-- app_tenant works for a caller; app_system signs users in, sweeps and prunes; app_gate, which inherits from it, is what
-- the gate and the triggers run as; app_jobs, as what jobs live by. Updates are granted for the columns that the code writes; inserts by Drizzle name every
-- column. A row lock needs `update` on any one.
revoke all on all tables in schema public, app from public, app_tenant, app_system, app_gate, app_jobs, app_retention;
grant select on app.gate_key to app_gate;
grant select (id, email, email_verified_at, name, leaves_at, created_at, updated_at), update (name, updated_at) on users to app_tenant;
grant select, update (updated_at) on users to app_system;
grant insert, update (email, email_verified_at, password_hash, leaves_at), delete on users to app_gate;
grant select (id, user_id, refreshed_at, expires_at, revoked_at, ip, country, user_agent, device, proved_at, second_factor, created_at),
  update (revoked_at, proved_at, second_factor) on sessions to app_tenant;
grant select (id, user_id, refresh_hash, refresh_generation, refreshed_at, expires_at, revoked_at, country, device, proved_at, second_factor), insert,
  update (refresh_hash, refresh_generation, refreshed_at, revoked_at, ip, country) on sessions to app_system;
grant select, insert, update (secret, confirmed_at, last_step, created_at), delete on totp_secrets to app_tenant;
grant select, update (secret, last_step) on totp_secrets to app_system;
grant select, insert, update (code_hash), delete on recovery_codes to app_tenant;
grant select, update (code_hash), delete on recovery_codes to app_system;
grant select, insert, update (counter, last_used_at), delete on passkeys to app_tenant;
grant select, update (counter, last_used_at) on passkeys to app_system;
grant delete on totp_secrets, passkeys to app_gate;
grant insert on spent_tokens to app_tenant, app_system;
grant select (provider, provider_account_id, user_id),
  insert (provider, provider_account_id, user_id), delete on accounts to app_gate;
grant select (created_at) on accounts to app_gate;
grant select, insert (account_hash), update (erased_at) on erased_accounts to app_gate;
grant select, insert (id, kind, recipient, user_id, language, data, network),
  update (status, attempts, taker, lease_expires_at, token_hash, code_hash, tries, expires_at, used_at, message_id, error, ended_at)
  on mails to app_gate;
grant delete on mails to app_gate;
grant select, insert (user_id, id), update (id, expires_at, created_at), delete on user_exports to app_gate;
grant select (ip, user_agent, created_at) on sessions to app_gate;
grant select on audit_logs to app_gate;
grant select, insert (address, reason), update (reason, created_at) on bounces to app_gate;
grant select, insert (person, user_id, workspace_id, period, network, domain, held_at, hold_reason),
  update (user_id, workspace_id, came_from, used, period) on free_grants to app_gate;
grant select, update (day, spent) on free_budget to app_gate;
grant select, update (name, slug, second_factor_required, deleted_at, updated_at) on workspaces to app_tenant;
grant select, update (deleted_at, updated_at) on workspaces to app_gate;
grant insert (id, name, slug) on workspaces to app_gate;
grant select, update (role), delete on memberships to app_tenant;
grant select on memberships to app_gate;
grant insert (workspace_id, user_id, role), update (role), delete on memberships to app_gate;
grant select, insert, delete on invites to app_tenant;
grant select, update (accepted_at), delete on invites to app_gate;
grant select, insert, update (revoked_at) on api_keys to app_tenant;
grant select, update (last_used_at, revoked_at) on api_keys to app_gate;
grant select, insert, update (size, lease_expires_at, made_at, refused_at), delete on asset_copies to app_tenant;
grant select, insert, update (status, output_id, refusal, lease_expires_at, ended_at) on asset_exports to app_tenant;
grant select, insert, update (name, tags, prepared, status, sha256, width, height, duration_seconds, pages, store), delete
  on assets to app_tenant;
grant select on asset_tags to app_tenant;
grant select (workspace_id, id), insert (workspace_id, tag, kind, source, status, id), delete on asset_tags to app_gate;
grant select, insert, update (upload_id, completed_at, lease_expires_at, ends_at, mismatch), delete on uploads to app_tenant;
grant select on generations to app_tenant;
grant select, insert (workspace_id, id, task, kind, model, prompt, text, style, aspect_ratio, count, seed, duration, input_asset_ids,
  webhook_url, retry_of, deadline, deadline_at, credits_reserved, eta, woken_at, created_at, created_by),
  update (status, progress, phase, offer, error, attempts, fence, eta, lease_expires_at, next_step_at, woken_at, results_at,
  deadline_at, credits_charged, started_at, completed_at, prompt, text, webhook_url) on generations to app_jobs;
grant select on provider_jobs to app_tenant;
grant select, insert (workspace_id, id, generation_id, indexes, provider, model, output, prompt, inputs, object_ids, cost, expires_at),
  update (status, operation, prompt, stored, fetches, failure, cost, credits, ended_at) on provider_jobs to app_jobs;
grant select, insert (key, request_hash, body), delete on idempotency_keys to app_tenant;
grant select, insert (workspace_id, caller, key, request_hash, generation_id, body) on idempotency_keys to app_jobs;
grant select on generation_outputs to app_tenant;
grant insert (workspace_id, generation_id, index, asset_id) on generation_outputs to app_jobs;
grant select (workspace_id, id, object_id, store, name, kind, source, status, tags, created_at) on assets to app_gate;
grant select on credit_entries to app_tenant;
grant select, insert (workspace_id, generation_id, kind, credits, period, grant_id) on credit_entries to app_jobs;
grant select, insert (workspace_id, id, object_id, name, kind, mime_type, size, sha256, width, height, duration_seconds, pages, store, source, status, created_by)
  on assets to app_jobs;
grant select on generation_events, generation_timings, workspace_counters, webhook_deliveries to app_jobs;
grant select, insert (workspace_id, kind, subject_id, available_at), update (available_at, sends), delete on outbox to app_jobs;
grant select on generation_events, generation_timings, workspace_counters to app_tenant;
grant select, insert, update (offer, seconds) on generation_timings to app_gate;
grant select, insert, update on workspace_counters to app_gate;
grant insert (workspace_id, sequence, generation_id, type, status, progress, phase, eta), select (sequence) on generation_events to app_gate;
grant select, insert, update (sequence, listened_until) on event_heads to app_gate;
grant select on event_heads to app_jobs;
grant select, insert, update (url, events, failing_since, silent_attempts, quiet_until, disabled_at, deleted_at),
  delete on webhook_endpoints to app_tenant;
grant select (workspace_id, id, url, events, disabled_at, created_by, created_at), update (disabled_at) on webhook_endpoints to app_gate;
grant select, update (status, attempts, next_attempt_at, response_status, error, delivered_at, ended_at)
  on webhook_deliveries to app_tenant;
grant select (workspace_id, id),
  insert (workspace_id, endpoint_id, url, sequence, payload) on webhook_deliveries to app_gate;
grant select on audit_logs, audit_heads to app_tenant;
grant insert (workspace_id, action, actor_type, actor_id, resource_type, resource_id, before, after, ip, user_agent,
  request_id) on audit_logs to app_gate;
grant select, update (checked_sequence, checked_at) on audit_heads to app_system;
grant insert, update (sequence, hash) on audit_heads to app_gate;
grant select on audit_checkpoints to app_tenant;
grant select (workspace_id, sequence, created_at),
  insert (workspace_id, sequence, hash, signature, kid, created_at) on audit_checkpoints to app_system;
grant select, insert (workspace_id, kind, subject_id, available_at), update (available_at, sends), delete on outbox to app_tenant;
grant delete on webhook_deliveries, api_keys to app_tenant;
grant select (workspace_id, kind, subject_id, available_at, sends), update (available_at, sends) on outbox to app_system;
grant insert (workspace_id, kind, subject_id, available_at), delete on outbox to app_gate;
--> statement-breakpoint
-- app_retention works inside app.prune and app.purge_workspace only.
grant select, delete on sessions, spent_tokens, mails, bounces, erased_accounts, invites, api_keys, idempotency_keys, generation_events, webhook_deliveries, audit_logs,
  audit_checkpoints to app_retention;
grant select, delete on generations, credit_entries, provider_jobs, event_heads, workspace_counters, audit_heads, memberships, workspaces
  to app_retention;
grant select on outbox, accounts, passkeys to app_retention;
grant select, update (updated_at), delete on users to app_retention;
grant update (revoked_at) on sessions, api_keys to app_retention;
grant update (accepted_at) on invites to app_retention;
grant update (ended_at) on mails to app_retention;
grant update (ended_at) on webhook_deliveries to app_retention;
--> statement-breakpoint
-- What is not named is called by triggers and other functions only, or by the owner (app.set_plan, app.set_free_budget,
-- app.hold_free_credits, app.release_free_credits).
revoke execute on all functions in schema app from public, app_tenant, app_system, app_gate, app_jobs, app_retention;
grant execute on function app.context(), app.workspace_id(), app.user_id(), app.uuid_v7(), app.enter(text, text),
  app.require(boolean, integer, text, text), app.refuse(integer, text, text), app.role_rank(text), app.own_rank(), app.record(text, text, uuid, jsonb, jsonb),
  app.audit_hash(text, audit_logs) to app_tenant, app_system;
grant execute on function app.accept_invite(text), app.listen(), app.create_workspace(uuid, text, text), app.own_password_hash(), app.change_password(text, text),
  app.forecast(uuid, text, integer, text, double precision, integer), app.misfit(uuid, uuid[], jsonb),
  app.read(text, text, text, jsonb), app.read_own(text, text, text, jsonb), app.asset(uuid, uuid), app.some_assets(uuid, uuid[]),
  app.list_assets(uuid, integer, uuid, uuid, text[], text[], text[], text), app.matching_assets(text, uuid, uuid, text[], text[], text[], text, integer),
  app.search_assets(uuid, integer, uuid, uuid, text[], text[], text[], text, text, integer), app.head_of_line(uuid, integer),
  app.show_generations(uuid, uuid[], integer), app.list_generations(uuid, integer, uuid, uuid, text[], text[], integer),
  app.list_audit(uuid, integer, uuid, uuid, uuid, uuid, text, text),
  app.change(text, text), app.end_generations(integer), app.ask_verification(uuid), app.ask_change(text, uuid, uuid), app.confirm_email(text, text[]),
  app.tell_of_password(uuid), app.tell_of_factor(uuid), app.leave(uuid), app.ask_export(uuid), app.is_over(), app.workspace_grace(), app.enter_deleted(uuid), app.mail_invite(uuid, uuid), app.pass_on(), app.take_back(), app.free_state(integer)
  to app_tenant;
grant execute on function app.act_as(uuid), app.compare_storage(text, jsonb, uuid[], uuid[], timestamptz, integer),
  app.note_findings(text, jsonb, interval), app.register(uuid, text, text, text, text, uuid), app.holders_of(text, uuid), app.owe_mail(uuid, text, text, uuid, jsonb),
  app.undo_change(text), app.reset_password(text, text, uuid, uuid), app.tell_of_device(uuid, uuid, text, text), app.refuse_second_step(uuid, uuid),
  app.take_mail(uuid, uuid, text, text), app.end_mail(uuid, uuid, text, text, text, boolean), app.note_bounce(text, text),
  app.erase_user(uuid), app.read_export(uuid), app.end_export(uuid, uuid), app.forget_export(uuid) to app_system;
grant execute on function app.own_factors(), app.own_mark(), app.require_own_proof() to app_tenant;
grant execute on function app.is_sealed(text) to app_tenant, app_system;
grant execute on function app.factors_of(uuid), app.factors_since(uuid), app.password_mark(text) to app_system;
grant execute on all functions in schema app to app_gate;
grant execute on function app.enter(text, text), app.context(), app.require(boolean, integer, text, text), app.refuse(integer, text, text), app.uuid_v7(), app.time_of(uuid),
  app.accept(jsonb, uuid, jsonb, jsonb, jsonb, text, text), app.claim(uuid, uuid, boolean, integer, jsonb, jsonb), app.note_calls(uuid, uuid, integer, integer, jsonb),
  app.keep_operation(uuid, uuid, jsonb), app.keep_calls(uuid, jsonb), app.renew(uuid, uuid, integer), app.release(uuid, uuid, integer, integer, double precision, boolean, jsonb, jsonb),
  app.settle(uuid, uuid, integer, integer, jsonb, jsonb, jsonb), app.cancel(jsonb, uuid, integer),
  app.wake_of(generations), app.conclude(uuid, uuid, integer), app.misfit(uuid, uuid[], jsonb), app.insert_calls(uuid, uuid, jsonb),
  app.take_free(integer, integer, date), app.spend_free(integer), app.hold(uuid, uuid, integer), app.write_calls(uuid, jsonb), app.finish(generations, text, jsonb, jsonb),
  app.forecast(uuid, text, integer, text, double precision, integer), app.eta(uuid, text, integer, text, double precision, integer)
  to app_jobs;
grant execute on function app.uuid_at(timestamptz), app.time_of(uuid), app.first_id(), app.last_id(), app.audit_life() to app_tenant, app_system, app_retention;
grant execute on function app.context(), app.workspace_id(), app.workspace_grace(), app.is_over(), app.write_audit(jsonb, text, uuid, jsonb, jsonb)
  to app_retention;
--> statement-breakpoint
-- Definer functions run as app_gate, which sees just enough for them: no role bypasses row-level security.
do $$
declare
  v_function regprocedure;
begin
  grant create on schema app to app_gate;
  for v_function in select oid from pg_proc where pronamespace = 'app'::regnamespace and prosecdef loop
    execute format('alter function %s owner to app_gate', v_function);
  end loop;
  revoke create on schema app from app_gate;
end $$;
--> statement-breakpoint
-- But for those that jobs live by.
do $$
declare
  v_function regprocedure;
begin
  grant create on schema app to app_jobs;
  for v_function in select oid from pg_proc where pronamespace = 'app'::regnamespace and prosecdef
    and proname in ('change', 'end_generations') loop
    execute format('alter function %s owner to app_jobs', v_function);
  end loop;
  revoke create on schema app from app_jobs;
end $$;
--> statement-breakpoint
-- And for those that delete what is old, or in a workspace that is deleted for good: the Worker's login may not, except through it.
do $$
begin
  grant create on schema app to app_retention;
  alter function app.prune(text, integer) owner to app_retention;
  alter function app.purge_workspace(integer, boolean) owner to app_retention;
  revoke create on schema app from app_retention;
  grant execute on function app.prune(text, integer) to app_system;
  grant execute on function app.purge_workspace(integer, boolean) to app_tenant;
end $$;
