-- AlterTable
ALTER TABLE "calls" ADD COLUMN "refused_at" TIMESTAMPTZ(3);
