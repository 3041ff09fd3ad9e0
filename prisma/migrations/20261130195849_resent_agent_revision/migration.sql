-- AlterTable
ALTER TABLE "calls" ADD COLUMN     "resent_agent_revision" INTEGER;
