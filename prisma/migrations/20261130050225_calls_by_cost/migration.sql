-- Built while calls are written; see src/infra/migrations/concurrent-indexes.ts.

-- CreateIndex
CREATE INDEX CONCURRENTLY "calls_by_cost" ON "calls"("organization_id", "cost_amount", "id") WHERE (cost_amount IS NOT NULL);
