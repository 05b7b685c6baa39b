CREATE TABLE "accounts" (
	"provider" text NOT NULL,
	"provider_account_id" text NOT NULL,
	"user_id" uuid NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "accounts_provider_provider_account_id_pk" PRIMARY KEY("provider","provider_account_id")
);
--> statement-breakpoint
ALTER TABLE "accounts" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "api_keys" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"start" text NOT NULL,
	"key_hash" text NOT NULL,
	"scopes" text[] NOT NULL,
	"expires_at" timestamp with time zone,
	"revoked_at" timestamp with time zone,
	"last_used_at" timestamp with time zone,
	"created_by" uuid DEFAULT app.user_id(),
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "api_keys_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "api_keys_key_hash_unique" UNIQUE("key_hash"),
	CONSTRAINT "api_keys_scopes_known" CHECK (scopes <@ array['asset.begin', 'asset.check', 'asset.complete', 'asset.create', 'asset.delete', 'asset.download', 'asset.get', 'asset.lineage', 'asset.links', 'asset.list', 'asset.resume', 'asset.update', 'audit.export', 'audit.list', 'audit.verify', 'checkpoint.list', 'credit.list', 'event.list', 'export.create', 'export.list', 'generation.cancel', 'generation.create', 'generation.events', 'generation.get', 'generation.list', 'generation.quote', 'generation.retry', 'model.list', 'usage.get'])
);
--> statement-breakpoint
ALTER TABLE "api_keys" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "asset_copies" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"asset_id" uuid NOT NULL,
	"name" text NOT NULL,
	"size" bigint DEFAULT 0 NOT NULL,
	"lease_expires_at" timestamp with time zone NOT NULL,
	"made_at" timestamp with time zone,
	"refused_at" timestamp with time zone,
	CONSTRAINT "asset_copies_workspace_id_asset_id_name_pk" PRIMARY KEY("workspace_id","asset_id","name"),
	CONSTRAINT "asset_copies_size_known" CHECK (size >= 0)
);
--> statement-breakpoint
ALTER TABLE "asset_copies" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "asset_exports" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"id" uuid NOT NULL,
	"asset_id" uuid NOT NULL,
	"channel" text NOT NULL,
	"status" text DEFAULT 'queued' NOT NULL,
	"output_id" uuid NOT NULL,
	"refusal" jsonb,
	"lease_expires_at" timestamp with time zone,
	"created_by" uuid DEFAULT app.user_id(),
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp with time zone,
	CONSTRAINT "asset_exports_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "asset_exports_channel_known" CHECK (channel = any('{amazon-main,google-merchant,shopify,instagram-feed,instagram-reel,tiktok,web}')),
	CONSTRAINT "asset_exports_status_known" CHECK (status = any('{queued,succeeded,refused}'))
);
--> statement-breakpoint
ALTER TABLE "asset_exports" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "asset_tags" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"tag" text NOT NULL,
	"kind" text NOT NULL,
	"source" text NOT NULL,
	"status" text NOT NULL,
	"id" uuid NOT NULL,
	CONSTRAINT "asset_tags_workspace_id_id_tag_pk" PRIMARY KEY("workspace_id","id","tag")
);
--> statement-breakpoint
ALTER TABLE "asset_tags" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "assets" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"kind" text NOT NULL,
	"mime_type" text NOT NULL,
	"size" bigint NOT NULL,
	"sha256" text,
	"object_id" uuid NOT NULL,
	"store" text DEFAULT 'home' NOT NULL,
	"width" integer,
	"height" integer,
	"duration_seconds" real,
	"pages" integer,
	"tags" text[] DEFAULT '{}' NOT NULL,
	"source" text NOT NULL,
	"status" text NOT NULL,
	"prepared" jsonb,
	"created_by" uuid DEFAULT app.user_id(),
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "assets_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "assets_ready_known" CHECK (status = 'pending' or sha256 is not null),
	CONSTRAINT "assets_size_known" CHECK (size >= 0),
	CONSTRAINT "assets_kind_known" CHECK (kind = any('{image,video,document}')),
	CONSTRAINT "assets_source_known" CHECK (source = any('{upload,generation,export}')),
	CONSTRAINT "assets_status_known" CHECK (status = any('{pending,ready}')),
	CONSTRAINT "assets_store_known" CHECK (store = any('{home,fallback}'))
);
--> statement-breakpoint
ALTER TABLE "assets" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "audit_checkpoints" (
	"workspace_id" uuid NOT NULL,
	"id" uuid DEFAULT app.uuid_v7() NOT NULL,
	"sequence" bigint NOT NULL,
	"hash" text NOT NULL,
	"signature" text NOT NULL,
	"kid" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "audit_checkpoints_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "audit_checkpoints_sequence" UNIQUE("workspace_id","sequence")
);
--> statement-breakpoint
ALTER TABLE "audit_checkpoints" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "audit_heads" (
	"workspace_id" uuid PRIMARY KEY NOT NULL,
	"sequence" bigint NOT NULL,
	"hash" text NOT NULL,
	"checked_sequence" bigint DEFAULT 0 NOT NULL,
	"checked_at" timestamp with time zone DEFAULT '-infinity' NOT NULL,
	"waits_since" timestamp with time zone GENERATED ALWAYS AS (case when sequence >= checked_sequence + 100 then '-infinity'::timestamptz when sequence > checked_sequence then checked_at end) STORED
);
--> statement-breakpoint
ALTER TABLE "audit_heads" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "audit_logs" (
	"id" uuid PRIMARY KEY DEFAULT app.uuid_v7() NOT NULL,
	"workspace_id" uuid DEFAULT app.workspace_id(),
	"action" text NOT NULL,
	"actor_type" text NOT NULL,
	"actor_id" uuid,
	"resource_type" text NOT NULL,
	"resource_id" uuid,
	"before" jsonb,
	"after" jsonb,
	"ip" text,
	"user_agent" text,
	"request_id" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"sequence" bigint,
	"hash" text,
	CONSTRAINT "audit_logs_chain" UNIQUE("workspace_id","sequence")
);
--> statement-breakpoint
ALTER TABLE "audit_logs" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "bounces" (
	"address" text PRIMARY KEY NOT NULL,
	"reason" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "bounces" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "credit_entries" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"id" uuid DEFAULT app.uuid_v7() NOT NULL,
	"generation_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"credits" integer NOT NULL,
	"period" date NOT NULL,
	"grant_id" uuid,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "credit_entries_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "credit_entries_once" UNIQUE("workspace_id","generation_id","kind"),
	CONSTRAINT "credit_entries_kind_known" CHECK (kind = any('{reserve,charge,refund}')),
	CONSTRAINT "credit_entries_credits_positive" CHECK (credits > 0)
);
--> statement-breakpoint
ALTER TABLE "credit_entries" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "erased_accounts" (
	"account_hash" text PRIMARY KEY NOT NULL,
	"erased_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "erased_accounts" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "event_heads" (
	"workspace_id" uuid PRIMARY KEY NOT NULL,
	"sequence" bigint NOT NULL,
	"listened_until" timestamp with time zone
);
--> statement-breakpoint
ALTER TABLE "event_heads" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "free_budget" (
	"singleton" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"daily" bigint,
	"day" date DEFAULT '-infinity' NOT NULL,
	"spent" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "free_budget_singleton" CHECK (singleton)
);
--> statement-breakpoint
ALTER TABLE "free_budget" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "free_grants" (
	"person" text PRIMARY KEY NOT NULL,
	"id" uuid DEFAULT app.uuid_v7() NOT NULL,
	"user_id" uuid NOT NULL,
	"workspace_id" uuid,
	"came_from" uuid,
	"used" integer DEFAULT 0 NOT NULL,
	"period" date NOT NULL,
	"network" text,
	"domain" text NOT NULL,
	"held_at" timestamp with time zone,
	"hold_reason" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "free_grants_id" UNIQUE("id"),
	CONSTRAINT "free_grants_user" UNIQUE("user_id"),
	CONSTRAINT "free_grants_workspace" UNIQUE("workspace_id")
);
--> statement-breakpoint
ALTER TABLE "free_grants" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "generation_events" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"sequence" bigint NOT NULL,
	"generation_id" uuid NOT NULL,
	"type" text NOT NULL,
	"status" text NOT NULL,
	"progress" integer NOT NULL,
	"phase" text,
	"eta" timestamp with time zone[],
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "generation_events_workspace_id_sequence_pk" PRIMARY KEY("workspace_id","sequence"),
	CONSTRAINT "generation_events_type_known" CHECK (type = any('{queued,running,progress,provider.switched,succeeded,failed,canceled}'))
);
--> statement-breakpoint
ALTER TABLE "generation_events" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "generation_outputs" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"generation_id" uuid NOT NULL,
	"index" integer NOT NULL,
	"asset_id" uuid NOT NULL,
	CONSTRAINT "generation_outputs_workspace_id_generation_id_index_pk" PRIMARY KEY("workspace_id","generation_id","index"),
	CONSTRAINT "generation_outputs_asset" UNIQUE("workspace_id","asset_id")
);
--> statement-breakpoint
ALTER TABLE "generation_outputs" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "generation_timings" (
	"model" text NOT NULL,
	"size" integer NOT NULL,
	"slot" integer NOT NULL,
	"offer" text NOT NULL,
	"seconds" real NOT NULL,
	CONSTRAINT "generation_timings_model_size_slot_pk" PRIMARY KEY("model","size","slot")
);
--> statement-breakpoint
ALTER TABLE "generation_timings" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "generations" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"id" uuid NOT NULL,
	"task" text NOT NULL,
	"kind" text NOT NULL,
	"status" text DEFAULT 'queued' NOT NULL,
	"model" text NOT NULL,
	"prompt" text,
	"text" text,
	"style" text,
	"aspect_ratio" text,
	"count" integer NOT NULL,
	"seed" integer,
	"duration" integer,
	"webhook_url" text,
	"retry_of" uuid,
	"input_asset_ids" uuid[] NOT NULL,
	"progress" integer DEFAULT 0 NOT NULL,
	"error" jsonb,
	"attempts" integer DEFAULT 0 NOT NULL,
	"phase" text,
	"offer" text,
	"fence" integer DEFAULT 0 NOT NULL,
	"lease_expires_at" timestamp with time zone,
	"next_step_at" timestamp with time zone,
	"woken_at" timestamp with time zone,
	"eta" timestamp with time zone[],
	"results_at" timestamp with time zone,
	"deadline" integer NOT NULL,
	"deadline_at" timestamp with time zone NOT NULL,
	"credits_reserved" integer NOT NULL,
	"credits_charged" integer DEFAULT 0 NOT NULL,
	"created_by" uuid DEFAULT app.user_id(),
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"started_at" timestamp with time zone,
	"completed_at" timestamp with time zone,
	CONSTRAINT "generations_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "generations_kind_known" CHECK (kind = any('{image,video}')),
	CONSTRAINT "generations_status_known" CHECK (status = any('{queued,running,succeeded,failed,canceled}'))
);
--> statement-breakpoint
ALTER TABLE "generations" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "idempotency_keys" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"caller" text DEFAULT (app.context() ->> 'actor') NOT NULL,
	"key" text NOT NULL,
	"request_hash" text NOT NULL,
	"generation_id" uuid,
	"body" jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "idempotency_keys_workspace_id_caller_key_pk" PRIMARY KEY("workspace_id","caller","key")
);
--> statement-breakpoint
ALTER TABLE "idempotency_keys" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "invites" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"id" uuid NOT NULL,
	"email" text NOT NULL,
	"role" text NOT NULL,
	"token_hash" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"accepted_at" timestamp with time zone,
	"invited_by" uuid DEFAULT app.user_id(),
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "invites_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "invites_token_hash_unique" UNIQUE("token_hash"),
	CONSTRAINT "invites_role_known" CHECK (role = any('{viewer,member,admin,owner}'))
);
--> statement-breakpoint
ALTER TABLE "invites" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "mails" (
	"id" uuid PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"recipient" text NOT NULL,
	"user_id" uuid,
	"language" text,
	"data" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"network" text,
	"status" text DEFAULT 'pending' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"taker" uuid,
	"lease_expires_at" timestamp with time zone,
	"token_hash" text,
	"code_hash" text,
	"tries" integer DEFAULT 0 NOT NULL,
	"expires_at" timestamp with time zone,
	"used_at" timestamp with time zone,
	"message_id" text,
	"error" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp with time zone,
	CONSTRAINT "mails_token_hash_unique" UNIQUE("token_hash"),
	CONSTRAINT "mails_kind_known" CHECK (kind = any('{verify,reset,change_old,change_new,invite,email_changed,password_changed,password_reset,factor_added,factor_removed,codes_renewed,new_device,factor_guessed,leaving,staying,export}')),
	CONSTRAINT "mails_status_known" CHECK (status = any('{pending,sending,sent,refused,unknown,void}'))
);
--> statement-breakpoint
ALTER TABLE "mails" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "memberships" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"user_id" uuid DEFAULT app.user_id() NOT NULL,
	"role" text NOT NULL,
	"entry_id" uuid DEFAULT app.uuid_v7() NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "memberships_workspace_id_user_id_pk" PRIMARY KEY("workspace_id","user_id"),
	CONSTRAINT "memberships_role_known" CHECK (role = any('{viewer,member,admin,owner}'))
);
--> statement-breakpoint
ALTER TABLE "memberships" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "outbox" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"kind" text NOT NULL,
	"subject_id" uuid NOT NULL,
	"available_at" timestamp with time zone NOT NULL,
	"sends" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "outbox_workspace_id_kind_subject_id_pk" PRIMARY KEY("workspace_id","kind","subject_id"),
	CONSTRAINT "outbox_kind_known" CHECK (kind = any('{generation,prediction.cancel,object.delete,copies.delete,object.lost,object.move,export,upload.check,upload.end,webhook.deliver,webhook.delete,workspace.delete,user.erase,user.export,mail}')),
	CONSTRAINT "outbox_reckonable" CHECK (sends between 0 and 1000000 and isfinite(available_at))
);
--> statement-breakpoint
ALTER TABLE "outbox" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "passkeys" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid DEFAULT app.user_id() NOT NULL,
	"name" text NOT NULL,
	"credential_id" text NOT NULL,
	"public_key" text NOT NULL,
	"counter" bigint NOT NULL,
	"transports" text[] NOT NULL,
	"backed_up" boolean NOT NULL,
	"last_used_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "passkeys_credential_id_unique" UNIQUE("credential_id")
);
--> statement-breakpoint
ALTER TABLE "passkeys" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "provider_jobs" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"id" uuid NOT NULL,
	"generation_id" uuid NOT NULL,
	"indexes" integer[] NOT NULL,
	"provider" text NOT NULL,
	"model" text NOT NULL,
	"output" text NOT NULL,
	"prompt" text,
	"inputs" jsonb NOT NULL,
	"operation" jsonb,
	"status" text DEFAULT 'submitting' NOT NULL,
	"object_ids" uuid[] NOT NULL,
	"stored" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"fetches" integer DEFAULT 0 NOT NULL,
	"failure" jsonb,
	"cost" numeric(12, 6),
	"credits" integer,
	"expires_at" timestamp with time zone NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp with time zone,
	CONSTRAINT "provider_jobs_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "provider_jobs_status_known" CHECK (status = any('{submitting,running,succeeded,failed,canceled,lost}'))
);
--> statement-breakpoint
ALTER TABLE "provider_jobs" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "recovery_codes" (
	"user_id" uuid DEFAULT app.user_id() NOT NULL,
	"code_hash" text NOT NULL,
	CONSTRAINT "recovery_codes_user_id_code_hash_pk" PRIMARY KEY("user_id","code_hash")
);
--> statement-breakpoint
ALTER TABLE "recovery_codes" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "sessions" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"refresh_hash" text NOT NULL,
	"refresh_generation" integer DEFAULT 0 NOT NULL,
	"refreshed_at" timestamp with time zone,
	"expires_at" timestamp with time zone NOT NULL,
	"revoked_at" timestamp with time zone,
	"ip" text,
	"country" text,
	"user_agent" text,
	"proved_at" timestamp with time zone DEFAULT now() NOT NULL,
	"second_factor" boolean DEFAULT false NOT NULL,
	"device" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "sessions_refresh_hash_unique" UNIQUE("refresh_hash")
);
--> statement-breakpoint
ALTER TABLE "sessions" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "spent_tokens" (
	"token_hash" text PRIMARY KEY NOT NULL,
	"expires_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "spent_tokens" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "totp_secrets" (
	"user_id" uuid PRIMARY KEY DEFAULT app.user_id() NOT NULL,
	"secret" text NOT NULL,
	"confirmed_at" timestamp with time zone,
	"last_step" bigint,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
ALTER TABLE "totp_secrets" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "uploads" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"id" uuid NOT NULL,
	"part_size" bigint NOT NULL,
	"upload_id" text,
	"sha256" text,
	"completed_at" timestamp with time zone,
	"lease_expires_at" timestamp with time zone,
	"ends_at" timestamp with time zone NOT NULL,
	"mismatch" text,
	CONSTRAINT "uploads_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
);
--> statement-breakpoint
ALTER TABLE "uploads" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "user_exports" (
	"user_id" uuid PRIMARY KEY NOT NULL,
	"id" uuid NOT NULL,
	"expires_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "user_exports_id_unique" UNIQUE("id")
);
--> statement-breakpoint
ALTER TABLE "user_exports" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "users" (
	"id" uuid PRIMARY KEY NOT NULL,
	"email" text,
	"name" text,
	"email_verified_at" timestamp with time zone,
	"language" text,
	"password_hash" text,
	"disabled_at" timestamp with time zone,
	"leaves_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "users_language_known" CHECK (language = any('{en,de,zh}'))
);
--> statement-breakpoint
ALTER TABLE "users" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "webhook_deliveries" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"id" uuid DEFAULT app.uuid_v7() NOT NULL,
	"endpoint_id" uuid,
	"url" text NOT NULL,
	"sequence" bigint NOT NULL,
	"payload" jsonb NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp with time zone,
	"response_status" integer,
	"error" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"delivered_at" timestamp with time zone,
	"ended_at" timestamp with time zone,
	CONSTRAINT "webhook_deliveries_workspace_id_id_pk" PRIMARY KEY("workspace_id","id"),
	CONSTRAINT "webhook_deliveries_status_known" CHECK (status = any('{pending,delivered,failed}'))
);
--> statement-breakpoint
ALTER TABLE "webhook_deliveries" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "webhook_endpoints" (
	"workspace_id" uuid DEFAULT app.workspace_id() NOT NULL,
	"id" uuid NOT NULL,
	"url" text NOT NULL,
	"events" text[] NOT NULL,
	"secret" text NOT NULL,
	"failing_since" timestamp with time zone,
	"silent_attempts" integer DEFAULT 0 NOT NULL,
	"quiet_until" timestamp with time zone,
	"disabled_at" timestamp with time zone,
	"deleted_at" timestamp with time zone,
	"created_by" uuid DEFAULT app.user_id(),
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "webhook_endpoints_workspace_id_id_pk" PRIMARY KEY("workspace_id","id")
);
--> statement-breakpoint
ALTER TABLE "webhook_endpoints" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "workspace_counters" (
	"workspace_id" uuid PRIMARY KEY NOT NULL,
	"stored_bytes" bigint DEFAULT 0 NOT NULL,
	"copied_bytes" bigint DEFAULT 0 NOT NULL,
	"queued" integer DEFAULT 0 NOT NULL,
	"running" integer DEFAULT 0 NOT NULL,
	"period" date DEFAULT '-infinity' NOT NULL,
	"reserved" bigint DEFAULT 0 NOT NULL,
	"charged" bigint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
ALTER TABLE "workspace_counters" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE TABLE "workspaces" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"slug" text NOT NULL,
	"plan" text DEFAULT 'free' NOT NULL,
	"second_factor_required" boolean DEFAULT false NOT NULL,
	"deleted_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "workspaces_slug_unique" UNIQUE("slug"),
	CONSTRAINT "workspaces_plan_known" CHECK (plan = any('{free,pro,enterprise}'))
);
--> statement-breakpoint
ALTER TABLE "workspaces" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
ALTER TABLE "accounts" ADD CONSTRAINT "accounts_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "asset_copies" ADD CONSTRAINT "asset_copies_workspace_id_asset_id_assets_workspace_id_id_fk" FOREIGN KEY ("workspace_id","asset_id") REFERENCES "public"."assets"("workspace_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "asset_exports" ADD CONSTRAINT "asset_exports_workspace_id_asset_id_assets_workspace_id_id_fk" FOREIGN KEY ("workspace_id","asset_id") REFERENCES "public"."assets"("workspace_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "asset_tags" ADD CONSTRAINT "asset_tags_workspace_id_id_assets_workspace_id_id_fk" FOREIGN KEY ("workspace_id","id") REFERENCES "public"."assets"("workspace_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "assets" ADD CONSTRAINT "assets_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "generation_outputs" ADD CONSTRAINT "generation_outputs_workspace_id_generation_id_generations_workspace_id_id_fk" FOREIGN KEY ("workspace_id","generation_id") REFERENCES "public"."generations"("workspace_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "generation_outputs" ADD CONSTRAINT "generation_outputs_workspace_id_asset_id_assets_workspace_id_id_fk" FOREIGN KEY ("workspace_id","asset_id") REFERENCES "public"."assets"("workspace_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "generations" ADD CONSTRAINT "generations_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "idempotency_keys" ADD CONSTRAINT "idempotency_keys_workspace_id_generation_id_generations_workspace_id_id_fk" FOREIGN KEY ("workspace_id","generation_id") REFERENCES "public"."generations"("workspace_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "invites" ADD CONSTRAINT "invites_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "mails" ADD CONSTRAINT "mails_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "memberships" ADD CONSTRAINT "memberships_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "memberships" ADD CONSTRAINT "memberships_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "passkeys" ADD CONSTRAINT "passkeys_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "provider_jobs" ADD CONSTRAINT "provider_jobs_workspace_id_generation_id_generations_workspace_id_id_fk" FOREIGN KEY ("workspace_id","generation_id") REFERENCES "public"."generations"("workspace_id","id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "recovery_codes" ADD CONSTRAINT "recovery_codes_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "totp_secrets" ADD CONSTRAINT "totp_secrets_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "user_exports" ADD CONSTRAINT "user_exports_user_id_users_id_fk" FOREIGN KEY ("user_id") REFERENCES "public"."users"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_deliveries" ADD CONSTRAINT "webhook_deliveries_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_deliveries" ADD CONSTRAINT "webhook_deliveries_workspace_id_endpoint_id_webhook_endpoints_workspace_id_id_fk" FOREIGN KEY ("workspace_id","endpoint_id") REFERENCES "public"."webhook_endpoints"("workspace_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_endpoints" ADD CONSTRAINT "webhook_endpoints_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "workspace_counters" ADD CONSTRAINT "workspace_counters_workspace_id_workspaces_id_fk" FOREIGN KEY ("workspace_id") REFERENCES "public"."workspaces"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "accounts_user" ON "accounts" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "api_keys_in_force" ON "api_keys" USING btree ("workspace_id","id") WHERE revoked_at is null;--> statement-breakpoint
CREATE INDEX "api_keys_maker" ON "api_keys" USING btree ("created_by");--> statement-breakpoint
CREATE INDEX "api_keys_end" ON "api_keys" USING btree (least(revoked_at, expires_at));--> statement-breakpoint
CREATE INDEX "asset_exports_asset" ON "asset_exports" USING btree ("workspace_id","asset_id","id");--> statement-breakpoint
CREATE INDEX "asset_exports_output" ON "asset_exports" USING btree ("workspace_id","output_id");--> statement-breakpoint
CREATE UNIQUE INDEX "asset_exports_open" ON "asset_exports" USING btree ("workspace_id","asset_id","channel") WHERE status = 'queued';--> statement-breakpoint
CREATE INDEX "asset_tags_filter" ON "asset_tags" USING btree ("workspace_id","tag","kind","source","status","id");--> statement-breakpoint
CREATE INDEX "assets_filter" ON "assets" USING btree ("workspace_id","kind","source","status","id");--> statement-breakpoint
CREATE INDEX "assets_bytes" ON "assets" USING btree ("workspace_id","sha256") WHERE status = 'ready';--> statement-breakpoint
CREATE INDEX "assets_object" ON "assets" USING btree ("workspace_id","object_id");--> statement-breakpoint
CREATE INDEX "assets_away" ON "assets" USING btree ("workspace_id","object_id") WHERE store = 'fallback';--> statement-breakpoint
CREATE INDEX "assets_name" ON "assets" USING gin ((workspace_id::text),"name" gin_trgm_ops) WITH (gin_pending_list_limit=256);--> statement-breakpoint
CREATE INDEX "audit_checkpoints_time" ON "audit_checkpoints" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "audit_heads_waiting" ON "audit_heads" USING btree ("waits_since") WHERE waits_since is not null;--> statement-breakpoint
CREATE INDEX "audit_logs_workspace" ON "audit_logs" USING btree ("workspace_id","id");--> statement-breakpoint
CREATE INDEX "audit_logs_kind" ON "audit_logs" USING btree ("workspace_id","resource_type","action","id");--> statement-breakpoint
CREATE INDEX "audit_logs_actor" ON "audit_logs" USING btree ("workspace_id","actor_id","resource_type","action","id");--> statement-breakpoint
CREATE INDEX "audit_logs_resource" ON "audit_logs" USING btree ("workspace_id","resource_id","id");--> statement-breakpoint
CREATE INDEX "bounces_time" ON "bounces" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "erased_accounts_time" ON "erased_accounts" USING btree ("erased_at");--> statement-breakpoint
CREATE INDEX "free_grants_network" ON "free_grants" USING btree ("network","created_at");--> statement-breakpoint
CREATE INDEX "free_grants_domain" ON "free_grants" USING btree ("domain","created_at");--> statement-breakpoint
CREATE INDEX "generation_events_generation" ON "generation_events" USING btree ("workspace_id","generation_id","sequence");--> statement-breakpoint
CREATE INDEX "generation_events_time" ON "generation_events" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "generations_status" ON "generations" USING btree ("workspace_id","status","id");--> statement-breakpoint
CREATE INDEX "generations_task" ON "generations" USING btree ("workspace_id","task","status","id");--> statement-breakpoint
CREATE INDEX "idempotency_keys_time" ON "idempotency_keys" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "invites_open" ON "invites" USING btree ("workspace_id","id") WHERE accepted_at is null;--> statement-breakpoint
CREATE INDEX "invites_address" ON "invites" USING btree ("workspace_id","email","id");--> statement-breakpoint
CREATE INDEX "invites_end" ON "invites" USING btree (least(accepted_at, expires_at));--> statement-breakpoint
CREATE INDEX "invites_maker" ON "invites" USING btree ("invited_by");--> statement-breakpoint
CREATE INDEX "mails_recipient" ON "mails" USING btree ("recipient","created_at");--> statement-breakpoint
CREATE INDEX "mails_network" ON "mails" USING btree ("network","created_at");--> statement-breakpoint
CREATE INDEX "mails_user" ON "mails" USING btree ("user_id","created_at");--> statement-breakpoint
CREATE INDEX "mails_time" ON "mails" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "memberships_user" ON "memberships" USING btree ("user_id","workspace_id");--> statement-breakpoint
CREATE INDEX "memberships_entry" ON "memberships" USING btree ("workspace_id","entry_id");--> statement-breakpoint
CREATE INDEX "memberships_owners" ON "memberships" USING btree ("workspace_id","user_id") WHERE role = 'owner';--> statement-breakpoint
CREATE INDEX "outbox_due" ON "outbox" USING btree ("available_at");--> statement-breakpoint
CREATE INDEX "passkeys_user" ON "passkeys" USING btree ("user_id","id");--> statement-breakpoint
CREATE INDEX "provider_jobs_generation" ON "provider_jobs" USING btree ("workspace_id","generation_id","id");--> statement-breakpoint
CREATE INDEX "sessions_user" ON "sessions" USING btree ("user_id","id") WHERE revoked_at is null;--> statement-breakpoint
CREATE INDEX "sessions_all" ON "sessions" USING btree ("user_id");--> statement-breakpoint
CREATE INDEX "sessions_end" ON "sessions" USING btree (least(revoked_at, expires_at));--> statement-breakpoint
CREATE INDEX "spent_tokens_end" ON "spent_tokens" USING btree ("expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "users_email_unique" ON "users" USING btree ("email") WHERE email_verified_at is not null;--> statement-breakpoint
CREATE INDEX "users_email" ON "users" USING btree ("email","id");--> statement-breakpoint
CREATE INDEX "users_without_email" ON "users" USING btree ("updated_at") WHERE email is null;--> statement-breakpoint
CREATE INDEX "webhook_deliveries_event" ON "webhook_deliveries" USING btree ("workspace_id","sequence");--> statement-breakpoint
CREATE INDEX "webhook_deliveries_endpoint" ON "webhook_deliveries" USING btree ("workspace_id","endpoint_id","id");--> statement-breakpoint
CREATE INDEX "webhook_deliveries_end" ON "webhook_deliveries" USING btree ("ended_at");--> statement-breakpoint
CREATE INDEX "webhook_deliveries_status" ON "webhook_deliveries" USING btree ("workspace_id","endpoint_id","status","id");--> statement-breakpoint
CREATE INDEX "webhook_endpoints_maker" ON "webhook_endpoints" USING btree ("created_by");--> statement-breakpoint
CREATE POLICY "system" ON "accounts" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "accounts" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "api_keys" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "admin" ON "api_keys" AS RESTRICTIVE FOR ALL TO "app_tenant" USING ((select app.own_rank() >= app.role_rank('admin')));--> statement-breakpoint
CREATE POLICY "make" ON "api_keys" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (created_by = (select app.user_id()));--> statement-breakpoint
CREATE POLICY "insert_action" ON "api_keys" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('api_key.create'));--> statement-breakpoint
CREATE POLICY "update_action" ON "api_keys" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('api_key.revoke', 'member.update', 'member.remove')) WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('api_key.revoke', 'member.update', 'member.remove'));--> statement-breakpoint
CREATE POLICY "revoke" ON "api_keys" AS RESTRICTIVE FOR UPDATE TO "app_tenant" WITH CHECK (revoked_at is not null);--> statement-breakpoint
CREATE POLICY "delete_action" ON "api_keys" AS RESTRICTIVE FOR DELETE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('workspace.delete'));--> statement-breakpoint
CREATE POLICY "system" ON "api_keys" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "api_keys" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "asset_copies" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "tenant" ON "asset_exports" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "insert_action" ON "asset_exports" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('export.create'));--> statement-breakpoint
CREATE POLICY "update_action" ON "asset_exports" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('export.finish', '')) WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('export.finish', ''));--> statement-breakpoint
CREATE POLICY "tenant" ON "asset_tags" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "system" ON "asset_tags" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "assets" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "insert_action" ON "assets" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('asset.create', 'asset.begin', 'export.finish'));--> statement-breakpoint
CREATE POLICY "update_action" ON "assets" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('asset.update', 'asset.complete', '')) WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('asset.update', 'asset.complete', ''));--> statement-breakpoint
CREATE POLICY "delete_action" ON "assets" AS RESTRICTIVE FOR DELETE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('asset.delete', 'asset.lose', 'asset.expire', 'asset.complete', 'asset.begin', 'workspace.delete'));--> statement-breakpoint
CREATE POLICY "jobs" ON "assets" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "search" ON "assets" AS PERMISSIVE FOR SELECT TO "app_gate" USING (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "audit_checkpoints" AS PERMISSIVE FOR SELECT TO "app_tenant" USING (workspace_id = (select app.workspace_id()) and coalesce((select app.context() ->> 'action'), '') in ('audit.list', 'audit.export', 'audit.verify', 'checkpoint.list', 'access.refuse'));--> statement-breakpoint
CREATE POLICY "system" ON "audit_checkpoints" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "audit_checkpoints" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "audit_heads" AS PERMISSIVE FOR SELECT TO "app_tenant" USING (workspace_id = (select app.workspace_id()) and coalesce((select app.context() ->> 'action'), '') in ('audit.list', 'audit.export', 'audit.verify', 'checkpoint.list', 'access.refuse'));--> statement-breakpoint
CREATE POLICY "system" ON "audit_heads" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "audit_heads" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "audit_logs" AS PERMISSIVE FOR SELECT TO "app_tenant" USING (workspace_id = (select app.workspace_id()) and coalesce((select app.context() ->> 'action'), '') in ('audit.list', 'audit.export', 'audit.verify', 'checkpoint.list', 'access.refuse'));--> statement-breakpoint
CREATE POLICY "system" ON "audit_logs" AS PERMISSIVE FOR INSERT TO "app_system" WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "gate" ON "audit_logs" AS PERMISSIVE FOR SELECT TO "app_gate" USING (workspace_id is null);--> statement-breakpoint
CREATE POLICY "retention" ON "audit_logs" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "gate" ON "bounces" AS PERMISSIVE FOR ALL TO "app_gate" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "bounces" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "credit_entries" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "jobs" ON "credit_entries" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "credit_entries" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "gate" ON "erased_accounts" AS PERMISSIVE FOR ALL TO "app_gate" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "erased_accounts" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "system" ON "event_heads" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "jobs" ON "event_heads" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "event_heads" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "gate" ON "free_budget" AS PERMISSIVE FOR ALL TO "app_gate" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "gate" ON "free_grants" AS PERMISSIVE FOR ALL TO "app_gate" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "generation_events" AS PERMISSIVE FOR SELECT TO "app_tenant" USING (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "system" ON "generation_events" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "jobs" ON "generation_events" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "generation_events" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "generation_outputs" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "jobs" ON "generation_outputs" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "generation_timings" AS PERMISSIVE FOR SELECT TO "app_tenant" USING ((select app.workspace_id()) is not null);--> statement-breakpoint
CREATE POLICY "system" ON "generation_timings" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "jobs" ON "generation_timings" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "generations" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "jobs" ON "generations" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "generations" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "idempotency_keys" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "jobs" ON "idempotency_keys" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "idempotency_keys" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "invites" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "admin" ON "invites" AS RESTRICTIVE FOR ALL TO "app_tenant" USING ((select app.own_rank() >= app.role_rank('admin')));--> statement-breakpoint
CREATE POLICY "invite" ON "invites" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (app.role_rank(role) <= (select app.own_rank()) and invited_by = (select app.user_id()));--> statement-breakpoint
CREATE POLICY "insert_action" ON "invites" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('invite.create'));--> statement-breakpoint
CREATE POLICY "delete_action" ON "invites" AS RESTRICTIVE FOR DELETE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('invite.create', 'invite.delete', 'member.update', 'member.remove', 'workspace.transfer', 'workspace.delete'));--> statement-breakpoint
CREATE POLICY "system" ON "invites" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "invites" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "gate" ON "mails" AS PERMISSIVE FOR ALL TO "app_gate" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "mails" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "memberships" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "own" ON "memberships" AS PERMISSIVE FOR SELECT TO "app_tenant" USING (user_id = (select app.user_id()));--> statement-breakpoint
CREATE POLICY "update_action" ON "memberships" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('member.update', 'workspace.transfer')) WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('member.update', 'workspace.transfer'));--> statement-breakpoint
CREATE POLICY "delete_action" ON "memberships" AS RESTRICTIVE FOR DELETE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('member.remove'));--> statement-breakpoint
CREATE POLICY "promote" ON "memberships" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING ((select app.own_rank() >= app.role_rank('admin')) and app.role_rank(role) <= (select app.own_rank())) WITH CHECK (app.role_rank(role) <= (select app.own_rank()));--> statement-breakpoint
CREATE POLICY "remove" ON "memberships" AS RESTRICTIVE FOR DELETE TO "app_tenant" USING (user_id = (select app.user_id()) or (select app.own_rank() >= app.role_rank('admin')) and app.role_rank(role) <= (select app.own_rank()));--> statement-breakpoint
CREATE POLICY "system" ON "memberships" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "memberships" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "outbox" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "owe" ON "outbox" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (available_at < now() + interval '90 days');--> statement-breakpoint
CREATE POLICY "put_off" ON "outbox" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING ((select app.own_rank()) >= app.role_rank(case
  when kind = 'copies.delete' then 'viewer'
  when kind in ('object.delete', 'object.move', 'upload.check', 'upload.end') then 'member'
  when kind in ('webhook.deliver', 'webhook.delete') then 'admin'
  else 'owner' end)) WITH CHECK ((select app.own_rank()) >= app.role_rank(case
  when kind = 'copies.delete' then 'viewer'
  when kind in ('object.delete', 'object.move', 'upload.check', 'upload.end') then 'member'
  when kind in ('webhook.deliver', 'webhook.delete') then 'admin'
  else 'owner' end) and available_at < now() + interval '90 days');--> statement-breakpoint
