-- AlterTable
ALTER TABLE "telephony_configs" ADD COLUMN     "created_here" BOOLEAN NOT NULL DEFAULT false;

-- Until now the server replaced whatever account was there.
UPDATE "telephony_configs" SET "created_here" = true
WHERE "remote_id" IS NOT NULL OR "remote_attempt_at" IS NOT NULL;
