/**
 * Decides in one transaction which due contacts to call now: loads, decides without the database, writes. The lock of
 * the limits serializes all processes, and calls are placed after the commit. Waiting calls of `createCall` get the
 * slots that belong to them, since they may have left them to campaigns that cannot use them.
 *
 * A crash leaves behind claims, which are released to the dispatcher, or calls that the reconciler looks up at
 * Ultravox.
 */
import type { App, Tx } from '../../app.ts';
import { claimShares } from '../../calls/placement/claims.ts';
import { type LimitCapacity, lockLimits } from '../../calls/placement/limits.ts';
import { shareSlots, UNUSED } from '../../calls/placement/slot-shares.ts';
import { isDatabaseOutage } from '../../infra/database/database-errors.ts';
import { newId } from '../../infra/ids.ts';
import { FailedItems } from '../../infra/jobs/failed-items.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { appendEventsOf } from '../../live/log.ts';
import { completeFinished } from '../completion.ts';
import { EventList } from '../events.ts';
import {
  acquireSlots,
  type CampaignScope,
  campaignsExcept,
  campaignsToDispatch,
  lockReleasedCalls,
  MAX_CAMPAIGNS,
  onlyCampaign,
} from './campaign-slots.ts';
import { decideCampaignUpdates } from './campaign-updates.ts';
import { decideContacts } from './contact-decisions.ts';
import {
  activeCallsAfter,
  allowancesOf,
  type DispatchCycle,
  eligibleCampaign,
  shareCycle,
} from './cycle-input.ts';
import { loadDueContacts } from './due-contacts.ts';
import { decideReleasedCalls } from './released-calls.ts';
import { type CycleDecisions, writeCycle } from './write-cycle.ts';

export interface DispatchResult {
  /** Claimed calls that the caller has to place. */
  callIds: string[];
  campaignIds: string[];
  organizationIds: string[];
  /** Campaigns with due contacts that could not be called; there may be more behind them: see `skipAhead`. */
  uncalledCampaignIds: string[];
  /** Whether another cycle may find more to do at once. */
  mayHaveMore: boolean;
  /** When the limits may have room again; null unless the limits stopped the cycle. */
  capacityAt: Date | null;
}

/** Much more than the few milliseconds by which synchronized clocks differ. */
const MAX_CLOCK_DIFFERENCE_MS = 5_000;
const CLOCK_RECHECK_MS = 5_000;

/** Campaigns whose cycle fails; held back so that they do not block the others. */
const failedCampaignsOf = perInstance((_app: App) => new FailedItems());

/** Maximum time to dispatch campaigns one by one, during which no others get their turn. */
const MAX_ONE_BY_ONE_MS = 30_000;

/**
 * Runs one dispatch cycle or, if it fails, one cycle per campaign. The caller announces the result.
 *
 * @param place starts placing claimed calls. Called after the commit of each cycle, since claims expire soon.
 */
export async function dispatchCalls(
  app: App,
  place: (callIds: readonly string[]) => void = () => undefined,
): Promise<DispatchResult> {
  const scope = campaignsExcept(failedCampaignsOf(app).ids());
  const cycle: Cycle = async (someCampaigns) => {
    const dispatched = await runCycle(app, someCampaigns);
    if (dispatched.callIds.length > 0) place(dispatched.callIds);
    return dispatched;
  };
  try {
    return await cycle(scope);
  } catch (error) {
    if (isDatabaseOutage(error)) throw error;
    return dispatchOneByOne(app, cycle, await campaignsToDispatch(app, scope), error);
  }
}

type Cycle = (scope: CampaignScope) => Promise<DispatchResult>;

/**
 * Runs one cycle per campaign. A campaign that fails is held back, unless all fail: then none of them is the cause. If
 * the time ran out, not all were tried, so those that failed are held back and the others get their turn. If the
 * database becomes unavailable, returns what has been done so far.
 */
