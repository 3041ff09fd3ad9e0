-- CreateTable
CREATE TABLE "campaign_replans" (
    "campaign_id" UUID NOT NULL,
    "organization_id" UUID NOT NULL,
    "segments" JSONB NOT NULL,
    "never_open" TEXT[] NOT NULL,
    "next_position" INTEGER NOT NULL,
    "last_position" INTEGER NOT NULL,
    "placed" JSONB NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "campaign_replans_pkey" PRIMARY KEY ("campaign_id")
);

-- CreateIndex
CREATE UNIQUE INDEX "campaign_replans_organization_id_campaign_id_key" ON "campaign_replans"("organization_id", "campaign_id");

-- AddForeignKey
ALTER TABLE "campaign_replans" ADD CONSTRAINT "campaign_replans_organization_id_campaign_id_fkey" FOREIGN KEY ("organization_id", "campaign_id") REFERENCES "campaigns"("organization_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;
