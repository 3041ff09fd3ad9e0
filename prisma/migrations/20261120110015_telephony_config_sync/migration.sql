-- AlterTable
ALTER TABLE "telephony_configs" ADD COLUMN     "deleted_at" TIMESTAMPTZ(3),
ADD COLUMN     "id" UUID NOT NULL DEFAULT gen_random_uuid(),
ADD COLUMN     "refused_revision" INTEGER,
ADD COLUMN     "remote_attempt_at" TIMESTAMPTZ(3),
ADD COLUMN     "revision" INTEGER NOT NULL DEFAULT 1,
ADD COLUMN     "status" "SyncStatus" NOT NULL DEFAULT 'DRAFT',
ADD COLUMN     "sync_attempts" INTEGER NOT NULL DEFAULT 0,
ADD COLUMN     "sync_error" TEXT,
ADD COLUMN     "sync_lease_id" UUID,
ADD COLUMN     "sync_lease_until" TIMESTAMPTZ(3),
ADD COLUMN     "synced_revision" INTEGER,
ADD COLUMN     "ultravox_id" TEXT;

-- CreateIndex
CREATE UNIQUE INDEX "telephony_configs_id_key" ON "telephony_configs"("id");
