-- The roles, and the functions that column defaults and policies refer to.
create schema if not exists app;
--> statement-breakpoint
-- Indexes of names: trigrams, behind the workspace. Both come with PostgreSQL, and need no superuser.
create extension if not exists pg_trgm schema public;
--> statement-breakpoint
create extension if not exists btree_gin schema public;
--> statement-breakpoint
-- Roles belong to the whole server: another database of it may have made them.
do $$ begin
  create role app_tenant nologin nobypassrls;
exception when duplicate_object then null;
end $$;
--> statement-breakpoint
do $$ begin
  create role app_system nologin nobypassrls;
exception when duplicate_object then null;
end $$;
--> statement-breakpoint
-- Owns the gate and the triggers: what app_system may do, and the gate's key, which is theirs alone.
do $$ begin
  create role app_gate nologin nobypassrls inherit;
exception when duplicate_object then null;
end $$;
--> statement-breakpoint
do $$ begin
  if not pg_has_role('app_gate', 'app_system', 'member') then
    grant app_system to app_gate;
  end if;
end $$;
--> statement-breakpoint
-- Owns what accepts, takes and ends jobs.
do $$ begin
  create role app_jobs nologin nobypassrls;
exception when duplicate_object then null;
end $$;
--> statement-breakpoint
-- Owns what deletes old rows.
do $$ begin
  create role app_retention nologin nobypassrls;
exception when duplicate_object then null;
end $$;
--> statement-breakpoint
-- An owner that isn't a superuser needs them to make them the owners of functions.
do $$ begin
  execute format('grant app_tenant, app_system, app_gate, app_jobs, app_retention to %I', current_user);
end $$;
--> statement-breakpoint
-- What the Worker signs its claims with, and the gate its contexts. `npm run db:migrate` sets it.
create table if not exists app.gate_key (
  singleton boolean primary key default true check (singleton),
  key bytea not null check (length(key) >= 32)
);
--> statement-breakpoint
-- What the gate found out, for this transaction: caller, workspace, action. Anybody may write the setting, but only the
-- gate can sign it, another transaction's context is none, and neither is a claim (app.enter), which is signed without the word.
create or replace function app.context() returns jsonb
  language plpgsql stable parallel safe security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_signed constant text := current_setting('app.context', true);
  v_text constant text := substr(v_signed, 65);
  v_context jsonb;
begin
  -- A setting that was set locally once reads '' later on the same connection.
  if coalesce(v_signed, '') = '' then
    return null;
  end if;
  select v_text::jsonb into v_context from app.gate_key k
   where left(v_signed, 64) = encode(sha256(k.key || convert_to('context' || v_text, 'UTF8') || k.key), 'hex');
  if v_context ->> 'at' is distinct from extract(epoch from now())::text then
    raise exception 'the context is not one that the gate made for this transaction' using errcode = 'insufficient_privilege';
  end if;
  return v_context;
end $$;
--> statement-breakpoint
create or replace function app.workspace_id() returns uuid language sql stable parallel safe
  return (app.context() ->> 'workspaceId')::uuid;
--> statement-breakpoint
create or replace function app.user_id() returns uuid language sql stable parallel safe
  return (app.context() ->> 'userId')::uuid;
--> statement-breakpoint
create or replace function app.role_rank(role text) returns integer language sql immutable parallel safe
  return array_position(array['viewer', 'member', 'admin', 'owner'], role);
--> statement-breakpoint
-- The rank of the role in which the gate let the caller in, whatever the transaction has done to it since.
create or replace function app.own_rank() returns integer language sql stable parallel safe
  return app.role_rank(app.context() ->> 'role');
--> statement-breakpoint
-- RFC 9562 version 7 from the database's clock; PostgreSQL has its own only from 18 on.
create or replace function app.uuid_v7() returns uuid language sql volatile parallel safe
  return encode(
    set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
      placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
      from 1 for 6), 52, 1), 53, 1), 'hex')::uuid;
--> statement-breakpoint
-- The moment of a version 7 id, to the millisecond.
create or replace function app.time_of(id uuid) returns timestamptz language sql immutable strict parallel safe
  return to_timestamp(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
--> statement-breakpoint
-- The least version 7 id of a moment: what was made before it has a smaller one.
create or replace function app.uuid_at(moment timestamptz) returns uuid language sql immutable strict parallel safe
  return rpad(lpad(to_hex(greatest(0, floor(extract(epoch from moment) * 1000))::bigint), 12, '0'), 32, '0')::uuid;
