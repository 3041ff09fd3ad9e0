-- The table of before becomes a partition. Foreign keys are dropped, since they would lock the tables that
-- they refer to whenever a partition is added or dropped: events are written in transactions that hold
-- what they are about, and those rows are never deleted.
ALTER TABLE "events"
  DROP CONSTRAINT "events_organization_id_fkey",
  DROP CONSTRAINT "events_organization_id_call_id_fkey",
  DROP CONSTRAINT "events_organization_id_campaign_id_fkey",
  DROP CONSTRAINT "events_pkey";
DROP INDEX "events_by_cursor", "events_created_at_idx", "events_call_id_sequence_key";
ALTER INDEX "events_without_cursor" RENAME TO "events_before_without_cursor";
ALTER SEQUENCE "events_id_seq" OWNED BY NONE;
ALTER TABLE "events" RENAME TO "events_before";
ALTER TABLE "events_before" ADD CONSTRAINT "events_before_pkey" PRIMARY KEY USING INDEX "events_new_pkey";

CREATE TABLE "events" (
  "organization_id" UUID NOT NULL,
  "cursor" BIGINT NOT NULL DEFAULT 0,
  "type" "EventType" NOT NULL,
  "call_id" UUID,
  "sequence" INTEGER,
  "agent_id" UUID,
  "data" JSONB NOT NULL,
  "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "campaign_id" UUID,
  "id" BIGINT NOT NULL DEFAULT nextval('events_id_seq'),
  "logged_on" DATE NOT NULL DEFAULT '1970-01-01',

  CONSTRAINT "events_pkey" PRIMARY KEY ("id", "logged_on")
) PARTITION BY RANGE ("logged_on");

ALTER SEQUENCE "events_id_seq" OWNED BY "events"."id";

CREATE UNIQUE INDEX "events_by_cursor" ON "events"("organization_id", "cursor", "logged_on") WHERE (cursor > 0);

CREATE INDEX "events_without_cursor" ON "events"("organization_id", "id") WHERE (cursor = 0);

CREATE UNIQUE INDEX "events_call_id_sequence_logged_on_key" ON "events"("call_id", "sequence", "logged_on");

-- New events, until they get their cursor and move to the partition of that day.
CREATE TABLE "events_without_cursor_yet" PARTITION OF "events" FOR VALUES FROM ('1970-01-01') TO ('1970-01-02');

CREATE FUNCTION event_partition_name(first date, last date) RETURNS text LANGUAGE sql IMMUTABLE
RETURN 'events_' || to_char(first, 'YYYYMMDD') || '_' || to_char(last, 'YYYYMMDD');

-- The partitions with events that have a cursor. Their names hold the first day and the day after the last.
CREATE VIEW "event_partitions" AS
SELECT c.relname::text AS name,
  substr(c.relname, 8, 8)::date AS starts_on,
  substr(c.relname, 17, 8)::date AS ends_on,
  i.inhrelid IS NOT NULL AS attached,
  coalesce(i.inhdetachpending, false) AS detaching
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'events'::regclass)
  AND c.relkind = 'r' AND c.relname ~ '^events_\d{8}_\d{8}$';

-- Creates the partition for a day unless there is one. New ones hold `width` days, counted from 1970-01-01,
-- or those that existing partitions leave of them.
CREATE FUNCTION ensure_event_partition(day date, width integer) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  first date := date '1970-01-01' + (day - date '1970-01-01') / width * width;
  last date := first + width;
BEGIN
  -- What is there nearly always is found by its name, which is quicker than the view.
  FOR skipped IN 0 .. least(day - first, 2) LOOP
    IF to_regclass(event_partition_name(first + skipped, last)) IS NOT NULL THEN
      RETURN;
    END IF;
  END LOOP;
  IF EXISTS (SELECT FROM event_partitions WHERE attached AND day >= starts_on AND day < ends_on) THEN
    RETURN;
  END IF;
  -- One process creates it, the others wait.
  PERFORM pg_advisory_xact_lock(7384120564);
  IF EXISTS (SELECT FROM event_partitions WHERE attached AND day >= starts_on AND day < ends_on) THEN
    RETURN;
  END IF;
  SELECT greatest(first, max(ends_on) FILTER (WHERE ends_on <= day)),
    least(last, min(starts_on) FILTER (WHERE starts_on > day))
    INTO first, last FROM event_partitions WHERE attached;
  EXECUTE format('CREATE TABLE %s (LIKE events INCLUDING DEFAULTS)', event_partition_name(first, last));
  -- Unlike PARTITION OF, this blocks neither readers nor writers of other partitions.
  EXECUTE format('ALTER TABLE events ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
    event_partition_name(first, last), first, last);
