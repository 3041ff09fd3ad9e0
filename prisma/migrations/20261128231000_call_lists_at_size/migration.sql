-- Each is built while calls are written; see src/infra/concurrent-indexes.ts.

-- CreateIndex
CREATE INDEX CONCURRENTLY "calls_with_phone_number" ON "calls"("organization_id", "phone_number", "created_at", "id") WHERE (phone_number IS NOT NULL);

-- CreateIndex
CREATE INDEX CONCURRENTLY "calls_of_campaign_by_end" ON "calls"("campaign_id", "ended_at", "id") WHERE (campaign_id IS NOT NULL AND ended_at IS NOT NULL);

-- CreateIndex
CREATE INDEX CONCURRENTLY "post_call_steps_not_done" ON "post_call_steps"("organization_id", "kind", "status", "call_id") WHERE (status <> 'DONE');

-- Without deleted calls, so that counts need not read the table.

-- CreateIndex
CREATE INDEX CONCURRENTLY "calls_listed" ON "calls"("organization_id", "created_at", "id") WHERE (deleted_at IS NULL);

-- CreateIndex
CREATE INDEX CONCURRENTLY "calls_listed_by_status" ON "calls"("organization_id", "status", "created_at", "id") WHERE (deleted_at IS NULL);

-- CreateIndex
CREATE INDEX CONCURRENTLY "calls_listed_by_end_reason" ON "calls"("organization_id", "end_reason", "created_at", "id") WHERE (end_reason IS NOT NULL AND deleted_at IS NULL);

-- DropIndex
DROP INDEX CONCURRENTLY IF EXISTS "calls_organization_id_created_at_id_idx";

-- DropIndex
DROP INDEX CONCURRENTLY IF EXISTS "calls_organization_id_status_created_at_id_idx";

-- DropIndex
DROP INDEX CONCURRENTLY IF EXISTS "calls_by_end_reason";
