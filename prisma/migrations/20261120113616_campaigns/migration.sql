-- CreateEnum
CREATE TYPE "CampaignStatus" AS ENUM ('DRAFT', 'SCHEDULED', 'ACTIVE', 'PAUSED', 'COMPLETED', 'FAILED', 'CANCELLED');

-- CreateEnum
CREATE TYPE "CampaignContactStatus" AS ENUM ('PENDING', 'SCHEDULED', 'CALLING', 'COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED');

-- CreateEnum
CREATE TYPE "PhoneRotationStrategy" AS ENUM ('RANDOM', 'SEQUENTIAL', 'ROUND_ROBIN');

-- CreateEnum
CREATE TYPE "CampaignContactSource" AS ENUM ('CSV', 'FOLDER', 'MANUAL');

-- CreateEnum
CREATE TYPE "CampaignScheduleType" AS ENUM ('IMMEDIATE', 'SCHEDULED');

-- CreateEnum
CREATE TYPE "CampaignDecisionOutcome" AS ENUM ('DIALLED', 'WAITS', 'RETRIES', 'COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED');

-- AlterEnum
-- This migration adds more than one value to an enum.
-- With PostgreSQL versions 11 and earlier, this is not possible
-- in a single migration. This can be worked around by creating
-- multiple migrations, each migration adding only one value to
-- the enum.


ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_CREATED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_STATUS_CHANGED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_COMPLETED';

-- AlterTable
ALTER TABLE "calls" ADD COLUMN     "campaign_contact_id" UUID,
ADD COLUMN     "campaign_id" UUID;

-- AlterTable
ALTER TABLE "events" ADD COLUMN     "campaign_id" UUID;

-- CreateTable
CREATE TABLE "campaigns" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "agent_id" UUID NOT NULL,
    "status" "CampaignStatus" NOT NULL,
    "status_reason" TEXT,
    "phone_rotation_strategy" "PhoneRotationStrategy" NOT NULL,
    "rotation_index" INTEGER NOT NULL DEFAULT 0,
    "contact_source" "CampaignContactSource" NOT NULL,
    "contact_folder_id" UUID,
    "schedule_type" "CampaignScheduleType" NOT NULL,
    "scheduled_at" TIMESTAMPTZ(3),
    "timezone" TEXT NOT NULL,
    "start_minute" INTEGER,
    "end_minute" INTEGER,
    "working_days" INTEGER[],
    "max_concurrent_calls" INTEGER NOT NULL,
    "max_calls_per_day" INTEGER,
    "retry_failed" BOOLEAN NOT NULL,
    "max_retry_attempts" INTEGER NOT NULL,
    "retry_delay_seconds" INTEGER NOT NULL,
    "total_contacts" INTEGER NOT NULL DEFAULT 0,
    "pending_contacts" INTEGER NOT NULL DEFAULT 0,
    "calling_contacts" INTEGER NOT NULL DEFAULT 0,
    "completed_contacts" INTEGER NOT NULL DEFAULT 0,
    "failed_contacts" INTEGER NOT NULL DEFAULT 0,
    "skipped_contacts" INTEGER NOT NULL DEFAULT 0,
    "cancelled_contacts" INTEGER NOT NULL DEFAULT 0,
    "recent_failures" BOOLEAN[],
    "next_dispatch_at" TIMESTAMPTZ(3),
    "started_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,
    "deleted_at" TIMESTAMPTZ(3),

    CONSTRAINT "campaigns_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "campaign_phone_numbers" (
    "organization_id" UUID NOT NULL,
    "campaign_id" UUID NOT NULL,
    "phone_number_id" UUID NOT NULL,
    "position" INTEGER NOT NULL,

    CONSTRAINT "campaign_phone_numbers_pkey" PRIMARY KEY ("campaign_id","phone_number_id")
);

-- CreateTable
CREATE TABLE "campaign_days" (
    "organization_id" UUID NOT NULL,
    "campaign_id" UUID NOT NULL,
    "day" DATE NOT NULL,
    "attempts" INTEGER NOT NULL DEFAULT 0,

    CONSTRAINT "campaign_days_pkey" PRIMARY KEY ("campaign_id","day")
);

