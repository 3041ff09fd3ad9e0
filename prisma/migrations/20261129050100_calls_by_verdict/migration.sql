-- Built while calls are written; see src/infra/migrations/concurrent-indexes.ts.

-- CreateIndex
CREATE INDEX CONCURRENTLY "call_facts_by_success" ON "call_facts"("organization_id", "success", "call_id") WHERE (success IS NOT NULL);
