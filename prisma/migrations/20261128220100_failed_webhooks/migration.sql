-- A stored webhook that cannot be processed is retried with a growing delay, then marked as failed.
ALTER TABLE "ultravox_webhooks"
  ADD COLUMN "next_attempt_at" TIMESTAMPTZ(3),
  ADD COLUMN "failed_at" TIMESTAMPTZ(3),
  ADD CONSTRAINT "ultravox_webhooks_failed_is_unprocessed"
    CHECK ("failed_at" IS NULL OR "processed_at" IS NULL);

CREATE INDEX "ultravox_webhooks_failed" ON "ultravox_webhooks"("failed_at") WHERE ("failed_at" IS NOT NULL);