async function dispatchOneByOne(
  app: App,
  cycle: Cycle,
  campaigns: readonly string[],
  cause: unknown,
): Promise<DispatchResult> {
  const until = performance.now() + MAX_ONE_BY_ONE_MS;
  const done: DispatchResult[] = [];
  const failed: { id: string; error: unknown }[] = [];
  let isTimeUp = false;
  for (const id of campaigns) {
    isTimeUp = performance.now() > until;
    if (isTimeUp) break;
    try {
      done.push(await cycle(onlyCampaign(id)));
    } catch (error) {
      if (isDatabaseOutage(error)) break;
      failed.push({ id, error });
    }
  }
  if (done.length === 0 && !isTimeUp) throw cause;
  for (const { id, error } of failed) {
    failedCampaignsOf(app).add(id);
    app.failures.record('dispatchCampaign', error, {
      level: 'error',
      message: 'Could not dispatch a campaign; will retry',
      campaignId: id,
    });
  }
  const all = <T>(list: (one: DispatchResult) => T[]): T[] => [...new Set(done.flatMap(list))];
  return {
    callIds: all(({ callIds }) => callIds),
    campaignIds: all(({ campaignIds }) => campaignIds),
    organizationIds: all(({ organizationIds }) => organizationIds),
    uncalledCampaignIds: all(({ uncalledCampaignIds }) => uncalledCampaignIds),
    mayHaveMore: done.some(({ mayHaveMore }) => mayHaveMore),
    capacityAt: done.at(-1)?.capacityAt ?? null,
  };
}

async function runCycle(app: App, scope: CampaignScope): Promise<DispatchResult> {
  return app.db.$transaction(async (tx) => {
    const capacity = await lockLimits(app, tx);
    if (capacity.clockDifferenceMs > MAX_CLOCK_DIFFERENCE_MS) return waitForClock(app, capacity);
    const cycle = await loadCycle(app, tx, scope, capacity);
    if (cycle.campaigns.size === 0) return placeWaiting(app, tx, cycle, capacity);

    const candidates = decideReleasedCalls(cycle);
    const allowances = allowancesOf(cycle, candidates.claims);
    const loaded = await loadDueContacts(tx, allowances, cycle);
    const shares = shareCycle(cycle, { claims: candidates.claims, due: loaded });
    const released = { ...candidates, claims: shares.claims };
    const contacts = decideContacts(cycle, shares.due, newId);
    const campaigns = decideCampaignUpdates(cycle, released, contacts);

    const events = await writeCycle(app, tx, cycle, { released, contacts, campaigns });
    const ids = [...cycle.campaigns.keys()];
    const unfinished = unfinishedCampaigns(cycle, { released, contacts });
    const finished = ids.filter((id) => !unfinished.has(id));
    const ends = new EventList();
    if (finished.length > 0) await completeFinished(tx, finished, cycle.now, ends);
    await appendEventsOf(tx, ends.byOrganization);

    const callIds = [
      ...released.claims.map(({ call }) => call.id),
      ...contacts.attempts.map(({ callId }) => callId),
      ...(await claimShares(app, tx, shares)),
    ];
    const isFull = callIds.length >= cycle.free;
    return {
      callIds,
      campaignIds: ids,
      organizationIds: [...events.byOrganization.keys(), ...ends.byOrganization.keys()],
      uncalledCampaignIds: [...contacts.uncalledCampaignIds],
      mayHaveMore: !isFull && mayHaveMoreDue(cycle, { released, contacts, campaigns }),
      capacityAt: isFull ? capacity.nextCapacityAt(callIds.length) : null,
    };
  });
}

/** Lets waiting calls have the slots that were left to campaigns, since no campaign can use them. */
async function placeWaiting(
  app: App,
  tx: Tx,
  cycle: DispatchCycle,
  capacity: LimitCapacity,
): Promise<DispatchResult> {
  const callIds = await claimShares(app, tx, shareSlots(cycle, new Map()));
  const stopped = callIds.length >= cycle.free || cycle.released.length > 0;
  return {
    ...NOTHING_DISPATCHED,
    callIds,
    capacityAt: stopped ? capacity.nextCapacityAt(callIds.length) : null,
  };
}

