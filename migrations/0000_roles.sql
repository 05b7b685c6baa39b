-- The roles, and the functions that column defaults and policies refer to.
create schema if not exists app;
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
do $$ begin
  create role app_retention nologin nobypassrls;
exception when duplicate_object then null;
end $$;
--> statement-breakpoint
-- An owner that isn't a superuser needs them to make app_system and app_retention the owners of functions.
do $$ begin
  execute format('grant app_tenant, app_system, app_retention to %I', current_user);
end $$;
--> statement-breakpoint
-- A setting that was set locally once reads '' later on the same connection, hence nullif.
create or replace function app.workspace_id() returns uuid language sql stable parallel safe
  return nullif(pg_catalog.current_setting('app.workspace_id', true), '')::uuid;
--> statement-breakpoint
create or replace function app.user_id() returns uuid language sql stable parallel safe
  return nullif(pg_catalog.current_setting('app.user_id', true), '')::uuid;
--> statement-breakpoint
-- RFC 9562 version 7 from the database's clock; PostgreSQL has its own only from 18 on.
create or replace function app.uuid_v7() returns uuid language sql volatile parallel safe
  return encode(
    set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
      placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
      from 1 for 6), 52, 1), 53, 1), 'hex')::uuid;
--> statement-breakpoint
-- The least version 7 id of a moment: what was made before it has a smaller one.
create or replace function app.uuid_at(moment timestamptz) returns uuid language sql immutable parallel safe
  return rpad(lpad(to_hex(greatest(0, floor(extract(epoch from moment) * 1000))::bigint), 12, '0'), 32, '0')::uuid;
