ALTER TYPE "CampaignDecisionOutcome" RENAME VALUE 'DIALLED' TO 'DIALED';

ALTER INDEX campaigns_to_let_go RENAME TO campaigns_with_contacts_to_cancel;

-- Rows that older versions may have left behind must not keep the checks from being added.
UPDATE campaign_contacts SET next_eligible_at = coalesce(scheduled_at, now())
WHERE status = 'SCHEDULED' AND next_eligible_at IS NULL;
UPDATE campaign_contacts SET next_eligible_at = NULL
WHERE status <> 'SCHEDULED' AND next_eligible_at IS NOT NULL;
UPDATE campaign_contacts SET finished_at = updated_at
WHERE status IN ('COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED') AND finished_at IS NULL;
UPDATE campaign_contacts SET finished_at = NULL
WHERE status IN ('PENDING', 'SCHEDULED', 'CALLING') AND finished_at IS NOT NULL;
-- DO_NOT_CALL is the reason after which nobody is called again.
UPDATE campaign_contacts SET skip_reason = CASE WHEN status = 'SKIPPED' THEN 'DO_NOT_CALL'::"CampaignSkipReason" END
WHERE (status = 'SKIPPED') <> (skip_reason IS NOT NULL);
UPDATE campaign_contacts SET attempts = 0 WHERE attempts < 0;
UPDATE campaign_contacts SET attempts = 1 WHERE status = 'CALLING' AND attempts = 0;
UPDATE campaign_days SET attempts = 0 WHERE attempts < 0;

UPDATE campaigns c SET total_count = n.total, pending_count = n.pending, calling_count = n.calling,
  completed_count = n.completed, failed_count = n.failed, skipped_count = n.skipped,
  cancelled_count = n.cancelled
FROM (
  SELECT k.id, count(cc.id) AS total,
    count(*) FILTER (WHERE cc.status IN ('PENDING', 'SCHEDULED')) AS pending,
    count(*) FILTER (WHERE cc.status = 'CALLING') AS calling,
    count(*) FILTER (WHERE cc.status = 'COMPLETED') AS completed,
    count(*) FILTER (WHERE cc.status = 'FAILED') AS failed,
    count(*) FILTER (WHERE cc.status = 'SKIPPED') AS skipped,
    count(*) FILTER (WHERE cc.status = 'CANCELLED') AS cancelled
  FROM campaigns k LEFT JOIN campaign_contacts cc ON cc.campaign_id = k.id GROUP BY k.id
) n
WHERE c.id = n.id AND (c.total_count, c.pending_count, c.calling_count, c.completed_count,
    c.failed_count, c.skipped_count, c.cancelled_count)
  <> (n.total, n.pending, n.calling, n.completed, n.failed, n.skipped, n.cancelled);

ALTER TABLE campaign_contacts
  ADD CONSTRAINT campaign_contacts_next_eligible_at
    CHECK ((status = 'SCHEDULED') = (next_eligible_at IS NOT NULL)),
  ADD CONSTRAINT campaign_contacts_finished_at
    CHECK ((status IN ('COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED')) = (finished_at IS NOT NULL)),
  ADD CONSTRAINT campaign_contacts_skip_reason
    CHECK ((status = 'SKIPPED') = (skip_reason IS NOT NULL)),
  ADD CONSTRAINT campaign_contacts_attempts
    CHECK (attempts >= 0 AND (status <> 'CALLING' OR attempts > 0));

ALTER TABLE campaign_days ADD CONSTRAINT campaign_days_attempts CHECK (attempts >= 0);

ALTER TABLE campaigns ADD CONSTRAINT campaigns_counts CHECK (
  least(pending_count, calling_count, completed_count, failed_count, skipped_count, cancelled_count) >= 0
  AND total_count = pending_count + calling_count + completed_count + failed_count + skipped_count
    + cancelled_count);
