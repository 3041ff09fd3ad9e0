/** Decides how a dispatch cycle changes the campaigns themselves. */
import type { Campaign } from '../../generated/prisma/client.ts';
import type { EventType } from '../../generated/prisma/enums.ts';
import type { NewDecision } from '../contacts/decisions.ts';
import { campaignAfter } from '../status.ts';
import type { ContactDecisions } from './contact-decisions.ts';
import type { DispatchCycle, EligibleCampaign } from './cycle-input.ts';
import type { ReleasedDecisions } from './released-calls.ts';

export interface CampaignUpdate {
  /** The campaign after the cycle, without its counters. */
  campaign: Campaign;
  starts: boolean;
  /** Whether the campaign is paused or fails. */
  stops: boolean;
  placedCalls: boolean;
  /** `NEXT_DUE`: when the next contact is due, or null while all slots are in use. */
  nextDispatchAt: Date | null | 'NEXT_DUE';
  decision: NewDecision | null;
  event: Extract<EventType, 'CAMPAIGN_PAUSED' | 'CAMPAIGN_FAILED'> | null;
}

/** Returns one update for each campaign of the cycle. */
export function decideCampaignUpdates(
  cycle: DispatchCycle,
  { withdrawals }: Pick<ReleasedDecisions, 'withdrawals'>,
  { attempts, rotation }: Pick<ContactDecisions, 'attempts' | 'rotation'>,
): CampaignUpdate[] {
  const calling = new Set(attempts.map(({ contact }) => contact.campaignId));
  const withdrawing = new Set(withdrawals.map(({ call }) => call.campaignId));
  return [...cycle.campaigns.values()].map((eligible) => {
    const { id, rotationIndex } = eligible.campaign;
    const update = updateOf(eligible, cycle.now, withdrawing.has(id));
    return {
      ...update,
      campaign: { ...update.campaign, rotationIndex: rotation.get(id) ?? rotationIndex },
      starts: eligible.starts,
      placedCalls: calling.has(id),
    };
  });
}

type Update = Omit<CampaignUpdate, 'starts' | 'placedCalls'>;

/** `withdraws`: whether the cycle withdraws calls of the campaign. Its eligibility still counts them. */
function updateOf(
  { campaign, eligibility }: EligibleCampaign,
  now: Date,
  withdraws: boolean,
): Update {
  const about = { organizationId: campaign.organizationId, campaignId: campaign.id };
  const unchanged = { stops: false, decision: null, event: null };
  if (!eligibility) return { campaign, nextDispatchAt: campaign.nextDispatchAt, ...unchanged };
  if ('pause' in eligibility) {
    return {
      campaign: stopped(campaign, 'PAUSE', eligibility.pause),
      nextDispatchAt: null,
      stops: true,
      decision: { ...about, outcome: 'WAITS', reason: 'NO_PHONE_NUMBER' },
      event: 'CAMPAIGN_PAUSED',
    };
  }
  if ('fail' in eligibility) {
    return {
      campaign: { ...stopped(campaign, 'FAIL', eligibility.fail), endedAt: now },
      nextDispatchAt: null,
      stops: true,
      decision: { ...about, outcome: 'CANCELLED', reason: 'CAMPAIGN_OVER' },
      event: 'CAMPAIGN_FAILED',
    };
  }
  // Without the withdrawn calls, the daily cap may not be reached: the next cycle decides.
  const mayHaveRoom = !eligibility.open && eligibility.hold === 'DAILY_CAP_REACHED' && withdraws;
  if (eligibility.open || eligibility.hold === null || mayHaveRoom) {
    return {
      campaign: { ...campaign, holdReason: null },
      nextDispatchAt: 'NEXT_DUE',
      ...unchanged,
    };
  }
  const { hold, until } = eligibility;
  return {
    campaign: { ...campaign, holdReason: hold },
    nextDispatchAt: until,
    ...unchanged,
    decision:
      hold === campaign.holdReason ? null : { ...about, outcome: 'WAITS', reason: hold, until },
  };
}

function stopped(campaign: Campaign, action: 'PAUSE' | 'FAIL', statusReason: string): Campaign {
  const step = campaignAfter(campaign.status, action);
  if (!step.allowed) throw new Error(step.message);
  return { ...campaign, status: step.status, statusReason, holdReason: null };
}
