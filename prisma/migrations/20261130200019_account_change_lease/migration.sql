-- AlterTable
ALTER TABLE "telephony_configs" ADD COLUMN     "change_lease_id" UUID,
ADD COLUMN     "change_lease_until" TIMESTAMPTZ(3);
