/** Builds sentences that explain decisions to people. */
import type {
  CampaignDecisionOutcome,
  CampaignDecisionReason,
} from '../../generated/prisma/enums.ts';

/** First half of the sentence. If null, it depends on the outcome. */
const CAUSES: Record<CampaignDecisionReason, string | null> = {
  DUE: 'The contact is due',
  WINDOW_CLOSED: 'The calling window of the campaign is closed',
  CONTACT_WINDOW_CLOSED: "The calling window is closed in the contact's time zone",
  DAILY_CAP_REACHED: 'The daily limit of calls is reached',
  CONCURRENCY_REACHED: 'All call slots are in use',
  AGENT_NOT_READY: 'The agent is not ready for calls',
  NO_PHONE_NUMBER: 'No phone number is available to call from',
  ULTRAVOX_WAITS: 'Ultravox does not accept calls at the moment',
  DO_NOT_CALL: 'The phone number is on the do-not-call list',
  NEVER_OPEN:
    "The calling window is never open in the campaign's and the contact's time zone at the same time",
  CALL_ENDED: null,
  RETRIES_OFF: 'The call failed and retries are turned off',
  RETRIES_USED_UP: 'The call failed and no retries are left',
  NOT_RETRIED:
    'The call failed for a reason that is not retried, or the person asked not to be called again',
  TOO_MANY_FAILURES: 'More than half of the last 20 calls failed, so the campaign was paused',
  CAMPAIGN_PAUSED: 'The campaign was paused',
  CAMPAIGN_RESUMED: 'The campaign was resumed',
  CAMPAIGN_OVER: 'The campaign has ended',
};

/** Second half of the sentence. */
const CONSEQUENCES: Record<CampaignDecisionOutcome, string> = {
  DIALED: 'call placed',
  WAITS: 'waiting',
  RETRIES: 'retry follows',
  COMPLETED: 'contact completed',
  FAILED: 'contact failed',
  SKIPPED: 'contact skipped',
  CANCELLED: 'no further calls',
};

const ENDS: Partial<Record<CampaignDecisionOutcome, string>> = {
  RETRIES: 'The call failed',
  FAILED: 'The call failed',
  CANCELLED: 'The call was canceled',
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
  /** Time zone of the campaign. */
  timezone: string;
}): string {
  if (reason === 'CAMPAIGN_RESUMED') return `${CAUSES[reason]}.`;
  const cause = CAUSES[reason] ?? ENDS[outcome] ?? 'The call ended';
  return `${cause}: ${CONSEQUENCES[outcome]}${until ? deadlineText(outcome, until, timezone) : ''}.`;
}

function deadlineText(outcome: CampaignDecisionOutcome, until: Date, timezone: string): string {
  // Retries can be due within a minute.
  return outcome === 'RETRIES'
    ? `, not before ${formatInZone(until, timezone, 'second')}`
    : ` until ${formatInZone(until, timezone, 'minute')}`;
}

/** Formats an instant such as `2026-11-23 09:00 (Europe/Berlin)`. */
function formatInZone(at: Date, timezone: string, smallestUnit: 'minute' | 'second'): string {
  const there = at.toTemporalInstant().toZonedDateTimeISO(timezone);
  const time = there.toPlainTime().toString({ smallestUnit });
  return `${there.toPlainDate()} ${time} (${timezone})`;
}
