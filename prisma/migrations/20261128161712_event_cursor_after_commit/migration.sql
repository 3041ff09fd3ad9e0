-- AlterTable
ALTER TABLE "events" DROP CONSTRAINT "events_pkey",
ADD COLUMN     "id" BIGSERIAL NOT NULL,
ALTER COLUMN "cursor" SET DEFAULT 0,
ADD CONSTRAINT "events_pkey" PRIMARY KEY ("id");

-- CreateIndex
CREATE INDEX "events_without_cursor" ON "events"("organization_id", "id") WHERE (cursor = 0);

-- CreateIndex
CREATE UNIQUE INDEX "events_by_cursor" ON "events"("organization_id", "cursor") WHERE (cursor > 0);

-- Gives every committed event of an organization that has none its cursor, in the order of insertion,
-- and returns the last cursor. Each statement of a VOLATILE function sees what was committed before
-- that statement, so the events are read after the counter is locked. To be called on its own, outside
-- of any other transaction: the lock then lasts for this call only.
CREATE FUNCTION assign_event_cursors(organization uuid) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  last bigint;
  assigned bigint;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM events WHERE organization_id = organization AND cursor = 0) THEN
    RETURN coalesce(
      (SELECT last_cursor FROM event_counters WHERE organization_id = organization), 0);
  END IF;
  INSERT INTO event_counters (organization_id) VALUES (organization) ON CONFLICT DO NOTHING;
  SELECT last_cursor INTO last FROM event_counters
    WHERE organization_id = organization FOR NO KEY UPDATE;
  UPDATE events SET cursor = last + numbered.place
  FROM (
    SELECT id, row_number() OVER (ORDER BY id) AS place
    FROM events WHERE organization_id = organization AND cursor = 0
  ) AS numbered
  WHERE events.id = numbered.id;
  GET DIAGNOSTICS assigned = ROW_COUNT;
  UPDATE event_counters SET last_cursor = last + assigned WHERE organization_id = organization;
  RETURN last + assigned;
END $$;
