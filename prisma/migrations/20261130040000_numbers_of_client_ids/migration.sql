-- Built while contacts are written; see src/infra/migrations/concurrent-indexes.ts.

-- CreateIndex
CREATE INDEX CONCURRENTLY "campaign_contacts_with_client_id" ON "campaign_contacts"("campaign_id", "phone_number") WHERE (client_id IS NOT NULL);
