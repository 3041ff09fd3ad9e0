/** Input of a dispatch cycle's decisions: the campaigns with their eligibility, and the limits. */
import { type SlotLimits, type SlotShares, shareSlots } from '../../calls/placement/slot-shares.ts';
import type { Campaign } from '../../generated/prisma/client.ts';
import { windowOfCampaign } from '../schedule/schedule.ts';
import { campaignAfter } from '../status.ts';
import type { CampaignSlots, ReleasedCall } from './campaign-slots.ts';
import { type ContactWindow, contactWindow } from './contact-window.ts';
import type { Allowance, DueContact } from './due-contacts.ts';
import { type CampaignEligibility, campaignEligibility } from './eligibility.ts';

/** Everything the decisions of one cycle are based on. It is never modified. */
export interface DispatchCycle extends Readonly<SlotLimits> {
  readonly now: Date;
  /** By ID, least recently dispatched first. */
  readonly campaigns: ReadonlyMap<string, EligibleCampaign>;
  /** Oldest first. */
  readonly released: readonly ReleasedCall[];
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
    const organization = cycle.organizations.get(campaign.organizationId);
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
      recentCalls: (organization?.recent ?? 0) + organizationCalls - (organization?.active ?? 0),
      lastUsedAt: organization?.lastUsedAt ?? null,
    };
  });
}

/** Number of active calls by organization once its waiting calls, which come first, and these calls are claimed. */
export function activeCallsAfter(
  { organizations }: Pick<DispatchCycle, 'organizations'>,
  claims: readonly { call: ReleasedCall }[],
): Map<string, number> {
  const calls = new Map([...organizations].map(([id, one]) => [id, one.active + one.waiting]));
  for (const { call } of claims) increment(calls, call.organizationId);
  return calls;
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/**
 * Shares the free slots between released calls, due contacts and the waiting calls of all organizations. Released calls
 * of an organization come before its due contacts.
 *
 * @returns the claims and contacts that get a slot, and the shares of waiting calls.
 */
export function shareCycle<Claim extends { call: ReleasedCall }>(
  cycle: DispatchCycle,
  { claims, due }: { claims: readonly Claim[]; due: readonly DueContact[] },
): { claims: Claim[]; due: DueContact[]; waiting: SlotShares['waiting'] } {
  const wanted = new Map<string, number>();
  for (const { call } of claims) increment(wanted, call.organizationId);
  for (const { organizationId } of due) increment(wanted, organizationId);
  const { owned, waiting } = shareSlots(cycle, wanted);
  const used = new Map<string, number>();
  const getsSlot = ({ organizationId }: { organizationId: string }): boolean => {
    increment(used, organizationId);
    return used.get(organizationId)! <= (owned.get(organizationId) ?? 0);
  };
  return {
    claims: claims.filter(({ call }) => getsSlot(call)),
    due: due.filter(getsSlot),
    waiting,
  };
}
