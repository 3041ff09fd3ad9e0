-- Built while contacts are written; see src/infra/migrations/concurrent-indexes.ts.

-- CreateIndex
CREATE INDEX CONCURRENTLY "contacts_without_first_name" ON "contacts"("organization_id", "id") WHERE (first_name IS NULL);

-- CreateIndex
CREATE INDEX CONCURRENTLY "contacts_without_last_name" ON "contacts"("organization_id", "id") WHERE (last_name IS NULL);
