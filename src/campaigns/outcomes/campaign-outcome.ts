/** Decides whether the ends of calls pause their campaign. */
import type { Campaign } from '../../generated/prisma/client.ts';
import type { NewDecision } from '../contacts/decisions.ts';
import { campaignAfter } from '../status.ts';
import { BREAKER_CALLS, breakerTrips } from './circuit-breaker.ts';
import type { EndedCall, Outcome } from './outcome.ts';

/** Changes that the outcomes of a batch make to a campaign, other than to its counters. */
export interface CampaignOutcome {
  /** The campaign after the outcomes, without its counters. */
  campaign: Campaign;
  /** Whether the outcomes pause the campaign. */
  pauses: boolean;
  decision: NewDecision | null;
  /** Whether an attempt was not dialed, so that the daily cap has room again. */
  released: boolean;
}

/** `outcomes` are those of the campaign's ended calls, oldest first. */
export function campaignOutcome(
  campaign: Campaign,
  outcomes: readonly { call: EndedCall; outcome: Outcome }[],
): CampaignOutcome {
  const ends = outcomes
    .filter(({ outcome }) => outcome.transition === 'END' && outcome.countsForBreaker)
    .map(({ call }) => call.status);
  const recentEnds = [...ends.reverse(), ...campaign.recentEnds].slice(0, BREAKER_CALLS);
  const released = outcomes.some(({ outcome }) => outcome.transition === 'RELEASE');
  const counted = { ...campaign, recentEnds };
  const unchanged = { campaign: counted, pauses: false, decision: null, released };
  const statusReason = pauseReason(counted, outcomes);
  if (statusReason === null) return unchanged;
  const step = campaignAfter(campaign.status, 'PAUSE');
  if (!step.allowed) throw new Error(step.message);
  return {
    campaign: { ...counted, status: step.status, statusReason, holdReason: null },
    pauses: true,
    decision: {
      organizationId: campaign.organizationId,
      campaignId: campaign.id,
      outcome: 'WAITS',
      reason: breakerTrips(recentEnds) ? 'TOO_MANY_FAILURES' : 'CAMPAIGN_PAUSED',
    },
    released,
  };
}

function pauseReason(
  { status, recentEnds, pendingCount, callingCount }: Campaign,
  outcomes: readonly { outcome: Outcome }[],
): string | null {
  if (status !== 'ACTIVE') return null;
  // Without waiting contacts and active calls, the campaign is completed instead.
  const finished = outcomes.filter(({ outcome }) => outcome.move.status !== 'SCHEDULED').length;
  if (pendingCount + callingCount === finished) return null;
  if (breakerTrips(recentEnds)) {
    const failed = recentEnds.filter((end) => end === 'FAILED').length;
    return `${failed} of the last ${BREAKER_CALLS} calls failed. Check \`endReason\` of the contacts, fix the cause, then resume the campaign.`;
  }
  const rejections = outcomes.flatMap(({ outcome }) =>
    outcome.transition === 'RELEASE' ? (outcome.rejection ?? []) : [],
  );
  return rejections.at(-1) ?? null;
}
