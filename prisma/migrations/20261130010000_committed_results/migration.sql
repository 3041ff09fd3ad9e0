-- AlterTable
ALTER TABLE "idempotency_keys" ADD COLUMN     "committed_results" JSONB;