CREATE POLICY "settle" ON "outbox" AS RESTRICTIVE FOR DELETE TO "app_tenant" USING ((select app.own_rank()) >= app.role_rank(case
  when kind = 'copies.delete' then 'viewer'
  when kind in ('object.delete', 'object.move', 'upload.check', 'upload.end') then 'member'
  when kind in ('webhook.deliver', 'webhook.delete') then 'admin'
  else 'owner' end));--> statement-breakpoint
CREATE POLICY "jobs" ON "outbox" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "system" ON "outbox" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "outbox" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "passkeys" AS PERMISSIVE FOR ALL TO "app_tenant" USING (user_id = (select app.user_id())) WITH CHECK (user_id = (select app.user_id()));--> statement-breakpoint
CREATE POLICY "insert_action" ON "passkeys" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('passkey.create'));--> statement-breakpoint
CREATE POLICY "update_action" ON "passkeys" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('session.prove')) WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('session.prove'));--> statement-breakpoint
CREATE POLICY "delete_action" ON "passkeys" AS RESTRICTIVE FOR DELETE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('passkey.delete'));--> statement-breakpoint
CREATE POLICY "system" ON "passkeys" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "passkeys" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "provider_jobs" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "jobs" ON "provider_jobs" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "provider_jobs" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "recovery_codes" AS PERMISSIVE FOR ALL TO "app_tenant" USING (user_id = (select app.user_id())) WITH CHECK (user_id = (select app.user_id()));--> statement-breakpoint
CREATE POLICY "insert_action" ON "recovery_codes" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('totp.confirm', 'passkey.create', 'recovery_code.create'));--> statement-breakpoint
CREATE POLICY "update_action" ON "recovery_codes" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('session.prove')) WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('session.prove'));--> statement-breakpoint
CREATE POLICY "delete_action" ON "recovery_codes" AS RESTRICTIVE FOR DELETE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('totp.confirm', 'totp.delete', 'passkey.delete', 'recovery_code.create', 'session.prove'));--> statement-breakpoint
CREATE POLICY "system" ON "recovery_codes" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "sessions" AS PERMISSIVE FOR ALL TO "app_tenant" USING (user_id = (select app.user_id())) WITH CHECK (user_id = (select app.user_id()));--> statement-breakpoint
CREATE POLICY "ended" ON "sessions" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING (revoked_at is null) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "system" ON "sessions" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "sessions" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "spent_tokens" AS PERMISSIVE FOR INSERT TO "app_tenant" WITH CHECK (expires_at < now() + interval '1 day');--> statement-breakpoint
CREATE POLICY "insert_action" ON "spent_tokens" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('passkey.create', 'session.prove'));--> statement-breakpoint
CREATE POLICY "system" ON "spent_tokens" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "spent_tokens" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "totp_secrets" AS PERMISSIVE FOR ALL TO "app_tenant" USING (user_id = (select app.user_id())) WITH CHECK (user_id = (select app.user_id()));--> statement-breakpoint
CREATE POLICY "insert_action" ON "totp_secrets" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('totp.create'));--> statement-breakpoint
CREATE POLICY "update_action" ON "totp_secrets" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('totp.create', 'totp.confirm', 'session.prove')) WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('totp.create', 'totp.confirm', 'session.prove'));--> statement-breakpoint
CREATE POLICY "delete_action" ON "totp_secrets" AS RESTRICTIVE FOR DELETE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('totp.delete'));--> statement-breakpoint
CREATE POLICY "system" ON "totp_secrets" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "uploads" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "gate" ON "user_exports" AS PERMISSIVE FOR ALL TO "app_gate" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "users" AS PERMISSIVE FOR SELECT TO "app_tenant" USING (id = (select app.user_id()) or exists (select from memberships m where m.user_id = users.id and m.workspace_id = (select app.workspace_id())));--> statement-breakpoint
CREATE POLICY "self" ON "users" AS PERMISSIVE FOR UPDATE TO "app_tenant" USING (id = (select app.user_id())) WITH CHECK (id = (select app.user_id()));--> statement-breakpoint
CREATE POLICY "system" ON "users" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "users" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "webhook_deliveries" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "admin" ON "webhook_deliveries" AS RESTRICTIVE FOR ALL TO "app_tenant" USING ((select app.own_rank() >= app.role_rank('admin')));--> statement-breakpoint
CREATE POLICY "jobs" ON "webhook_deliveries" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "system" ON "webhook_deliveries" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "webhook_deliveries" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "webhook_endpoints" AS PERMISSIVE FOR ALL TO "app_tenant" USING (workspace_id = (select app.workspace_id())) WITH CHECK (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "admin" ON "webhook_endpoints" AS RESTRICTIVE FOR ALL TO "app_tenant" USING ((select app.own_rank() >= app.role_rank('admin')));--> statement-breakpoint
CREATE POLICY "insert_action" ON "webhook_endpoints" AS RESTRICTIVE FOR INSERT TO "app_tenant" WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('webhook.create'));--> statement-breakpoint
CREATE POLICY "update_action" ON "webhook_endpoints" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('webhook.update', 'webhook.delete', 'workspace.delete', 'workspace.restore', '')) WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('webhook.update', 'webhook.delete', 'workspace.delete', 'workspace.restore', ''));--> statement-breakpoint
CREATE POLICY "delete_action" ON "webhook_endpoints" AS RESTRICTIVE FOR DELETE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('workspace.delete', ''));--> statement-breakpoint
CREATE POLICY "system" ON "webhook_endpoints" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "workspace_counters" AS PERMISSIVE FOR SELECT TO "app_tenant" USING (workspace_id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "system" ON "workspace_counters" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "jobs" ON "workspace_counters" AS PERMISSIVE FOR ALL TO "app_jobs" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "workspace_counters" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "tenant" ON "workspaces" AS PERMISSIVE FOR ALL TO "app_tenant" USING (id = (select app.workspace_id())) WITH CHECK (id = (select app.workspace_id()));--> statement-breakpoint
CREATE POLICY "own" ON "workspaces" AS PERMISSIVE FOR SELECT TO "app_tenant" USING (exists (select from memberships m where m.workspace_id = workspaces.id and m.user_id = (select app.user_id())));--> statement-breakpoint
CREATE POLICY "admin" ON "workspaces" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING ((select app.own_rank() >= app.role_rank('admin'))) WITH CHECK (deleted_at is null or (select app.own_rank() >= app.role_rank('owner')));--> statement-breakpoint
CREATE POLICY "update_action" ON "workspaces" AS RESTRICTIVE FOR UPDATE TO "app_tenant" USING (coalesce((select app.context() ->> 'action'), '') in ('workspace.update', 'workspace.delete', 'workspace.restore')) WITH CHECK (coalesce((select app.context() ->> 'action'), '') in ('workspace.update', 'workspace.delete', 'workspace.restore'));--> statement-breakpoint
CREATE POLICY "system" ON "workspaces" AS PERMISSIVE FOR ALL TO "app_system" USING (true) WITH CHECK (true);--> statement-breakpoint
CREATE POLICY "retention" ON "workspaces" AS PERMISSIVE FOR ALL TO "app_retention" USING (true) WITH CHECK (true);