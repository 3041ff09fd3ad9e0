/** Decisions in words, for people. */
import type { CampaignDecisionOutcome, CampaignDecisionReason } from '../generated/prisma/enums.ts';

/** What was the case, as the first half of a sentence. Null: the outcome says it all. */
const CAUSES: Record<CampaignDecisionReason, string | null> = {
  DUE: 'Its time had come',
  WINDOW_CLOSED: 'The window of the campaign is closed',
  CONTACT_WINDOW_CLOSED: "The window is closed in the contact's own time zone",
  DAILY_CAP_REACHED: 'The calls of the day are used up',
  CONCURRENCY_REACHED: 'All lines are taken',
  AGENT_NOT_READY: 'The agent is not ready for calls',
  NO_PHONE_NUMBER: 'There is no number to call from',
  ULTRAVOX_WAITS: 'Ultravox takes no more calls at the moment',
  DO_NOT_CALL: 'The number is on the do-not-call list',
  NEVER_OPEN: "No time suits both the campaign's window and the contact's time zone",
  CALL_ENDED: null,
  RETRIES_OFF: 'The call failed and retryFailed is off',
  RETRIES_USED_UP: 'The call failed and no retries are left',
  NOT_RETRIED: 'The call failed for a reason that another attempt would not change',
  TOO_MANY_FAILURES: 'More than half of the last 20 calls failed, so the campaign was paused',
  CAMPAIGN_PAUSED: 'The campaign was paused',
  CAMPAIGN_RESUMED: 'The campaign was resumed',
  CAMPAIGN_OVER: 'The campaign is over',
};

/** What follows from it. */
const CONSEQUENCES: Record<CampaignDecisionOutcome, string> = {
  DIALLED: 'it is called',
  WAITS: 'it waits',
  RETRIES: 'another attempt follows',
  COMPLETED: 'nothing more is to be done',
  FAILED: 'it is not tried again',
  SKIPPED: 'it is not called',
  CANCELLED: 'it is not called any more',
};

const ENDS: Partial<Record<CampaignDecisionOutcome, string>> = {
  RETRIES: 'The call failed',
  FAILED: 'The call failed',
  CANCELLED: 'The call was cancelled',
};

export function decisionMessage({
  outcome,
  reason,
  until,
  timezone,
}: {
  outcome: CampaignDecisionOutcome;
  reason: CampaignDecisionReason;
  until: Date | null;
  /** The campaign's. */
  timezone: string;
}): string {
  if (reason === 'CAMPAIGN_RESUMED') return `${CAUSES[reason]}.`;
  const cause = CAUSES[reason] ?? ENDS[outcome] ?? 'The call is over';
  return `${cause}: ${CONSEQUENCES[outcome]}${until ? limit(outcome, until, timezone) : ''}.`;
}

function limit(outcome: CampaignDecisionOutcome, until: Date, timezone: string): string {
  // The wait before a retry can be shorter than a minute.
  return outcome === 'RETRIES'
    ? `, not before ${inZone(until, timezone, 'second')}`
    : ` until ${inZone(until, timezone, 'minute')}`;
}

/** As `2026-11-23 09:00 (Europe/Berlin)`. */
function inZone(at: Date, timezone: string, smallestUnit: 'minute' | 'second'): string {
  const there = Temporal.Instant.fromEpochMilliseconds(at.getTime()).toZonedDateTimeISO(timezone);
  const time = there.toPlainTime().toString({ smallestUnit });
  return `${there.toPlainDate()} ${time} (${timezone})`;
}
