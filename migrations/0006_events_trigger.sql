-- Events of generations: one for each change of status, of progress, or of provider.
create function app.emit_event() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_type text := case
    when TG_OP = 'INSERT' or new.status is distinct from old.status then new.status
    when new.provider_index is distinct from old.provider_index then 'provider.switched'
    when new.progress is distinct from old.progress then 'progress'
  end;
  v_sequence bigint;
begin
  if v_type is null then
    return null;
  end if;
  insert into public.event_heads (workspace_id, sequence) values (new.workspace_id, 1)
    on conflict (workspace_id) do update set sequence = event_heads.sequence + 1
    returning sequence into v_sequence;
  insert into public.generation_events (workspace_id, sequence, generation_id, type, status, progress)
  values (new.workspace_id, v_sequence, new.id, v_type, new.status, new.progress);
  return null;
end $$;
--> statement-breakpoint
create trigger event after insert or update on generations for each row execute function app.emit_event();
--> statement-breakpoint
alter table generation_events force row level security;
--> statement-breakpoint
alter table event_heads force row level security;
--> statement-breakpoint
revoke execute on function app.emit_event() from public;
--> statement-breakpoint
grant select on generation_events to app_tenant;
--> statement-breakpoint
grant select, insert on generation_events to app_system;
--> statement-breakpoint
grant select, insert, update on event_heads to app_system;
--> statement-breakpoint
grant create on schema app to app_system;
--> statement-breakpoint
alter function app.emit_event() owner to app_system;
--> statement-breakpoint
revoke create on schema app from app_system;
