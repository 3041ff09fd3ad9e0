/** Decides whether to claim released calls again, or to withdraw them with their attempt. */
import type { CampaignDecisionReason } from '../../generated/prisma/enums.ts';
import { endIfNotCallable } from '../outcomes/earlier-calls.ts';
import type { ContactEnd } from '../outcomes/outcome.ts';
import { isCampaignTerminal } from '../status.ts';
import type { ReleasedCall } from './campaign-slots.ts';
import { activeCallsAfter, type DispatchCycle, type EligibleCampaign } from './cycle-input.ts';

export interface ReleasedDecisions {
  /** Calls to claim again, if Ultravox has slots. */
  claims: { call: ReleasedCall; placeBefore: Date | null }[];
  withdrawals: Withdrawal[];
}

export interface Withdrawal {
  call: ReleasedCall;
  reason: CampaignDecisionReason;
  /** Status of the contact afterwards; SCHEDULED if it may be called again. */
  status: 'SCHEDULED' | 'CANCELLED' | ContactEnd['status'];
}

/** Usage of a campaign's limits, given the decisions made so far. */
interface Usage {
  attemptsToday: number;
  callingCount: number;
}

/**
 * Claims the oldest calls first, as long as their organizations have slots. The others, and those whose time has not
 * come, stay released. Calls that are no longer allowed are withdrawn.
 */
export function decideReleasedCalls(cycle: DispatchCycle): ReleasedDecisions {
  const claims: ReleasedDecisions['claims'] = [];
  const withdrawals: Withdrawal[] = [];
  const usage = new Map<string, Usage>();
  const active = activeCallsAfter(cycle, []);
  for (const call of cycle.released) {
    const campaign = cycle.campaigns.get(call.campaignId);
    if (!campaign) continue;
    const used = usage.get(call.campaignId) ?? {
      attemptsToday: campaign.attemptsToday,
      callingCount: campaign.campaign.callingCount,
    };
    usage.set(call.campaignId, used);
    const withdrawal = withdrawalOf(campaign, call, used);
    if (withdrawal) {
      if (call.attemptDay === campaign.day) used.attemptsToday--;
      used.callingCount--;
      withdrawals.push({ call, ...withdrawal });
      continue;
    }
    if (call.placeNotBefore && call.placeNotBefore > cycle.now) continue;
    const calls = active.get(call.organizationId) ?? 0;
    if (calls >= cycle.organizationMax) continue;
    active.set(call.organizationId, calls + 1);
    claims.push({ call, placeBefore: campaign.windowOf(call.timezone).deadline });
  }
  return { claims, withdrawals };
}

function withdrawalOf(
  eligible: EligibleCampaign,
  call: ReleasedCall,
  used: Usage,
): Omit<Withdrawal, 'call'> | null {
  const { campaign } = eligible;
  if (isCampaignTerminal(campaign.status)) return { reason: 'CAMPAIGN_OVER', status: 'CANCELLED' };
  const end = endIfNotCallable(campaign, call.attemptsBefore, call);
  if (end) return { reason: end.reason, status: end.status };
  const reason = withdrawalReason(eligible, call, used);
  return reason && { reason, status: 'SCHEDULED' };
}

function withdrawalReason(
  { campaign, eligibility, numbers, day, windowOf }: EligibleCampaign,
  call: ReleasedCall,
  used: Usage,
): CampaignDecisionReason | null {
  if (!eligibility) return campaign.status === 'PAUSED' ? 'CAMPAIGN_PAUSED' : 'CAMPAIGN_OVER';
  if (!eligibility.open) {
    if ('pause' in eligibility) return 'NO_PHONE_NUMBER';
    if ('fail' in eligibility) return 'CAMPAIGN_OVER';
    // The attempt of this call is itself counted by the daily cap and the slots.
    const { hold } = eligibility;
    if (hold === 'WINDOW_CLOSED' || hold === 'AGENT_NOT_READY') return hold;
  }
  if (!numbers.some(({ id }) => id === call.phoneNumberId)) return 'NO_PHONE_NUMBER';
  if (campaign.maxCallsPerDay !== null) {
    const isOfToday = call.attemptDay === day;
    const most = campaign.maxCallsPerDay - (isOfToday ? 0 : 1);
    if (used.attemptsToday > most) return 'DAILY_CAP_REACHED';
    // The claim would count toward the day before, so it is decided again to count today.
    if (!isOfToday) return 'ULTRAVOX_WAITS';
  }
  // The concurrency limit was lowered since the claim.
  if (used.callingCount > campaign.maxConcurrentCalls) return 'CONCURRENCY_REACHED';
  return windowOf(call.timezone).open ? null : 'CONTACT_WINDOW_CLOSED';
}