/**
 * Calls nobody: with a wrong clock, this process would not know when people may be called. Other processes whose clocks
 * are right go on. If the database clock is the wrong one, that is just as unsafe.
 */
function waitForClock(app: App, { clockDifferenceMs }: LimitCapacity): DispatchResult {
  app.failures.record('clock', new Error('The clock of this process is wrong'), {
    level: 'error',
    message:
      'The clock of this process differs from that of the database; no campaign calls are made',
    clockDifferenceMs,
  });
  return { ...NOTHING_DISPATCHED, capacityAt: new Date(Date.now() + CLOCK_RECHECK_MS) };
}

const NOTHING_DISPATCHED = {
  callIds: [],
  campaignIds: [],
  organizationIds: [],
  uncalledCampaignIds: [],
  mayHaveMore: false,
};

async function loadCycle(
  app: App,
  tx: Tx,
  scope: CampaignScope,
  capacity: LimitCapacity,
): Promise<DispatchCycle> {
  // Read after acquiring the lock, which may have taken a while.
  const now = app.now();
  const { free, limitedBy, organizationMax } = capacity;
  const active = activeCallsAfter(capacity, []);
  const released = capacity.hasReleased ? await lockReleasedCalls(tx, scope, capacity, now) : [];
  const { slots, lastEnds } = await acquireSlots(tx, {
    now,
    released,
    free,
    fullOrganizations: [...active].flatMap(([id, calls]) => (calls >= organizationMax ? id : [])),
    scope,
  });
  const organizations = new Map(capacity.organizations);
  for (const [id, lastEnd] of lastEnds) {
    const usage = organizations.get(id) ?? UNUSED;
    const last = Math.max(usage.lastUsedAt ?? 0, lastEnd?.getTime() ?? 0);
    organizations.set(id, { ...usage, lastUsedAt: last || null });
  }
  return {
    now,
    free,
    limitedBy,
    organizationMax,
    organizations,
    campaigns: new Map(
      slots.map((one) => [
        one.campaign.id,
        eligibleCampaign(one, now, app.config.CALLING_WINDOW_MARGIN_SECONDS),
      ]),
    ),
    released,
  };
}

/** Number of decisions not to call: the contacts behind them can be next. */
function countUncalled({
  released,
  contacts,
}: Pick<CycleDecisions, 'released' | 'contacts'>): number {
  return released.withdrawals.length + contacts.uncalled.count;
}

/** Campaigns that still have waiting or calling contacts after the cycle. The others may be finished. */
function unfinishedCampaigns(
  cycle: DispatchCycle,
  { released, contacts }: Pick<CycleDecisions, 'released' | 'contacts'>,
): Set<string> {
  if (countUncalled({ released, contacts }) > 0) return new Set();
  return new Set(
    [...cycle.campaigns.values()].flatMap(({ campaign: { id, pendingCount, callingCount } }) =>
      pendingCount + callingCount > 0 ? id : [],
    ),
  );
}

/**
 * Whether more may be due behind the contacts and campaigns of this cycle, which had room for all calls it made.
 * Campaigns whose organization is at its limit stay due, and the end of a call triggers the next run.
 */
function mayHaveMoreDue(cycle: DispatchCycle, { released, contacts }: CycleDecisions): boolean {
  if (countUncalled({ released, contacts }) > 0) return true;
  const active = activeCallsAfter(cycle, released.claims);
  const due = [...cycle.campaigns.values()].filter(
    ({ campaign: { nextDispatchAt, organizationId } }) =>
      nextDispatchAt !== null &&
      nextDispatchAt <= cycle.now &&
      (active.get(organizationId) ?? 0) < cycle.organizationMax,
  );
  return due.length >= MAX_CAMPAIGNS;
}
