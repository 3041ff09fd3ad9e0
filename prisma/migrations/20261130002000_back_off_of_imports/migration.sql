-- AlterTable
ALTER TABLE "contact_imports" ADD COLUMN     "next_run_at" TIMESTAMPTZ(3),
ADD COLUMN     "stalled_runs" INTEGER NOT NULL DEFAULT 0;
