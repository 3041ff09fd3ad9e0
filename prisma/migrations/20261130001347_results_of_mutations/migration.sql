-- AlterTable
ALTER TABLE "idempotency_keys" ADD COLUMN     "field_results" TEXT;
