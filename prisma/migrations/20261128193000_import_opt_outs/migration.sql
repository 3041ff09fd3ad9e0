-- AlterTable
ALTER TABLE "contact_imports" ADD COLUMN     "do_not_call_count" INTEGER NOT NULL DEFAULT 0;
