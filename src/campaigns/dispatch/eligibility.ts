/** Decides whether a campaign may call now and, if not, why and until when. */
import type { Agent, Campaign } from '../../generated/prisma/client.ts';
import type { CampaignDecisionReason } from '../../generated/prisma/enums.ts';
import { dateOf, dayAt } from '../../infra/time-zone.ts';
import { isInside, nextInside, type Window } from '../schedule/calling-window.ts';
import { nextEligibleAt } from '../schedule/planner.ts';

/** Delay until the next check of an agent that is not ready. */
const AGENT_RECHECK_MS = 15_000;

export type CampaignEligibility =
  /** `calls`: number of calls that the limits of the campaign allow now. */
  | { open: true; calls: number }
  | { open: false; hold: CampaignDecisionReason; until: Date }
  /** No slot is free until a call of the campaign ends. */
  | { open: false; hold: null; until: null }
  /** The campaign must be paused. */
  | { open: false; pause: string }
  | { open: false; fail: string };

/** The campaign's calendar day, such as `2026-11-20`. */
export function campaignDay(campaign: Pick<Campaign, 'timezone'>, at: Date): string {
  return dateOf(dayAt(campaign.timezone, at.getTime()));
}

export function campaignEligibility({
  campaign,
  window,
  agent,
  now,
  numbers,
  hasOwnNumbers,
  attemptsToday,
}: {
  campaign: Campaign;
  /** The calling window of the campaign. */
  window: Window;
  agent: Pick<Agent, 'status' | 'remoteId' | 'deletedAt'>;
  now: Date;
  /** Number of caller IDs. */
  numbers: number;
  /** Whether it calls from numbers of its own, even if those were released, and not from those of its agent. */
  hasOwnNumbers: boolean;
  /** Number of attempts that already count toward the daily cap. */
  attemptsToday: number;
}): CampaignEligibility {
  if (agent.deletedAt) return { open: false, fail: 'The agent of the campaign was deleted.' };
  // Without waiting contacts, the end of the last call completes the campaign.
  if (numbers === 0 && campaign.pendingCount === 0) return { open: false, hold: null, until: null };
  if (numbers === 0) {
    return {
      open: false,
      pause: hasOwnNumbers
        ? 'The campaign has no phone number to call from, since all of its own were released. Set `phoneNumberIds` with `updateCampaign` to other numbers, or to null to use the outbound numbers of its agent, then resume it.'
        : 'The campaign has no phone number to call from. Assign an outbound number to its agent or set `phoneNumberIds` with `updateCampaign`, then resume it.',
    };
  }
  const instant = now.toTemporalInstant();
  if (!isInside(window, instant)) {
    const next = nextInside(window, instant);
    if (!next) return { open: false, fail: 'The calling window of the campaign never opens.' };
    return { open: false, hold: 'WINDOW_CLOSED', until: new Date(next.epochMilliseconds) };
  }
  const left =
    campaign.maxCallsPerDay === null
      ? Number.POSITIVE_INFINITY
      : campaign.maxCallsPerDay - attemptsToday;
  if (left <= 0) {
    const next = nextEligibleAt({
      window,
      from: instant,
      maxCallsPerDay: campaign.maxCallsPerDay,
      alreadyPerDay: new Map([[campaignDay(campaign, now), attemptsToday]]),
    });
    if (!next) return { open: false, fail: 'The calling window of the campaign never opens.' };
    return { open: false, hold: 'DAILY_CAP_REACHED', until: new Date(next.epochMilliseconds) };
  }
  if (agent.status !== 'ACTIVE' || !agent.remoteId) {
    const until = new Date(now.getTime() + AGENT_RECHECK_MS);
    return { open: false, hold: 'AGENT_NOT_READY', until };
  }
  const slots = campaign.maxConcurrentCalls - campaign.callingCount;
  if (slots <= 0) return { open: false, hold: null, until: null };
  return { open: true, calls: Math.min(left, slots) };
}
