-- Campaigns without a call whose end would dispatch them again: their last calls were withdrawn in a cycle that
-- counted them as active.
UPDATE "campaigns" SET "next_dispatch_at" = now()
WHERE "status" = 'ACTIVE' AND "next_dispatch_at" IS NULL AND "calling_count" = 0 AND "pending_count" > 0;
