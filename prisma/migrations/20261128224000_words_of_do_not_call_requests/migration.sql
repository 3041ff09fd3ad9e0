-- Entries that people asked for in calls name the call instead of quoting it. Which call it was is not known
-- of these.
UPDATE "do_not_call_entries" SET "reason" = 'Asked for in a call'
WHERE "source" = 'CALL' AND "reason" LIKE 'Asked for in a call: “%';
