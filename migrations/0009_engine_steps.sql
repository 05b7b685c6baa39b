ALTER TABLE "generations" ADD COLUMN "next_step_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "generations" ADD COLUMN "woken_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "generations" ADD COLUMN "results_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "generations" ADD COLUMN "stored_outputs" jsonb DEFAULT '[]'::jsonb NOT NULL;