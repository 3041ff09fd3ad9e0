-- Numbering finds the events that became visible since the last one by their transactions. Before, it walked
-- through all events without a cursor in the index, dead ones included: while a transaction was open for long,
-- VACUUM could not remove those, and each numbering took longer than the one before.

-- The transaction that appended an event; null once it has its cursor.
ALTER TABLE "events" ADD COLUMN "inserted_in" xid8;
ALTER TABLE "events" ALTER COLUMN "inserted_in" SET DEFAULT pg_current_xact_id();
UPDATE "events_without_cursor_yet" SET "inserted_in" = DEFAULT;

CREATE INDEX "events_without_cursor_yet_by_transaction"
  ON "events_without_cursor_yet"("organization_id", "inserted_in");

-- Events of all organizations without a cursor are read where they are.
DROP INDEX "events_without_cursor";

-- What the last numbering of the organization saw: every event visible in this snapshot has its cursor.
ALTER TABLE "event_counters" ADD COLUMN "numbered_in" pg_snapshot;

-- Gives every committed event of an organization that has none its cursor, in the order of insertion, and
-- moves it to the partition of the day. Returns the last cursor. Days never decrease with the cursors of an
-- organization, whatever the clocks of the processes say, so the events of the oldest partition are the
-- first of each organization.
--
-- Each statement of a VOLATILE function sees what was committed before that statement, so the events are
-- read after the counter is locked, and the snapshot that is kept is the one in which they were read: an
-- event that is not in it is either of a transaction that began later, or of one that was open. To be called
-- on its own, outside of any other transaction: the lock then lasts for this call only.
--
-- The plan is kept for the session and must suit any number of dead rows.
CREATE OR REPLACE FUNCTION assign_event_cursors(
  organization uuid,
  today date DEFAULT (now() AT TIME ZONE 'UTC')::date,
  width integer DEFAULT 1
) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  last bigint;
  day date;
  seen pg_snapshot;
  -- Transactions from this one on, and these before it, were open or had not begun.
  later xid8;
  open xid8[];
BEGIN
  SELECT last_cursor, numbered_in INTO last, seen FROM event_counters WHERE organization_id = organization;
  later := coalesce(pg_snapshot_xmax(seen), '0');
  open := ARRAY(SELECT pg_snapshot_xip(seen));
  IF last IS NOT NULL AND later <= pg_snapshot_xmax(pg_current_snapshot())
    AND NOT EXISTS (
      SELECT FROM events_without_cursor_yet
      WHERE organization_id = organization AND inserted_in >= later)
    AND NOT EXISTS (
      SELECT FROM events_without_cursor_yet
      WHERE organization_id = organization AND inserted_in = ANY (ARRAY(
        SELECT x FROM unnest(open) AS x WHERE pg_visible_in_snapshot(x, pg_current_snapshot()))))
  THEN
    -- Another numbering may have ended since the counter was read.
    RETURN (SELECT last_cursor FROM event_counters WHERE organization_id = organization);
  END IF;
  INSERT INTO event_counters (organization_id) VALUES (organization) ON CONFLICT DO NOTHING;
  SELECT last_cursor, greatest(today, c.logged_on), numbered_in INTO last, day, seen
    FROM event_counters c WHERE organization_id = organization FOR NO KEY UPDATE;
  -- A restored database counts its transactions anew.
  IF pg_snapshot_xmax(seen) > pg_snapshot_xmax(pg_current_snapshot()) THEN
    seen := NULL;
  END IF;
  later := coalesce(pg_snapshot_xmax(seen), '0');
  open := ARRAY(SELECT pg_snapshot_xip(seen));
  PERFORM ensure_event_partition(day, width);
  WITH unnumbered AS (
    SELECT id FROM events_without_cursor_yet
    WHERE organization_id = organization AND inserted_in >= later
    UNION ALL
    SELECT id FROM events_without_cursor_yet
    WHERE organization_id = organization AND inserted_in = ANY (ARRAY(
      SELECT x FROM unnest(open) AS x WHERE pg_visible_in_snapshot(x, pg_current_snapshot())))
  ), numbered AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place FROM unnumbered
  ), moved AS (
    UPDATE events SET cursor = last + numbered.place, logged_on = day, inserted_in = NULL
    FROM numbered WHERE events.id = numbered.id AND events.logged_on = '1970-01-01'
    RETURNING 1
  )
  UPDATE event_counters
    SET last_cursor = last_cursor + (SELECT count(*) FROM moved), logged_on = day,
      numbered_in = pg_current_snapshot()
    WHERE organization_id = organization
    RETURNING last_cursor INTO last;
  RETURN last;
END $$;
