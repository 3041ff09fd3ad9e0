-- CreateEnum
CREATE TYPE "CampaignStatus" AS ENUM ('DRAFT', 'SCHEDULED', 'ACTIVE', 'PAUSED', 'COMPLETED', 'FAILED', 'CANCELLED');

-- CreateEnum
CREATE TYPE "CampaignContactSource" AS ENUM ('CSV', 'FOLDER', 'MANUAL');

-- CreateEnum
CREATE TYPE "CampaignScheduleType" AS ENUM ('IMMEDIATE', 'SCHEDULED');

-- CreateEnum
CREATE TYPE "PhoneRotationStrategy" AS ENUM ('RANDOM', 'ROUND_ROBIN', 'SEQUENTIAL');

-- CreateEnum
CREATE TYPE "CampaignContactStatus" AS ENUM ('PENDING', 'SCHEDULED', 'CALLING', 'COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED');

-- CreateEnum
CREATE TYPE "CampaignSkipReason" AS ENUM ('DO_NOT_CALL', 'NEVER_OPEN');

-- CreateEnum
CREATE TYPE "CampaignDecisionOutcome" AS ENUM ('DIALLED', 'WAITS', 'RETRIES', 'COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED');

-- CreateEnum
CREATE TYPE "CampaignDecisionReason" AS ENUM ('DUE', 'WINDOW_CLOSED', 'CONTACT_WINDOW_CLOSED', 'DAILY_CAP_REACHED', 'CONCURRENCY_REACHED', 'AGENT_NOT_READY', 'NO_PHONE_NUMBER', 'ULTRAVOX_WAITS', 'DO_NOT_CALL', 'NEVER_OPEN', 'CALL_ENDED', 'RETRIES_OFF', 'RETRIES_USED_UP', 'NOT_RETRIED', 'TOO_MANY_FAILURES', 'CAMPAIGN_PAUSED', 'CAMPAIGN_RESUMED', 'CAMPAIGN_OVER');

-- AlterEnum
-- This migration adds more than one value to an enum.
-- With PostgreSQL versions 11 and earlier, this is not possible
-- in a single migration. This can be worked around by creating
-- multiple migrations, each migration adding only one value to
-- the enum.


ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_CREATED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_UPDATED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_SCHEDULED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_STARTED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_PAUSED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_RESUMED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_COMPLETED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_FAILED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_CANCELLED';
ALTER TYPE "EventType" ADD VALUE 'CAMPAIGN_DELETED';

-- AlterTable
ALTER TABLE "calls" ADD COLUMN     "attempt" INTEGER,
ADD COLUMN     "campaign_contact_id" UUID,
ADD COLUMN     "campaign_id" UUID,
ADD COLUMN     "place_before" TIMESTAMPTZ(3),
ADD COLUMN     "settled_at" TIMESTAMPTZ(3),
ADD COLUMN     "told_at" TIMESTAMPTZ(3);

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
    "contact_source" "CampaignContactSource" NOT NULL,
    "contact_folder_id" UUID,
    "phone_rotation_strategy" "PhoneRotationStrategy" NOT NULL,
    "rotation_index" INTEGER NOT NULL DEFAULT 0,
    "schedule_type" "CampaignScheduleType" NOT NULL,
    "scheduled_at" TIMESTAMPTZ(3),
    "timezone" TEXT NOT NULL,
    "start_minute" SMALLINT,
    "end_minute" SMALLINT,
    "working_days" SMALLINT[],
    "max_concurrent_calls" INTEGER NOT NULL,
    "max_calls_per_day" INTEGER,
    "retry_failed" BOOLEAN NOT NULL,
    "max_retry_attempts" INTEGER NOT NULL,
    "retry_delay_seconds" INTEGER NOT NULL,
    "total_count" INTEGER NOT NULL DEFAULT 0,
    "pending_count" INTEGER NOT NULL DEFAULT 0,
    "calling_count" INTEGER NOT NULL DEFAULT 0,
    "completed_count" INTEGER NOT NULL DEFAULT 0,
    "failed_count" INTEGER NOT NULL DEFAULT 0,
    "skipped_count" INTEGER NOT NULL DEFAULT 0,
    "cancelled_count" INTEGER NOT NULL DEFAULT 0,
    "recent_ends" "CallStatus"[],
    "next_dispatch_at" TIMESTAMPTZ(3),
    "hold_reason" "CampaignDecisionReason",
    "started_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),
    "deleted_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

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
    "attempts" INTEGER NOT NULL,

    CONSTRAINT "campaign_days_pkey" PRIMARY KEY ("campaign_id","day")
);

