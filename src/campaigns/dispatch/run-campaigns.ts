/**
 * Runs campaigns: records outcomes of ended calls, dispatches due contacts and places their calls. Any number of
 * processes may run at once. A run is triggered by the end of a call, by a job (after a mutation), by the timer for the
 * next due contact, and periodically as a fallback.
 */
import type { App } from '../../app.ts';
import { hasReleasedCalls, hasReleasedCallsOf } from '../../calls/placement/owned-calls.ts';
import { placeClaimedCalls } from '../../calls/placement/placement.ts';
import { Prisma } from '../../generated/prisma/client.ts';
import { oneAtATime } from '../../infra/jobs/one-at-a-time.ts';
import type { SharedRuns } from '../../infra/jobs/shared-runs.ts';
import { createWakeTimer, type WakeTimer } from '../../infra/jobs/wake-timer.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { CALL_OWNER } from '../calls.ts';
import { announceCampaigns } from '../events.ts';
import { recordContactStats } from '../outcomes/contact-stats.ts';
import { recordOutcomes, unrecordedCalls } from '../outcomes/record-outcomes.ts';
import { dispatchCalls } from './dispatch-cycle.ts';
import { skipAhead } from './skip-ahead.ts';
import { startCampaignRuns } from './wake.ts';

/** Delay if ended calls remain whose campaigns are locked elsewhere. */
const LOCKED_RETRY_MS = 100;
/** Fallback delay while due contacts wait for the end of a call, which requests a run. */
const RECHECK_MS = 2_000;
/** Longer delays are left to the periodic run. */
const MAX_TIMER_MS = 60_000;

/** Delay before updating contact statistics, so that many calls are counted at once. */
const STATISTICS_DELAY_MS = 3_000;

interface Runner {
  readonly request: () => Promise<void>;
  /** Announces runs to the other processes; null unless this process is a worker. */
  shared: SharedRuns | null;
  readonly timer: WakeTimer;
  readonly statistics: WakeTimer;
}

const runnerOf = perInstance(
  (app: App): Runner => ({
    request: oneAtATime(() => start(app)),
    shared: null,
    timer: createWakeTimer({
      wake: () => app.background('runCampaigns', () => runCampaigns(app)),
      signal: app.closing,
      maxDelayMs: MAX_TIMER_MS,
    }),
    statistics: createWakeTimer({
      wake: () => app.background('recordContactStats', () => recordContactStats(app)),
      signal: app.closing,
    }),
  }),
);

/** Makes this process run campaigns when calls end, until the app closes. Safe in any number of processes. */
export function startCampaignRunner(app: App): void {
  runnerOf(app).shared = startCampaignRuns(app, {
    run: () => runCampaigns(app),
    // The process that runs them now schedules the next wake-up.
    onTakenOver: () => runnerOf(app).timer.cancel(),
  });
}

/** Campaigns that are due within this time are run, which sets the timer for them. */
const SOON_MS = 10_000;

/** SQL condition: whether a campaign run may find anything to do, now or soon. */
export function hasCampaignWork(app: App): Prisma.Sql {
  const soon = new Date(app.now().getTime() + SOON_MS);
  return Prisma.sql`(
    EXISTS (SELECT 1 FROM campaigns WHERE next_dispatch_at <= ${soon}::timestamptz)
    OR ${hasReleasedCallsOf(CALL_OWNER)}
    OR EXISTS (SELECT 1 FROM campaign_attempts a JOIN calls k ON k.id = a.call_id
      WHERE a.outcome_recorded_at IS NULL AND k.ended_at IS NOT NULL))`;
}

/** Runs campaigns until nothing is left to do now. Resolves when a run that started after this call has ended. */
export function runCampaigns(app: App): Promise<void> {
  return runnerOf(app).request();
}

function start(app: App): Promise<void> {
  const { shared, timer } = runnerOf(app);
  shared?.announceStart();
  // The run finds whatever the timer was set for.
  timer.cancel();
  return run(app);
}

async function run(app: App): Promise<void> {
  let wakeAt: number | null = null;
  let work = await findWork(app);
  for (let mayHaveMore = hasWork(work); mayHaveMore && !app.closing.aborted; ) {
    const recorded = await recordOutcomes(app, work.ended);
    announceCampaigns(app, recorded.campaignIds, recorded.organizationIds);
    const dispatched = await dispatchCalls(app, (ids) =>
      app.background('placeCampaignCalls', () => placeAll(app, ids)),
    );
    announceCampaigns(app, dispatched.campaignIds, dispatched.organizationIds);
    await skipAhead(app, dispatched.uncalledCampaignIds);
    if (recorded.calls > 0) runnerOf(app).statistics.wakeAfter(STATISTICS_DELAY_MS);
    mayHaveMore = dispatched.mayHaveMore || (recorded.hasMore && recorded.calls > 0);
    wakeAt = recorded.hasMore
      ? Date.now() + LOCKED_RETRY_MS
      : (dispatched.capacityAt?.getTime() ?? null);
    work = await findWork(app);
  }
  const { due, later } = work;
  // Due contacts are waiting for a slot; the end of a call requests a run.
  if (due) wakeAt ??= Date.now() + RECHECK_MS;
  const delays = [later, wakeAt && wakeAt - Date.now()].filter((delay) => delay !== null);
  if (delays.length > 0) runnerOf(app).timer.wakeAfter(Math.min(...delays));
}

/** Places calls. Calls that Ultravox does not accept now are released, and another run decides about them. */
async function placeAll(app: App, callIds: readonly string[]): Promise<void> {
  if (await placeClaimedCalls(app, callIds)) return;
  if (await hasReleasedCalls(app, CALL_OWNER)) runnerOf(app).timer.wakeAfter(0);
}

interface Work {
  /** Number of ended calls whose outcomes are not recorded. */
  ended: number;
  /** Whether there are released calls for the dispatcher to decide about. */
  released: boolean;
  /** Whether campaigns are due. */
  due: boolean;
  /** Milliseconds until the next campaign is due. */
  later: number | null;
}

function hasWork({ ended, released, due }: Work): boolean {
  return ended > 0 || released || due;
}

async function findWork(app: App): Promise<Work> {
  const now = app.now();
  const [row] = await app.rows.$queryRaw<
    (Omit<Work, 'due' | 'later'> & { due: boolean | null; later: Date | null })[]
  >`
    SELECT bool_or(next_dispatch_at <= ${now}::timestamptz) AS due,
      min(next_dispatch_at) FILTER (WHERE next_dispatch_at > ${now}::timestamptz) AS later,
      ${hasReleasedCallsOf(CALL_OWNER)} AS released,
      ${unrecordedCalls(app)} AS ended
    FROM campaigns WHERE next_dispatch_at IS NOT NULL`;
  return {
    ended: row?.ended ?? 0,
    released: row?.released ?? false,
    due: row?.due ?? false,
    later: row?.later ? row.later.getTime() - now.getTime() : null,
  };
}
