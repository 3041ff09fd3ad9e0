-- A change of a call does not wait while its day, or another with the same lock, is summed up. It then notes the
-- change unseen: whether the day is being rolled up for the first time is not visible yet, and a note that is
-- committed later than the sums outlives them.
CREATE OR REPLACE FUNCTION note_call_rollup_change(organization uuid, changed timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  changed_day date := (changed AT TIME ZONE 'UTC')::date;
BEGIN
  IF NOT pg_try_advisory_xact_lock_shared(call_rollup_lock(organization, changed_day)) THEN
    INSERT INTO call_rollup_changes (organization_id, day) VALUES (organization, changed_day);
    RETURN;
  END IF;
  -- Sees what was committed before the lock was taken.
  INSERT INTO call_rollup_changes (organization_id, day)
  SELECT organization_id, day FROM call_rollup_days AS d
  WHERE organization_id = organization AND day = changed_day
    AND NOT EXISTS (SELECT 1 FROM call_rollup_changes AS c
      WHERE c.organization_id = d.organization_id AND c.day = d.day);
END $$;
