-- Built while calls are written; see src/infra/migrations/concurrent-indexes.ts.

-- CreateIndex
CREATE INDEX CONCURRENTLY "calls_released" ON "calls"("organization_id", "created_at", "id") WHERE (placement = 'QUEUED' AND owner IS NOT NULL);
