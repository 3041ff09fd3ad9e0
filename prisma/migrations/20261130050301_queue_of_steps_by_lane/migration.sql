-- Built while calls are written; see src/infra/migrations/concurrent-indexes.ts.

-- CreateIndex
CREATE INDEX CONCURRENTLY "post_call_steps_queue_fast" ON "post_call_steps"("on_request", "next_attempt_at") WHERE (next_attempt_at IS NOT NULL AND kind <> 'ANALYSIS');

-- CreateIndex
CREATE INDEX CONCURRENTLY "post_call_steps_queue_slow" ON "post_call_steps"("on_request", "next_attempt_at") WHERE (next_attempt_at IS NOT NULL AND kind = 'ANALYSIS');
