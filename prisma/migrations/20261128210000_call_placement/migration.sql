CREATE TYPE "CallPlacement" AS ENUM ('QUEUED', 'CLAIMED', 'SENDING', 'UNKNOWN', 'ACCEPTED', 'REFUSED', 'NOT_CREATED', 'WITHDRAWN');

DROP INDEX calls_waiting;
DROP INDEX calls_active;

ALTER TABLE calls RENAME COLUMN placing_at TO claimed_at;
ALTER TABLE calls RENAME COLUMN sending_at TO sent_at;
ALTER INDEX calls_placing_at_idx RENAME TO calls_claimed_at_idx;
ALTER TABLE calls ADD COLUMN placement "CallPlacement";

-- Calls whose end was requested before they were sent are ended by the look-up, which finds nothing.
UPDATE calls SET claimed_at = coalesce(claimed_at, created_at),
  sent_at = coalesce(sent_at, claimed_at, created_at), next_check_at = now()
WHERE ended_at IS NULL AND ultravox_id IS NULL AND end_requested_at IS NOT NULL;

-- No process sends while migrations are applied, so the answer to whatever was being sent is lost.
UPDATE calls SET placement = (CASE
  WHEN ultravox_id IS NOT NULL THEN 'ACCEPTED'
  WHEN ended_at IS NULL AND claimed_at IS NULL THEN 'QUEUED'
  WHEN ended_at IS NULL AND sent_at IS NULL THEN 'CLAIMED'
  WHEN ended_at IS NULL THEN 'UNKNOWN'
  WHEN claimed_at IS NULL OR sent_at IS NULL THEN 'WITHDRAWN'
  WHEN failure_code IS NOT NULL THEN 'REFUSED'
  WHEN end_reason = 'SYSTEM_ERROR' THEN 'NOT_CREATED'
  ELSE 'UNKNOWN'
END)::"CallPlacement";

UPDATE calls SET claimed_at = NULL, sent_at = NULL WHERE placement IN ('QUEUED', 'WITHDRAWN');
UPDATE calls SET next_check_at = NULL, lost_at = NULL WHERE placement IN ('QUEUED', 'CLAIMED');
UPDATE calls SET place_not_before = NULL WHERE placement <> 'QUEUED';
UPDATE calls SET claimed_at = coalesce(ringing_at, created_at)
WHERE placement = 'ACCEPTED' AND claimed_at IS NULL;
UPDATE calls SET next_check_at = coalesce(next_check_at, now()),
  lost_at = coalesce(lost_at, claimed_at + (join_timeout_seconds + max_duration_seconds) * interval '1 second')
WHERE placement = 'UNKNOWN' AND ended_at IS NULL;

ALTER TABLE calls ALTER COLUMN placement SET NOT NULL,
  ADD CONSTRAINT calls_placement_claim
    CHECK ((placement IN ('QUEUED', 'WITHDRAWN')) = (claimed_at IS NULL)),
  ADD CONSTRAINT calls_placement_sent
    CHECK (placement = 'ACCEPTED'
      OR (placement IN ('QUEUED', 'CLAIMED', 'WITHDRAWN')) = (sent_at IS NULL)),
  ADD CONSTRAINT calls_placement_accepted
    CHECK ((placement = 'ACCEPTED') = (ultravox_id IS NOT NULL)),
  ADD CONSTRAINT calls_placement_not_before
    CHECK (placement = 'QUEUED' OR place_not_before IS NULL),
  ADD CONSTRAINT calls_placement_end_requested
    CHECK (placement NOT IN ('QUEUED', 'CLAIMED') OR end_requested_at IS NULL),
  ADD CONSTRAINT calls_placement_status
    CHECK (CASE
      WHEN placement IN ('QUEUED', 'CLAIMED', 'SENDING') THEN status = 'CREATED' AND ended_at IS NULL
      WHEN placement = 'UNKNOWN' THEN status = 'CREATED' OR ended_at IS NOT NULL
      WHEN placement = 'ACCEPTED' THEN true
      ELSE status IN ('FAILED', 'CANCELLED') AND ended_at IS NOT NULL END),
  -- Whatever may have been sent is looked up until it has ended, and nothing else is.
  ADD CONSTRAINT calls_placement_look_up
    CHECK (CASE
      WHEN placement IN ('QUEUED', 'CLAIMED') THEN next_check_at IS NULL AND lost_at IS NULL
      WHEN placement IN ('SENDING', 'UNKNOWN') AND ended_at IS NULL
        THEN next_check_at IS NOT NULL AND lost_at IS NOT NULL
      ELSE true END);

CREATE INDEX calls_queued ON calls (created_at, id) WHERE placement = 'QUEUED';
CREATE INDEX calls_active ON calls (claimed_at) WHERE ended_at IS NULL;
