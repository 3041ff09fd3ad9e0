-- CreateEnum
CREATE TYPE "CampaignEnrollmentStatus" AS ENUM ('STAGING', 'JOINING', 'DONE');

-- CreateTable
CREATE TABLE "campaign_enrollments" (
    "id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "campaign_id" UUID NOT NULL,
    "status" "CampaignEnrollmentStatus" NOT NULL,
    "planned_for" TEXT,
    "next_ordinal" INTEGER NOT NULL DEFAULT 0,
    "staged_count" INTEGER NOT NULL DEFAULT 0,
    "added_count" INTEGER NOT NULL DEFAULT 0,
    "duplicate_count" INTEGER NOT NULL DEFAULT 0,
    "problem_count" INTEGER NOT NULL DEFAULT 0,
    "warning_count" INTEGER NOT NULL DEFAULT 0,
    "do_not_call_count" INTEGER NOT NULL DEFAULT 0,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "campaign_enrollments_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "campaign_enrollment_rows" (
    "enrollment_id" UUID NOT NULL,
    "ordinal" INTEGER NOT NULL,
    "contact_id" UUID,
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
    "metadata" JSONB NOT NULL,
    "status" "CampaignContactStatus" NOT NULL DEFAULT 'PENDING',
    "skip_reason" "CampaignSkipReason",
    "scheduled_at" TIMESTAMPTZ(3),

    CONSTRAINT "campaign_enrollment_rows_pkey" PRIMARY KEY ("enrollment_id","ordinal")
);

-- CreateIndex
CREATE UNIQUE INDEX "campaign_enrollments_organization_id_id_key" ON "campaign_enrollments"("organization_id", "id");

-- CreateIndex
CREATE INDEX "campaign_enrollments_joining" ON "campaign_enrollments"("campaign_id") WHERE (status = 'JOINING');

-- AddForeignKey
ALTER TABLE "campaign_enrollments" ADD CONSTRAINT "campaign_enrollments_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_enrollment_rows" ADD CONSTRAINT "campaign_enrollment_rows_enrollment_id_fkey" FOREIGN KEY ("enrollment_id") REFERENCES "campaign_enrollments"("id") ON DELETE CASCADE ON UPDATE CASCADE;
