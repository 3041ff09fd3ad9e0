-- CreateTable
CREATE TABLE "event_consumers" (
    "name" TEXT NOT NULL,
    "organization_id" UUID NOT NULL,
    "cursor" BIGINT NOT NULL DEFAULT 0,
    "updated_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "event_consumers_pkey" PRIMARY KEY ("organization_id","name")
);

-- AddForeignKey
ALTER TABLE "event_consumers" ADD CONSTRAINT "event_consumers_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;
