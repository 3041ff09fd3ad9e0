-- AlterTable
ALTER TABLE "call_discovery" ADD COLUMN     "lease_id" UUID,
ADD COLUMN     "lease_until" TIMESTAMPTZ(3);
