-- AlterTable
ALTER TABLE "webhook_endpoints" ADD COLUMN     "deleted_at" TIMESTAMPTZ(3);

-- CreateIndex
CREATE INDEX "webhook_endpoints_disabled" ON "webhook_endpoints"("id") WHERE (disabled_at IS NOT NULL);
