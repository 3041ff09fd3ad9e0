-- What takes time with many events, which are read and written meanwhile. The indexes are those of the
-- partitioned table, and the checked constraint spares it a scan of this one.
CREATE UNIQUE INDEX CONCURRENTLY "events_new_pkey" ON "events"("id", "logged_on");

CREATE UNIQUE INDEX CONCURRENTLY "events_new_by_cursor" ON "events"("organization_id", "cursor", "logged_on") WHERE (cursor > 0);

CREATE UNIQUE INDEX CONCURRENTLY "events_new_by_call" ON "events"("call_id", "sequence", "logged_on");

ALTER TABLE "events" VALIDATE CONSTRAINT "events_logged_on";
