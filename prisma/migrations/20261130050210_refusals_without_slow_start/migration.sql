-- AlterTable
ALTER TABLE "creation_refusals" ADD COLUMN "starts_slowly" BOOLEAN NOT NULL DEFAULT true;
