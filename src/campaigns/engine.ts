/**
 * Keeps campaigns going: settles calls that have ended, decides who is called next, and has them
 * called. Any number of processes do this at once. It runs when a job says that something has
 * changed (the end of a call, a mutation), when the next contact is due, and now and then as a net
 * below both.
 */
import type { App, Tx } from '../app.ts';
import { runCampaignsJob } from '../calls/jobs.ts';
import { placeClaimedCalls } from '../calls/placement.ts';
import { dispatchCalls } from './dispatch.ts';
import { announceCampaigns, letGo } from './progress.ts';
import { settleEndedCalls } from './settle.ts';
import { tellContacts } from './tell.ts';

/** When somebody else has a campaign locked that we have calls to settle for. */
const LOCKED_AGAIN_MS = 100;
/** When what is due waits for the end of a call, which wakes us; this is the net below it. */
const LOOK_AGAIN_MS = 2_000;
/** Longer than this is left to the periodic run. */
const LONGEST_TIMER_MS = 60_000;

interface Runner {
  /** The run that has begun. */
  running: Promise<void> | null;
  /** The run that begins after it, for everybody who asks meanwhile. */
  next: Promise<void> | null;
  timer: NodeJS.Timeout | undefined;
  timerAt: number;
}

const runners = new WeakMap<App, Runner>();

/**
 * Does all that can be done now.
 *
 * @returns a promise of the end of a run that began after the call.
 */
export function runCampaigns(app: App): Promise<void> {
  const runner = runnerOf(app);
  if (!runner.running) return start(app, runner);
  runner.next ??= runner.running
    .catch(() => undefined)
    .then(() => {
      runner.next = null;
      return start(app, runner);
    });
  return runner.next;
}

/** Has the workers look at campaigns once the transaction is committed. */
export async function enqueueRun(app: App, tx: Tx): Promise<void> {
  await app.jobs.enqueue(tx, runCampaignsJob, {});
}

function runnerOf(app: App): Runner {
  let runner = runners.get(app);
  if (!runner) {
    const made: Runner = {
      running: null,
      next: null,
      timer: undefined,
      timerAt: Number.POSITIVE_INFINITY,
    };
    runners.set(app, made);
    app.closing.addEventListener('abort', () => clearTimeout(made.timer), { once: true });
    runner = made;
  }
  return runner;
}

function start(app: App, runner: Runner): Promise<void> {
  runner.running = run(app).finally(() => {
    runner.running = null;
  });
  return runner.running;
}

async function run(app: App): Promise<void> {
  let wakeAt: number | null = null;
  for (let again = true; again && !app.closing.aborted; ) {
    const settled = await settleEndedCalls(app);
    announceCampaigns(app, settled.campaignIds, settled.organizationIds);
    const dispatched = await dispatchCalls(app);
    announceCampaigns(app, dispatched.campaignIds, dispatched.organizationIds);
    if (dispatched.callIds.length > 0) {
      // Those that Ultravox does not take now wait for the next look.
      void placeClaimedCalls(app, dispatched.callIds).then(() => wakeAfter(app, 0));
    }
    if (settled.calls > 0) app.background('tellContacts', () => tellContacts(app));
    again = dispatched.again || (settled.more && settled.calls > 0);
    wakeAt = settled.more ? Date.now() + LOCKED_AGAIN_MS : (dispatched.roomAt?.getTime() ?? null);
  }
  await letGo(app);
  const { due, later } = await whatIsNext(app);
  // What is due already waits for room, or for an end of which a job will tell.
  if (due) wakeAt ??= Date.now() + LOOK_AGAIN_MS;
  const delays = [later, wakeAt && wakeAt - Date.now()].filter((delay) => delay !== null);
  if (delays.length > 0) wakeAfter(app, Math.min(...delays));
}

/** Whether campaigns are left that are due, and in how many milliseconds the next one is. */
async function whatIsNext(app: App): Promise<{ due: boolean; later: number | null }> {
  const now = app.now();
  const [row] = await app.db.$queryRaw<{ due: boolean | null; later: Date | null }[]>`
    SELECT bool_or(next_dispatch_at <= ${now}::timestamptz) AS due,
      min(next_dispatch_at) FILTER (WHERE next_dispatch_at > ${now}::timestamptz) AS later
    FROM campaigns WHERE next_dispatch_at IS NOT NULL`;
  return { due: row?.due ?? false, later: row?.later ? row.later.getTime() - now.getTime() : null };
}

/** One timer for each process, for the earliest instant asked for. */
function wakeAfter(app: App, delayMs: number): void {
  if (app.closing.aborted || delayMs > LONGEST_TIMER_MS) return;
  const runner = runnerOf(app);
  const at = Date.now() + Math.max(0, delayMs);
  if (runner.timerAt <= at) return;
  clearTimeout(runner.timer);
  runner.timerAt = at;
  runner.timer = setTimeout(
    () => {
      runner.timerAt = Number.POSITIVE_INFINITY;
      if (!app.closing.aborted) app.background('runCampaigns', () => runCampaigns(app));
    },
    Math.max(0, at - Date.now()),
  );
  runner.timer.unref();
}
