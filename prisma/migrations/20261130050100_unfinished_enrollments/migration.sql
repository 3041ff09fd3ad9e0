-- Built while contacts are added; see src/infra/migrations/concurrent-indexes.ts.

-- CreateIndex
CREATE INDEX CONCURRENTLY "campaign_enrollments_status_updated_at_idx" ON "campaign_enrollments"("status", "updated_at");
