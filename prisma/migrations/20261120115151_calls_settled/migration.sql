-- AlterTable
ALTER TABLE "calls" ADD COLUMN     "failure_code" TEXT,
ADD COLUMN     "ultravox_removed_at" TIMESTAMPTZ(3),
ALTER COLUMN "metadata_entries" SET DEFAULT ARRAY[]::TEXT[];

-- AlterTable
ALTER TABLE "ultravox_webhooks" ADD COLUMN     "attempts" INTEGER NOT NULL DEFAULT 0;

-- CreateIndex
CREATE INDEX "calls_to_remove" ON "calls"("deleted_at") WHERE (deleted_at IS NOT NULL AND ultravox_removed_at IS NULL);
