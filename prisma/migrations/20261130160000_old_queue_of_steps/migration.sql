-- Dropped while calls are written; see src/infra/migrations/concurrent-indexes.ts.

-- Replaced by an index for each lane.
DROP INDEX CONCURRENTLY IF EXISTS "post_call_steps_queue";