-- CreateTable
CREATE TABLE "campaign_contacts" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "campaign_id" UUID NOT NULL,
    "contact_id" UUID,
    "client_id" TEXT,
    "position" INTEGER NOT NULL,
    "phone_number" TEXT NOT NULL,
    "first_name" TEXT,
    "last_name" TEXT,
    "email" TEXT,
    "timezone" TEXT,
    "metadata" JSONB NOT NULL DEFAULT '{}',
    "status" "CampaignContactStatus" NOT NULL,
    "skip_reason" TEXT,
    "scheduled_at" TIMESTAMPTZ(3),
    "next_eligible_at" TIMESTAMPTZ(3),
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "end_reason" "CallEndReason",
    "called_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "campaign_contacts_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "campaign_decisions" (
    "organization_id" UUID NOT NULL,
    "campaign_contact_id" UUID NOT NULL,
    "sequence" BIGSERIAL NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL,
    "outcome" "CampaignDecisionOutcome" NOT NULL,
    "reason" TEXT NOT NULL,
    "call_id" UUID,

    CONSTRAINT "campaign_decisions_pkey" PRIMARY KEY ("campaign_contact_id","sequence")
);

-- CreateIndex
CREATE INDEX "campaigns_organization_id_created_at_id_idx" ON "campaigns"("organization_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "campaigns_organization_id_agent_id_created_at_id_idx" ON "campaigns"("organization_id", "agent_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "campaigns_due" ON "campaigns"("next_dispatch_at") WHERE (status = 'ACTIVE' AND next_dispatch_at IS NOT NULL);

-- CreateIndex
CREATE INDEX "campaigns_to_start" ON "campaigns"("scheduled_at") WHERE (status = 'SCHEDULED');

-- CreateIndex
CREATE UNIQUE INDEX "campaigns_organization_id_id_key" ON "campaigns"("organization_id", "id");

-- CreateIndex
CREATE INDEX "campaign_phone_numbers_organization_id_phone_number_id_idx" ON "campaign_phone_numbers"("organization_id", "phone_number_id");

-- CreateIndex
CREATE INDEX "campaign_contacts_campaign_id_status_position_idx" ON "campaign_contacts"("campaign_id", "status", "position");

-- CreateIndex
CREATE INDEX "campaign_contacts_waiting" ON "campaign_contacts"("campaign_id", "next_eligible_at", "position") WHERE (next_eligible_at IS NOT NULL);

-- CreateIndex
CREATE UNIQUE INDEX "campaign_contacts_organization_id_id_key" ON "campaign_contacts"("organization_id", "id");

-- CreateIndex
CREATE UNIQUE INDEX "campaign_contacts_campaign_id_position_key" ON "campaign_contacts"("campaign_id", "position");

-- CreateIndex
CREATE UNIQUE INDEX "campaign_contacts_campaign_id_client_id_key" ON "campaign_contacts"("campaign_id", "client_id");

-- CreateIndex
CREATE INDEX "calls_organization_id_campaign_id_created_at_id_idx" ON "calls"("organization_id", "campaign_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "calls_campaign_contact_id_created_at_idx" ON "calls"("campaign_contact_id", "created_at");

-- AddForeignKey
ALTER TABLE "calls" ADD CONSTRAINT "calls_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "calls" ADD CONSTRAINT "calls_organization_id_campaign_contact_id_fkey" FOREIGN KEY ("organization_id", "campaign_contact_id") REFERENCES "campaign_contacts"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaigns" ADD CONSTRAINT "campaigns_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaigns" ADD CONSTRAINT "campaigns_organization_id_agent_id_fkey" FOREIGN KEY ("organization_id", "agent_id") REFERENCES "agents"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_phone_numbers" ADD CONSTRAINT "campaign_phone_numbers_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_phone_numbers" ADD CONSTRAINT "campaign_phone_numbers_organization_id_phone_number_id_fkey" FOREIGN KEY ("organization_id", "phone_number_id") REFERENCES "phone_numbers"("organization_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_days" ADD CONSTRAINT "campaign_days_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_contacts" ADD CONSTRAINT "campaign_contacts_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_contacts" ADD CONSTRAINT "campaign_contacts_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_decisions" ADD CONSTRAINT "campaign_decisions_organization_id_campaign_contact_id_fkey" FOREIGN KEY ("organization_id", "campaign_contact_id") REFERENCES "campaign_contacts"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;
