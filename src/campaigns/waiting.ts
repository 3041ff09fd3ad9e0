/** What a contact waits for, and until when: its own time, and what holds for the whole campaign. */
import type { Campaign, CampaignContact } from '../generated/prisma/client.ts';
import type { CampaignDecisionReason } from '../generated/prisma/enums.ts';
import { windowOfCampaign } from './schedule.ts';
import { isInside, windowsFor } from './window.ts';

export interface Waiting {
  /** From when on it may be called as far as is known; null unless it waits for a time. */
  until: Date | null;
  /** What keeps it from being called at its own time. */
  reason: CampaignDecisionReason | null;
}

const NOT_WAITING: Waiting = { until: null, reason: null };

type WaitingContact = Pick<CampaignContact, 'status' | 'nextEligibleAt' | 'timezone'>;
type ItsCampaign = Pick<
  Campaign,
  | 'status'
  | 'holdReason'
  | 'nextDispatchAt'
  | 'timezone'
  | 'workingDays'
  | 'startMinute'
  | 'endMinute'
>;

export function waitingOf(contact: WaitingContact, campaign: ItsCampaign, now: Date): Waiting {
  if (contact.status !== 'PENDING' && contact.status !== 'SCHEDULED') return NOT_WAITING;
  if (campaign.status === 'PAUSED') return { until: null, reason: 'CAMPAIGN_PAUSED' };
  if (campaign.status !== 'SCHEDULED' && campaign.status !== 'ACTIVE') return NOT_WAITING;
  const own = contact.nextEligibleAt;
  const { holdReason, nextDispatchAt } = campaign;
  // What holds the campaign back until before its own time does not concern it.
  if (!own || !holdReason || (nextDispatchAt && own > nextDispatchAt)) {
    return { until: own, reason: own ? whyNotNow(contact, campaign, own, now) : null };
  }
  return { until: nextDispatchAt ?? own, reason: holdReason };
}

/** What the hour has to do with it: for one that waits by itself, not with its campaign. */
function whyNotNow(
  contact: WaitingContact,
  campaign: ItsCampaign,
  own: Date,
  now: Date,
): CampaignDecisionReason | null {
  if (campaign.status !== 'ACTIVE') return null;
  // Its time has come and the campaign may call: others are being called.
  if (own <= now) return 'CONCURRENCY_REACHED';
  const window = windowOfCampaign(campaign);
  const instant = Temporal.Instant.fromEpochMilliseconds(now.getTime());
  if (!isInside(window, instant)) return 'WINDOW_CLOSED';
  return isInside(windowsFor(window, contact.timezone), instant) ? null : 'CONTACT_WINDOW_CLOSED';
}
