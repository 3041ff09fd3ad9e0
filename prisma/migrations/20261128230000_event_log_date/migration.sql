-- The first of three migrations that turn the event log into a table partitioned by `logged_on`, the UTC
-- date on which an event got its cursor. The table of before becomes the first partition as it is: no row
-- is rewritten. Its rows get the date of this migration, as the default of the new column.
DO $$
DECLARE
  today date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
  EXECUTE format('ALTER TABLE events
    ADD COLUMN logged_on date NOT NULL DEFAULT %1$L,
    ADD CONSTRAINT events_logged_on CHECK (logged_on = %1$L) NOT VALID', today);
END $$;
