-- CreateTable
CREATE TABLE "campaign_attempts" (
    "call_id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "campaign_id" UUID NOT NULL,
    "campaign_contact_id" UUID NOT NULL,
    "attempt" INTEGER,
    "outcome_recorded_at" TIMESTAMPTZ(3),
    "stats_recorded_at" TIMESTAMPTZ(3),

    CONSTRAINT "campaign_attempts_pkey" PRIMARY KEY ("call_id")
);

INSERT INTO campaign_attempts (call_id, organization_id, campaign_id, campaign_contact_id, attempt,
  outcome_recorded_at, stats_recorded_at)
SELECT id, organization_id, campaign_id, campaign_contact_id, attempt, settled_at,
  -- A call that never rang adds nothing to the statistics of its contact.
  coalesce(told_at, CASE WHEN ringing_at IS NULL THEN settled_at END)
FROM calls WHERE campaign_contact_id IS NOT NULL;

-- DropIndex
DROP INDEX "calls_once_per_attempt";

-- DropIndex
DROP INDEX "calls_to_settle";

-- DropIndex
DROP INDEX "calls_to_tell_of";

-- AlterTable
ALTER TABLE "calls" DROP COLUMN "attempt",
DROP COLUMN "settled_at",
DROP COLUMN "told_at",
ADD COLUMN     "owner" TEXT;

UPDATE calls SET owner = 'campaigns' WHERE campaign_id IS NOT NULL;

-- CreateIndex
CREATE INDEX "campaign_attempts_open" ON "campaign_attempts"("campaign_id") WHERE (outcome_recorded_at IS NULL);

-- CreateIndex
CREATE INDEX "campaign_attempts_without_stats" ON "campaign_attempts"("organization_id", "outcome_recorded_at") WHERE (outcome_recorded_at IS NOT NULL AND stats_recorded_at IS NULL);

-- CreateIndex
CREATE UNIQUE INDEX "campaign_attempts_organization_id_call_id_key" ON "campaign_attempts"("organization_id", "call_id");

-- CreateIndex
CREATE UNIQUE INDEX "campaign_attempts_once" ON "campaign_attempts"("campaign_contact_id", "attempt");

-- CreateIndex
CREATE UNIQUE INDEX "campaign_attempts_one_open" ON "campaign_attempts"("campaign_contact_id") WHERE (outcome_recorded_at IS NULL);

-- CreateIndex
CREATE INDEX "calls_of_campaign_contact" ON "calls"("campaign_contact_id", "created_at", "id") WHERE (campaign_contact_id IS NOT NULL);

-- AddForeignKey
ALTER TABLE "campaign_attempts" ADD CONSTRAINT "campaign_attempts_organization_id_call_id_fkey" FOREIGN KEY ("organization_id", "call_id") REFERENCES "calls"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_attempts" ADD CONSTRAINT "campaign_attempts_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "campaign_attempts" ADD CONSTRAINT "campaign_attempts_organization_id_campaign_contact_id_fkey" FOREIGN KEY ("organization_id", "campaign_contact_id") REFERENCES "campaign_contacts"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;
