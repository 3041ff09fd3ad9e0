-- Built while calls are written; see src/infra/migrations/concurrent-indexes.ts.

-- CreateIndex
CREATE INDEX CONCURRENTLY "post_call_steps_queue" ON "post_call_steps"("on_request", "next_attempt_at") WHERE (next_attempt_at IS NOT NULL);

-- DropIndex
DROP INDEX CONCURRENTLY IF EXISTS "post_call_steps_due";