-- CreateTable
CREATE TABLE "campaign_contacts" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "campaign_id" UUID NOT NULL,
    "contact_id" UUID,
    "position" INTEGER NOT NULL,
    "client_id" TEXT,
    "identity" TEXT NOT NULL,
    "phone_number" TEXT NOT NULL,
    "first_name" TEXT,
    "last_name" TEXT,
    "email" TEXT,
    "company_name" TEXT,
    "industry" TEXT,
    "location" TEXT,
    "pin_code" TEXT,
    "keywords" TEXT,
    "timezone" TEXT,
    "metadata" JSONB NOT NULL DEFAULT '{}',
    "status" "CampaignContactStatus" NOT NULL,
    "skip_reason" "CampaignSkipReason",
    "scheduled_at" TIMESTAMPTZ(3),
    "next_eligible_at" TIMESTAMPTZ(3),
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "attempt_day" DATE,
    "end_reason" "CallEndReason",
    "called_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "campaign_contacts_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "campaign_decisions" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "campaign_id" UUID NOT NULL,
    "campaign_contact_id" UUID,
    "call_id" UUID,
    "outcome" "CampaignDecisionOutcome" NOT NULL,
    "reason" "CampaignDecisionReason" NOT NULL,
    "until" TIMESTAMPTZ(3),
    "at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "campaign_decisions_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "campaigns_organization_id_created_at_id_idx" ON "campaigns"("organization_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "campaigns_organization_id_agent_id_idx" ON "campaigns"("organization_id", "agent_id");

-- CreateIndex
CREATE INDEX "campaigns_to_dispatch" ON "campaigns"("next_dispatch_at") WHERE (next_dispatch_at IS NOT NULL);

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
CREATE UNIQUE INDEX "campaign_contacts_campaign_id_identity_key" ON "campaign_contacts"("campaign_id", "identity");

-- CreateIndex
CREATE INDEX "campaign_decisions_of_contact" ON "campaign_decisions"("campaign_contact_id", "at", "id") WHERE (campaign_contact_id IS NOT NULL);

-- CreateIndex
CREATE INDEX "campaign_decisions_of_campaign" ON "campaign_decisions"("campaign_id", "at", "id") WHERE (campaign_contact_id IS NULL);

-- CreateIndex
CREATE INDEX "calls_of_campaign" ON "calls"("campaign_id", "created_at", "id") WHERE (campaign_id IS NOT NULL);

-- CreateIndex
CREATE INDEX "calls_to_settle" ON "calls"("ended_at") WHERE (campaign_id IS NOT NULL AND ended_at IS NOT NULL AND settled_at IS NULL);

-- CreateIndex
CREATE INDEX "calls_to_tell_of" ON "calls"("organization_id", "settled_at") WHERE (campaign_id IS NOT NULL AND settled_at IS NOT NULL AND told_at IS NULL AND ringing_at IS NOT NULL);

-- CreateIndex
CREATE INDEX "campaigns_to_let_go" ON "campaigns"("ended_at") WHERE (ended_at IS NOT NULL AND pending_count > 0);

-- CreateIndex
CREATE UNIQUE INDEX "calls_once_per_attempt" ON "calls"("campaign_contact_id", "attempt") WHERE (campaign_contact_id IS NOT NULL);

-- CreateIndex
CREATE UNIQUE INDEX "calls_one_at_a_time" ON "calls"("campaign_contact_id") WHERE (ended_at IS NULL);

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
ALTER TABLE "campaign_contacts" ADD CONSTRAINT "campaign_contacts_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_decisions" ADD CONSTRAINT "campaign_decisions_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_decisions" ADD CONSTRAINT "campaign_decisions_organization_id_campaign_contact_id_fkey" FOREIGN KEY ("organization_id", "campaign_contact_id") REFERENCES "campaign_contacts"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_decisions" ADD CONSTRAINT "campaign_decisions_organization_id_call_id_fkey" FOREIGN KEY ("organization_id", "call_id") REFERENCES "calls"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "events" ADD CONSTRAINT "events_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- A UUIDv7, as the server makes them, for rows that one statement makes many of.
CREATE FUNCTION new_id() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6),
      52, 1), 53, 1), 'hex')::uuid
$$;
