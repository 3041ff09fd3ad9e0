-- DropIndex
DROP INDEX "calls_metadata_idx";

-- AlterTable
ALTER TABLE "calls" ADD COLUMN     "metadata_entries" TEXT[];

-- CreateIndex
CREATE INDEX "calls_metadata_entries_idx" ON "calls" USING GIN ("metadata_entries");
