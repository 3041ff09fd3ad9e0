/** What a contact waits for, and until when: its own time, and what holds for the whole campaign. */
import type { Campaign, CampaignContact } from '../generated/prisma/client.ts';
import type { CampaignDecisionReason } from '../generated/prisma/enums.ts';

export interface Waiting {
  /** From when on it may be called as far as is known; null unless it waits for a time. */
  until: Date | null;
  /** What keeps it from being called at its own time. */
  reason: CampaignDecisionReason | null;
}

const NOT_WAITING: Waiting = { until: null, reason: null };

export function waitingOf(
  contact: Pick<CampaignContact, 'status' | 'nextEligibleAt'>,
  campaign: Pick<Campaign, 'status' | 'holdReason' | 'nextDispatchAt'>,
): Waiting {
  if (contact.status !== 'PENDING' && contact.status !== 'SCHEDULED') return NOT_WAITING;
  if (campaign.status === 'PAUSED') return { until: null, reason: 'CAMPAIGN_PAUSED' };
  if (campaign.status !== 'SCHEDULED' && campaign.status !== 'ACTIVE') return NOT_WAITING;
  const own = contact.nextEligibleAt;
  const { holdReason, nextDispatchAt } = campaign;
  // What holds the campaign back until before its own time does not concern it.
  if (!own || !holdReason || (nextDispatchAt && own > nextDispatchAt)) {
    return { until: own, reason: null };
  }
  return { until: nextDispatchAt ?? own, reason: holdReason };
}
