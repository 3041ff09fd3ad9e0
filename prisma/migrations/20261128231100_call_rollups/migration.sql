-- CreateEnum
CREATE TYPE "CallRollupGrain" AS ENUM ('QUARTER_HOUR', 'DAY');

-- CreateTable
CREATE TABLE "call_rollups" (
    "id" BIGSERIAL NOT NULL,
    "organization_id" UUID NOT NULL,
    "grain" "CallRollupGrain" NOT NULL,
    "starts_at" TIMESTAMPTZ(3) NOT NULL,
    "agent_id" UUID,
    "campaign_id" UUID,
    "phone_number_id" UUID,
    "end_reason" "CallEndReason",
    "answered_by" "AnsweredBy",
    "cost_currency" TEXT,
    "calls" INTEGER NOT NULL,
    "answered" INTEGER NOT NULL,
    "judged" INTEGER NOT NULL,
    "successful" INTEGER NOT NULL,
    "handled" INTEGER NOT NULL,
    "handle_ms" BIGINT NOT NULL,
    "tokens" BIGINT NOT NULL,
    "cost_micros" BIGINT NOT NULL,

    CONSTRAINT "call_rollups_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "call_rollup_days" (
    "organization_id" UUID NOT NULL,
    "day" DATE NOT NULL,

    CONSTRAINT "call_rollup_days_pkey" PRIMARY KEY ("organization_id","day")
);

-- CreateTable
CREATE TABLE "call_rollup_changes" (
    "id" BIGSERIAL NOT NULL,
    "organization_id" UUID NOT NULL,
    "day" DATE NOT NULL,

    CONSTRAINT "call_rollup_changes_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "call_rollup_progress" (
    "organization_id" UUID NOT NULL,
    "through" DATE NOT NULL,

    CONSTRAINT "call_rollup_progress_pkey" PRIMARY KEY ("organization_id")
);

-- CreateIndex
CREATE INDEX "call_rollups_organization_id_grain_starts_at_idx" ON "call_rollups"("organization_id", "grain", "starts_at");

-- CreateIndex
CREATE INDEX "call_rollup_changes_organization_id_day_idx" ON "call_rollup_changes"("organization_id", "day");

-- AddForeignKey
ALTER TABLE "call_rollups" ADD CONSTRAINT "call_rollups_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "call_rollup_days" ADD CONSTRAINT "call_rollup_days_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "call_rollup_progress" ADD CONSTRAINT "call_rollup_progress_organization_id_fkey" FOREIGN KEY ("organization_id") REFERENCES "organizations"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- Holders of a share of the lock change calls of the day; who holds it alone sums the day up. Days share 1,024
-- locks, because the memory for locks is limited and a transaction may change calls of many days.
CREATE FUNCTION call_rollup_lock(organization uuid, day date) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT 7301128000000 + (hashtextextended(organization || ' ' || day, 0) & 1023)
$$;

CREATE FUNCTION note_call_rollup_change(organization uuid, changed timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  changed_day date := (changed AT TIME ZONE 'UTC')::date;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(call_rollup_lock(organization, changed_day));
  -- Sees what was committed before the lock was taken.
  INSERT INTO call_rollup_changes (organization_id, day)
  SELECT organization_id, day FROM call_rollup_days AS d
  WHERE organization_id = organization AND day = changed_day
    AND NOT EXISTS (SELECT 1 FROM call_rollup_changes AS c
      WHERE c.organization_id = d.organization_id AND c.day = d.day);
END $$;

CREATE FUNCTION call_fact_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'INSERT' THEN
    PERFORM note_call_rollup_change(OLD.organization_id, OLD.created_at);
  END IF;
  IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND NEW.created_at <> OLD.created_at) THEN
    PERFORM note_call_rollup_change(NEW.organization_id, NEW.created_at);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER call_fact_changed AFTER INSERT OR UPDATE OR DELETE ON call_facts
  FOR EACH ROW EXECUTE FUNCTION call_fact_changed();