END $$;

-- AlterTable
ALTER TABLE "event_counters" ADD COLUMN "logged_on" DATE;

DO $$
DECLARE
  today date := (now() AT TIME ZONE 'UTC')::date;
  first date;
  -- As far as a partition with the default retention time.
  last date := date '1970-01-01' + ((today - date '1970-01-01') / 3 + 1) * 3;
BEGIN
  -- The default of the column, which is the date of all rows.
  SELECT substring(pg_get_expr(adbin, adrelid) FROM '\d{4}-\d{2}-\d{2}')::date INTO first
    FROM pg_attrdef WHERE adrelid = 'events_before'::regclass
    AND adnum = (SELECT attnum FROM pg_attribute WHERE attrelid = adrelid AND attname = 'logged_on');
  ALTER TABLE events_before ALTER COLUMN logged_on SET DEFAULT '1970-01-01';
  EXECUTE format('ALTER TABLE events ATTACH PARTITION events_before FOR VALUES FROM (%L) TO (%L)', first, last);
  ALTER TABLE events_before DROP CONSTRAINT events_logged_on;
  -- When days have passed since the first of the three migrations.
  IF today > first + 1 THEN
    UPDATE events_before SET logged_on = today WHERE created_at >= first + 1;
  END IF;
  EXECUTE format('ALTER TABLE events_before RENAME TO %s', event_partition_name(first, last));
END $$;

UPDATE "events" SET "logged_on" = '1970-01-01' WHERE "cursor" = 0;

-- Removes members from the data of events of calls. An event that gets its cursor meanwhile moves to
-- another partition, which fails the statement that waited for it; the next one finds the event there.
CREATE FUNCTION erase_event_data(calls uuid[], kind "EventType", members text[]) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  LOOP
    BEGIN
      UPDATE events SET data = data - members WHERE call_id = ANY(calls) AND type = kind;
      RETURN;
    EXCEPTION WHEN serialization_failure THEN
      IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE;
      END IF;
    END;
  END LOOP;
END $$;

-- Gives every committed event of an organization that has none its cursor, in the order of insertion,
-- and moves it to the partition of the day. Returns the last cursor. Days never decrease with the cursors
-- of an organization, whatever the clocks of the processes say, so the events of the oldest partition are
-- the first of each organization. Each statement of a VOLATILE function sees what was committed before
-- that statement, so the events are read after the counter is locked. To be called on its own, outside of
-- any other transaction: the lock then lasts for this call only.
DROP FUNCTION assign_event_cursors(uuid);
CREATE FUNCTION assign_event_cursors(
  organization uuid,
  today date DEFAULT (now() AT TIME ZONE 'UTC')::date,
  width integer DEFAULT 1
) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  last bigint;
  day date;
  assigned bigint;
BEGIN
  IF NOT EXISTS (
    SELECT FROM events WHERE organization_id = organization AND cursor = 0 AND logged_on = '1970-01-01'
  ) THEN
    RETURN coalesce(
      (SELECT last_cursor FROM event_counters WHERE organization_id = organization), 0);
  END IF;
  INSERT INTO event_counters (organization_id) VALUES (organization) ON CONFLICT DO NOTHING;
  SELECT last_cursor, greatest(today, c.logged_on) INTO last, day FROM event_counters c
    WHERE organization_id = organization FOR NO KEY UPDATE;
  PERFORM ensure_event_partition(day, width);
  UPDATE events SET cursor = last + numbered.place, logged_on = day
  FROM (
    SELECT id, row_number() OVER (ORDER BY id) AS place
    FROM events
    WHERE organization_id = organization AND cursor = 0 AND logged_on = '1970-01-01'
  ) AS numbered
  WHERE events.id = numbered.id AND events.logged_on = '1970-01-01';
  GET DIAGNOSTICS assigned = ROW_COUNT;
  UPDATE event_counters SET last_cursor = last + assigned, logged_on = day
    WHERE organization_id = organization;
  RETURN last + assigned;
END $$;
