CREATE TABLE "event_heads" (
	"workspace_id" uuid PRIMARY KEY NOT NULL,
	"sequence" bigint NOT NULL
);
--> statement-breakpoint
ALTER TABLE "event_heads" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "generation_events" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"sequence" bigint NOT NULL,
	"generation_id" uuid NOT NULL,
	"type" text NOT NULL,
	"status" text NOT NULL,
	"progress" integer NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "generation_events_workspace_id_sequence_pk" PRIMARY KEY("workspace_id","sequence"),
	CONSTRAINT "generation_events_type_known" CHECK (type in ('queued', 'running', 'progress', 'provider.switched', 'succeeded', 'failed', 'canceled'))
);
--> statement-breakpoint
ALTER TABLE "generation_events" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "generations" ADD COLUMN "duration" integer;--> statement-breakpoint
ALTER TABLE "generations" ADD COLUMN "retry_of" uuid;--> statement-breakpoint
ALTER TABLE "generations" ADD COLUMN "deadline" integer DEFAULT 600 NOT NULL;--> statement-breakpoint
ALTER TABLE "generations" ADD COLUMN "provider_index" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "generation_events" ADD CONSTRAINT "generation_events_workspace_id_generation_id_generations_workspace_id_id_fk" FOREIGN KEY ("workspace_id","generation_id") REFERENCES "public"."generations"("workspace_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "generation_events_generation" ON "generation_events" USING btree ("workspace_id","generation_id","sequence");--> statement-breakpoint
CREATE INDEX "generations_status" ON "generations" USING btree ("workspace_id","status","id");--> statement-breakpoint
CREATE POLICY "system" ON "event_heads" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "generation_events" AS PERMISSIVE FOR SELECT TO "app_tenant" USING (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "system" ON "generation_events" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);