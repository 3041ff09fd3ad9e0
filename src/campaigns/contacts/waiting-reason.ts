/** Explains why a contact is waiting, and until when, from its planned time and the state of its campaign. */
import type { Campaign, CampaignContact } from '../../generated/prisma/client.ts';
import type { CampaignDecisionReason } from '../../generated/prisma/enums.ts';
import { isInside, windowsFor } from '../schedule/calling-window.ts';
import { windowOfCampaign } from '../schedule/schedule.ts';

export interface Waiting {
  /** Earliest known time of the call; null unless the contact is waiting for a time. */
  until: Date | null;
  /** Why it cannot be called at its planned time. */
  reason: CampaignDecisionReason | null;
}

const NOT_WAITING: Waiting = { until: null, reason: null };

type WaitingContact = Pick<CampaignContact, 'status' | 'nextEligibleAt' | 'timezone'>;
type CampaignOfContact = Pick<
  Campaign,
  | 'status'
  | 'holdReason'
  | 'nextDispatchAt'
  | 'timezone'
  | 'workingDays'
  | 'startMinute'
  | 'endMinute'
>;

/** `marginSeconds`: margin of the calling window. */
export function waitingState(
  contact: WaitingContact,
  campaign: CampaignOfContact,
  { now, marginSeconds }: { now: Date; marginSeconds: number },
): Waiting {
  if (contact.status !== 'PENDING' && contact.status !== 'SCHEDULED') return NOT_WAITING;
  if (campaign.status === 'PAUSED') return { until: null, reason: 'CAMPAIGN_PAUSED' };
  if (campaign.status !== 'SCHEDULED' && campaign.status !== 'ACTIVE') return NOT_WAITING;
  const dueAt = contact.nextEligibleAt;
  const { holdReason, nextDispatchAt } = campaign;
  // A hold that ends before the planned time does not delay the contact.
  if (!dueAt || !holdReason || (nextDispatchAt && dueAt > nextDispatchAt)) {
    return {
      until: dueAt,
      reason: dueAt ? waitingReason(contact, campaign, dueAt, { now, marginSeconds }) : null,
    };
  }
  return { until: nextDispatchAt ?? dueAt, reason: holdReason };
}

/** Reason why a contact waits for its own time while its campaign may call. */
function waitingReason(
  contact: WaitingContact,
  campaign: CampaignOfContact,
  dueAt: Date,
  { now, marginSeconds }: { now: Date; marginSeconds: number },
): CampaignDecisionReason | null {
  if (campaign.status !== 'ACTIVE') return null;
  // The contact is due and the campaign may call, so all slots are in use.
  if (dueAt <= now) return 'CONCURRENCY_REACHED';
  const window = windowOfCampaign(campaign, marginSeconds);
  const instant = now.toTemporalInstant();
  if (!isInside(window, instant)) return 'WINDOW_CLOSED';
  return isInside(windowsFor(window, contact.timezone), instant) ? null : 'CONTACT_WINDOW_CLOSED';
}
