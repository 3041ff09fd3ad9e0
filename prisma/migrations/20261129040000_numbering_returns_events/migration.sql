-- Numbering returns the events that it has numbered, so that subscribers need not read them.

-- Gives every committed event of an organization that has none its cursor, in the order of insertion, and
-- moves it to the partition of the day. Days never decrease with the cursors of an organization, whatever the
-- clocks of the processes say, so the events of the oldest partition are the first of each organization.
--
-- `after` is the last cursor of before and `through` that of now. `events` are those in between as a JSON
-- array of rows, oldest first; null if there are none, or more than `most`.
--
-- Each statement of a VOLATILE function sees what was committed before that statement, so the events are
-- read after the counter is locked, and the snapshot that is kept is the one in which they were read: an
-- event that is not in it is either of a transaction that began later, or of one that was open. To be called
-- on its own, outside of any other transaction: the lock then lasts for this call only.
--
-- The plan is kept for the session and must suit any number of dead rows.
CREATE FUNCTION number_events(
  organization uuid,
  today date,
  width integer,
  most integer,
  OUT after bigint,
  OUT through bigint,
  OUT events text
)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  day date;
  seen pg_snapshot;
  -- Transactions from this one on, and these before it, were open or had not begun.
  later xid8;
  open xid8[];
BEGIN
  SELECT last_cursor, numbered_in INTO after, seen FROM event_counters WHERE organization_id = organization;
  later := coalesce(pg_snapshot_xmax(seen), '0');
  open := ARRAY(SELECT pg_snapshot_xip(seen));
  IF after IS NOT NULL AND later <= pg_snapshot_xmax(pg_current_snapshot())
    AND NOT EXISTS (
      SELECT FROM events_without_cursor_yet
      WHERE organization_id = organization AND inserted_in >= later)
    AND NOT EXISTS (
      SELECT FROM events_without_cursor_yet
      WHERE organization_id = organization AND inserted_in = ANY (ARRAY(
        SELECT x FROM unnest(open) AS x WHERE pg_visible_in_snapshot(x, pg_current_snapshot()))))
  THEN
    -- Another numbering may have ended since the counter was read.
    SELECT last_cursor, last_cursor INTO after, through
      FROM event_counters WHERE organization_id = organization;
    RETURN;
  END IF;
  INSERT INTO event_counters (organization_id) VALUES (organization) ON CONFLICT DO NOTHING;
  SELECT last_cursor, greatest(today, c.logged_on), numbered_in INTO after, day, seen
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
    UPDATE events e SET cursor = after + numbered.place, logged_on = day, inserted_in = NULL
    FROM numbered WHERE e.id = numbered.id AND e.logged_on = '1970-01-01'
    RETURNING e.*
  ), counted AS (
    UPDATE event_counters
      SET last_cursor = last_cursor + (SELECT count(*) FROM moved), logged_on = day,
        numbered_in = pg_current_snapshot()
      WHERE organization_id = organization
      RETURNING last_cursor
  )
  SELECT (SELECT last_cursor FROM counted),
    (SELECT json_agg(few ORDER BY few.cursor) FROM (SELECT * FROM moved LIMIT most) AS few)
    INTO through, events;
  IF through - after > most THEN
    events := NULL;
  END IF;
END $$;

-- For processes of the version before, which run beside those of this one during a deployment.
CREATE OR REPLACE FUNCTION assign_event_cursors(
  organization uuid,
  today date DEFAULT (now() AT TIME ZONE 'UTC')::date,
  width integer DEFAULT 1
) RETURNS bigint
LANGUAGE sql VOLATILE
AS $$ SELECT through FROM number_events(organization, today, width, 0) $$;
