-- AlterTable
ALTER TABLE "organizations" ADD COLUMN     "allow_premium_numbers" BOOLEAN NOT NULL DEFAULT false;
