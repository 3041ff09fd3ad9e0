/** Input of a dispatch cycle's decisions: the campaigns with their eligibility, and the limits. */
import type { Campaign } from '../../generated/prisma/client.ts';
import { windowOfCampaign } from '../schedule/schedule.ts';
import { campaignAfter } from '../status.ts';
import type { CampaignSlots, ReleasedCall } from './campaign-slots.ts';
import { type ContactWindow, contactWindow } from './contact-window.ts';
import type { Allowance } from './due-contacts.ts';
import { type CampaignEligibility, campaignEligibility } from './eligibility.ts';

/** Everything the decisions of one cycle are based on. It is never modified. */
export interface DispatchCycle {
  readonly now: Date;
  /** Number of calls that Ultravox's limits allow. */
  readonly free: number;
  /** Maximum number of active calls of an organization. */
  readonly organizationMax: number;
  /** By ID, least recently dispatched first. */
  readonly campaigns: ReadonlyMap<string, EligibleCampaign>;
  /** Oldest first. */
  readonly released: readonly ReleasedCall[];
  /** Number of active calls by organization. */
  readonly activeCalls: ReadonlyMap<string, number>;
}

/** A locked campaign, with its state at this instant. */
export interface EligibleCampaign extends Readonly<CampaignSlots> {
  /** Whether its start has come: `campaign` is already ACTIVE, its row is not yet. */
  readonly starts: boolean;
  /** Null if the campaign is not ACTIVE. */
  readonly eligibility: CampaignEligibility | null;
  /** Maps a contact's time zone to the state of the window there. */
  readonly windowOf: (timezone: string | null) => ContactWindow;
}

/** Starts the campaign if its start has come, and decides whether it may call. */
export function eligibleCampaign(
  slots: CampaignSlots,
  now: Date,
  marginSeconds: number,
): EligibleCampaign {
  const campaign = startedCampaign(slots.campaign, now);
  const window = windowOfCampaign(campaign, marginSeconds);
  return {
    ...slots,
    campaign,
    starts: campaign !== slots.campaign,
    eligibility:
      campaign.status === 'ACTIVE'
        ? campaignEligibility({
            campaign,
            window,
            agent: slots.agent,
            now,
            numbers: slots.numbers.length,
            hasOwnNumbers: slots.hasOwnNumbers,
            attemptsToday: slots.attemptsToday,
          })
        : null,
    windowOf: contactWindow(campaign, window, now),
  };
}

function startedCampaign(campaign: Campaign, now: Date): Campaign {
  const { status, nextDispatchAt } = campaign;
  if (status !== 'SCHEDULED' || !nextDispatchAt || nextDispatchAt > now) return campaign;
  const step = campaignAfter(status, 'START');
  return step.allowed ? { ...campaign, status: step.status } : campaign;
}

/** How many new calls each campaign may place besides the released calls that are claimed again. */
export function allowancesOf(
  cycle: DispatchCycle,
  claims: readonly { call: ReleasedCall }[],
): Allowance[] {
  const active = activeCallsAfter(cycle, claims);
  return [...cycle.campaigns.values()].flatMap(({ campaign, eligibility }) => {
    const organizationCalls = active.get(campaign.organizationId) ?? 0;
    const organizationSlots = cycle.organizationMax - organizationCalls;
    if (!eligibility?.open || organizationSlots <= 0) return [];
    return {
      campaignId: campaign.id,
      organizationId: campaign.organizationId,
      calls: eligibility.calls,
      campaignCalls: campaign.callingCount,
      organizationCalls,
      organizationSlots,
    };
  });
}

/** Number of active calls by organization once these calls are claimed. */
export function activeCallsAfter(
  cycle: DispatchCycle,
  claims: readonly { call: ReleasedCall }[],
): Map<string, number> {
  const active = new Map(cycle.activeCalls);
  for (const { call } of claims) {
    active.set(call.organizationId, (active.get(call.organizationId) ?? 0) + 1);
  }
  return active;
}
