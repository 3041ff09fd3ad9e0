-- AlterTable
ALTER TABLE "post_call_steps" ADD COLUMN "on_request" BOOLEAN NOT NULL DEFAULT false;
