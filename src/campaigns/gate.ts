/** Whether a campaign as a whole may call at this moment, and if not, until when it is held back. */
import type { Agent, Campaign } from '../generated/prisma/client.ts';
import type { CampaignDecisionReason } from '../generated/prisma/enums.ts';
import { nextEligibleAt } from './plan.ts';
import { windowOfCampaign } from './schedule.ts';
import { isInside, nextInside } from './window.ts';
import { dateOf, dayAt } from './zone.ts';

/** An agent that is not ready is looked at again this soon. */
const AGENT_AGAIN_MS = 15_000;

export type Gate =
  /** `calls`: how many more may be placed now, as far as the campaign itself goes. */
  | { open: true; calls: number }
  | { open: false; hold: CampaignDecisionReason; until: Date }
  /** Only the end of one of its calls makes room. */
  | { open: false; hold: null; until: null }
  /** It cannot go on by itself. */
  | { open: false; pause: string }
  | { open: false; fail: string };

/** The campaign's calendar day, such as `2026-11-20`. */
export function campaignDay(campaign: Pick<Campaign, 'timezone'>, at: Date): string {
  return dateOf(dayAt(campaign.timezone, at.getTime()));
}

export function gateOf({
  campaign,
  agent,
  now,
  numbers,
  attemptsToday,
}: {
  campaign: Campaign;
  agent: Pick<Agent, 'status' | 'ultravoxId' | 'deletedAt'>;
  now: Date;
  /** How many numbers it can call from. */
  numbers: number;
  /** Attempts that the day's cap counts already. */
  attemptsToday: number;
}): Gate {
  if (agent.deletedAt) return { open: false, fail: 'Its agent was deleted.' };
  // With nobody left to call, its running calls end it.
  if (numbers === 0 && campaign.pendingCount === 0) return { open: false, hold: null, until: null };
  if (numbers === 0) {
    return {
      open: false,
      pause:
        'It has no phone number to call from any more. Assign an outbound number to its agent, or give it others with updateCampaign, and resume it.',
    };
  }
  const instant = Temporal.Instant.fromEpochMilliseconds(now.getTime());
  const window = windowOfCampaign(campaign);
  if (!isInside(window, instant)) {
    const next = nextInside(window, instant);
    if (!next) return { open: false, fail: 'No instant is ever inside its schedule.' };
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
    if (!next) return { open: false, fail: 'No instant is ever inside its schedule.' };
    return { open: false, hold: 'DAILY_CAP_REACHED', until: new Date(next.epochMilliseconds) };
  }
  if (agent.status !== 'ACTIVE' || !agent.ultravoxId) {
    const until = new Date(now.getTime() + AGENT_AGAIN_MS);
    return { open: false, hold: 'AGENT_NOT_READY', until };
  }
  const slots = campaign.maxConcurrentCalls - campaign.callingCount;
  if (slots <= 0) return { open: false, hold: null, until: null };
  return { open: true, calls: Math.min(left, slots) };
}
