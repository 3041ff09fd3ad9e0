/**
 * Has campaigns run soon after calls end, by one process for all: each worker waits for a moment of its own,
 * and the first one that begins spares the others the work.
 */
import type { App } from '../../app.ts';
import { newId } from '../../infra/ids.ts';
import { perInstance } from '../../infra/per-instance.ts';

/** Bus topic of requests (`null`) and of the ids of processes that begin a run. */
const TOPIC = 'campaignRuns';
/** Calls that end within this time after the beginning of a run are left to the next one, together. */
const PAUSE_MS = 300;
/** Additional delay of workers other than the last one that ran. */
const SPREAD_MS = { min: 100, max: 400 };

const processId = perInstance((_app: App) => newId());

/** Requests a run. A request may be lost; the periodic run is the fallback. Call it after the commit. */
export function requestCampaignRun({ bus }: App): void {
  bus.publish(TOPIC, null);
}

/** To be called when a run begins, before it reads anything. */
export function announceCampaignRun(app: App): void {
  app.bus.publish(TOPIC, processId(app));
}

/**
 * Makes this process a worker, which calls `run` for requests until the app closes, and `leave` when another
 * process begins a run. That one hears of every request too, so it takes over what is left to do.
 */
export function startCampaignRuns(
  app: App,
  { run, leave }: { run: () => Promise<void>; leave: () => void },
): void {
  const { bus, closing } = app;
  let ranLast = bus.kind === 'in-process';
  let pausedUntil = 0;
  let timer: NodeJS.Timeout | undefined;

  const plan = (): void => {
    if (timer || closing.aborted) return;
    const spread = SPREAD_MS.min + Math.random() * (SPREAD_MS.max - SPREAD_MS.min);
    const pause = Math.max(0, pausedUntil - performance.now());
    timer = setTimeout(() => app.background('runCampaigns', run), pause + (ranLast ? 0 : spread));
  };
  const stopListening = bus.subscribe(TOPIC, (message) => {
    if (message === null) return plan();
    ranLast = message === processId(app);
    pausedUntil = performance.now() + PAUSE_MS;
    clearTimeout(timer);
    timer = undefined;
    if (!ranLast) leave();
  });
  closing.addEventListener('abort', () => {
    stopListening();
    clearTimeout(timer);
  });
}
