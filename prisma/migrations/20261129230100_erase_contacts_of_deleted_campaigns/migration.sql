-- AlterTable
ALTER TABLE "campaigns" ADD COLUMN     "contacts_erased_at" TIMESTAMPTZ(3);

-- CreateIndex
CREATE INDEX "campaigns_with_contacts_to_erase" ON "campaigns"("deleted_at") WHERE (deleted_at IS NOT NULL AND contacts_erased_at IS NULL);

-- Secrets of numbers that were released before.
UPDATE "phone_numbers" SET "credentials" = NULL WHERE "released_at" IS NOT NULL AND "credentials" IS NOT NULL;
