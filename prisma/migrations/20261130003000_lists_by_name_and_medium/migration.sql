-- Built while calls and contacts are written; see src/infra/migrations/concurrent-indexes.ts.

-- CreateIndex
CREATE INDEX CONCURRENTLY "contacts_by_first_name" ON "contacts"("organization_id", "first_name", "id") WHERE (first_name IS NOT NULL);

-- CreateIndex
CREATE INDEX CONCURRENTLY "contacts_by_last_name" ON "contacts"("organization_id", "last_name", "id") WHERE (last_name IS NOT NULL);

-- CreateIndex
CREATE INDEX CONCURRENTLY "calls_listed_by_medium" ON "calls"("organization_id", "medium", "created_at", "id") WHERE (deleted_at IS NULL);
