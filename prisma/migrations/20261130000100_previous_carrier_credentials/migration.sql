-- AlterTable
ALTER TABLE "telephony_configs" ADD COLUMN     "previous_credentials" TEXT;
