-- A column that the database computes, for filters and sorting. `extract` of an interval is immutable.
ALTER TABLE "calls" ADD COLUMN "duration_ms" INTEGER
  GENERATED ALWAYS AS ((extract(epoch FROM ("ended_at" - "answered_at")) * 1000)::integer) STORED;

-- CreateIndex
CREATE INDEX "calls_by_duration" ON "calls"("organization_id", "duration_ms", "id") WHERE (duration_ms IS NOT NULL);

-- CreateIndex
CREATE INDEX "calls_by_cost" ON "calls"("organization_id", "cost_amount", "id") WHERE (cost_amount IS NOT NULL);

-- CreateIndex
CREATE INDEX "calls_by_end" ON "calls"("organization_id", "ended_at", "id") WHERE (ended_at IS NOT NULL);

-- CreateIndex
CREATE INDEX "calls_by_end_reason" ON "calls"("organization_id", "end_reason", "created_at", "id") WHERE (end_reason IS NOT NULL);

-- CreateIndex
CREATE INDEX "campaign_contacts_by_end_reason" ON "campaign_contacts"("campaign_id", "end_reason", "position") WHERE (end_reason IS NOT NULL);

-- CreateTable
CREATE TABLE "campaign_end_reasons" (
    "organization_id" UUID NOT NULL,
    "campaign_id" UUID NOT NULL,
    "end_reason" "CallEndReason" NOT NULL,
    "contacts" INTEGER NOT NULL,

    CONSTRAINT "campaign_end_reasons_pkey" PRIMARY KEY ("campaign_id","end_reason")
);

-- AddForeignKey
ALTER TABLE "campaign_end_reasons" ADD CONSTRAINT "campaign_end_reasons_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

INSERT INTO "campaign_end_reasons" ("organization_id", "campaign_id", "end_reason", "contacts")
SELECT "organization_id", "campaign_id", "end_reason", count(*)
FROM "campaign_contacts" WHERE "end_reason" IS NOT NULL
GROUP BY "organization_id", "campaign_id", "end_reason";
