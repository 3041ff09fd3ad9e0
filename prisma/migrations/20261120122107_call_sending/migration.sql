-- AlterTable
ALTER TABLE "calls" ADD COLUMN     "sending_at" TIMESTAMPTZ(3);
