-- AlterTable
ALTER TABLE "agents" ADD COLUMN     "resent_revision" INTEGER;
