/**
 * Decides in one transaction which due contacts to call now: loads, decides without the database, writes. The lock of
 * the limits serializes all processes, and calls are placed after the commit.
 *
 * A crash leaves behind claims, which are released to the dispatcher, or calls that the reconciler looks up at
 * Ultravox.
 */
import type { App, Tx } from '../../app.ts';
import { type LimitCapacity, lockLimits } from '../../calls/placement/limits.ts';
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
} from './cycle-input.ts';
import { loadDueContacts } from './due-contacts.ts';
import { decideReleasedCalls } from './released-calls.ts';
import { type CycleDecisions, writeCycle } from './write-cycle.ts';

export interface Dispatched {
  /** Claimed calls that the caller has to place. */
  callIds: string[];
  campaignIds: string[];
  organizationIds: string[];
  /** Campaigns with due contacts that could not be called; there may be more behind them: see `skipAhead`. */
  notCalledIn: string[];
  /** Whether another cycle may find more to do at once. */
  again: boolean;
  /** When the limits may have room again; null unless the limits stopped the cycle. */
  roomAt: Date | null;
}

/** Much more than the few milliseconds by which synchronized clocks differ. */
const MAX_CLOCK_DIFFERENCE_MS = 5_000;
const CLOCK_AGAIN_MS = 5_000;

/** Campaigns whose cycle fails; held back so that they do not block the others. */
const heldBackOf = perInstance((_app: App) => new FailedItems());

/** Maximum time to dispatch campaigns one by one, during which no others get their turn. */
const ONE_BY_ONE_MS = 30_000;

/**
 * Runs one dispatch cycle or, if it fails, one cycle per campaign. The caller announces the result.
 *
 * @param place starts placing claimed calls. Called after the commit of each cycle, since claims expire soon.
 */
export async function dispatchCalls(
  app: App,
  place: (callIds: readonly string[]) => void = () => undefined,
): Promise<Dispatched> {
  const scope = campaignsExcept(heldBackOf(app).ids());
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

type Cycle = (scope: CampaignScope) => Promise<Dispatched>;

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
): Promise<Dispatched> {
  const until = performance.now() + ONE_BY_ONE_MS;
  const done: Dispatched[] = [];
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
    heldBackOf(app).add(id);
    app.failures.record('dispatchCampaign', error, {
      level: 'error',
      message: 'A campaign could not be dispatched and is tried again',
      campaignId: id,
    });
  }
  const all = <T>(list: (one: Dispatched) => T[]): T[] => [...new Set(done.flatMap(list))];
  return {
    callIds: all(({ callIds }) => callIds),
    campaignIds: all(({ campaignIds }) => campaignIds),
    organizationIds: all(({ organizationIds }) => organizationIds),
    notCalledIn: all(({ notCalledIn }) => notCalledIn),
    again: done.some(({ again }) => again),
    roomAt: done.at(-1)?.roomAt ?? null,
  };
}

async function runCycle(app: App, scope: CampaignScope): Promise<Dispatched> {
  return app.db.$transaction(async (tx) => {
    const room = await lockLimits(app, tx);
    if (room.clockDifferenceMs > MAX_CLOCK_DIFFERENCE_MS) return waitForClock(app, room);
    // Calls created with `createCall` take precedence.
    const cycle = await loadCycle(app, tx, scope, room);
    if (cycle.campaigns.size === 0) {
      const stopped = cycle.free === 0 || cycle.released.length > 0;
      return { ...NOTHING, roomAt: stopped ? room.nextCapacityAt(0) : null };
    }

    const released = decideReleasedCalls(cycle);
    const free = cycle.free - released.claims.length;
    const allowances = allowancesOf(cycle, released.claims);
    const due = await loadDueContacts(tx, allowances, free, cycle.now);
    const contacts = decideContacts(cycle, due, newId);
    const campaigns = decideCampaignUpdates(cycle, contacts);

    const events = await writeCycle(app, tx, cycle, { released, contacts, campaigns });
    const ids = [...cycle.campaigns.keys()];
    const left = contactsLeft(cycle, { released, contacts });
    const finished = ids.filter((id) => !left.has(id));
    const ends = new EventList();
    if (finished.length > 0) await completeFinished(tx, finished, cycle.now, ends);
    await appendEventsOf(tx, ends.byOrganization);

    const claimed = released.claims.length + contacts.attempts.length;
    return {
      callIds: [
        ...released.claims.map(({ call }) => call.id),
        ...contacts.attempts.map(({ callId }) => callId),
      ],
      campaignIds: ids,
      organizationIds: [...events.byOrganization.keys(), ...ends.byOrganization.keys()],
      notCalledIn: [...contacts.notCalledIn],
      again: claimed < cycle.free && mayHaveMoreDue(cycle, { released, contacts, campaigns }),
      roomAt: claimed >= cycle.free ? room.nextCapacityAt(claimed) : null,
    };
  });
}

/**
 * Calls nobody: with a wrong clock, this process would not know when people may be called. Other processes whose clocks
 * are right go on. If the database clock is the wrong one, that is just as unsafe.
 */
function waitForClock(app: App, { clockDifferenceMs }: LimitCapacity): Dispatched {
  app.failures.record('clock', new Error('The clock of this process is wrong'), {
    level: 'error',
    message:
      'The clock of this process differs from that of the database; no campaign calls are made',
    clockDifferenceMs,
  });
  return { ...NOTHING, roomAt: new Date(Date.now() + CLOCK_AGAIN_MS) };
}

const NOTHING = {
  callIds: [],
  campaignIds: [],
  organizationIds: [],
  notCalledIn: [],
  again: false,
};

async function loadCycle(
  app: App,
  tx: Tx,
  scope: CampaignScope,
  room: LimitCapacity,
): Promise<DispatchCycle> {
  // Read after acquiring the lock, which may have taken a while.
  const now = app.now();
  const free = Math.max(0, room.free - room.ahead);
  const released = room.hasReleased ? await lockReleasedCalls(tx, scope) : [];
  const { slots, activeCalls } = await acquireSlots(app, tx, { now, released, free, scope });
  return {
    now,
    free,
    organizationMax: app.config.ORGANIZATION_MAX_CONCURRENT_CALLS,
    campaigns: new Map(
      slots.map((one) => [
        one.campaign.id,
        eligibleCampaign(one, now, app.config.CALLING_WINDOW_MARGIN_SECONDS),
      ]),
    ),
    released,
    activeCalls,
  };
}

/** Number of decisions not to call: the contacts behind them can be next. */
function notCalled({ released, contacts }: Pick<CycleDecisions, 'released' | 'contacts'>): number {
  return released.withdrawals.length + contacts.notCalled.count;
}

/** Campaigns that still have waiting or calling contacts after the cycle. The others may be finished. */
function contactsLeft(
  cycle: DispatchCycle,
  { released, contacts }: Pick<CycleDecisions, 'released' | 'contacts'>,
): Set<string> {
  if (notCalled({ released, contacts }) > 0) return new Set();
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
  if (notCalled({ released, contacts }) > 0) return true;
  const active = activeCallsAfter(cycle, released.claims);
  const due = [...cycle.campaigns.values()].filter(
    ({ campaign: { nextDispatchAt, organizationId } }) =>
      nextDispatchAt !== null &&
      nextDispatchAt <= cycle.now &&
      (active.get(organizationId) ?? 0) < cycle.organizationMax,
  );
  return due.length >= MAX_CAMPAIGNS;
}
