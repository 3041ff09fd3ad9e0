/**
 * Has campaigns run soon after calls end, by one process for all: each worker waits for a moment of its own,
 * and the first one spares the others the work.
 */
import type { App } from '../../app.ts';
import { newId } from '../../infra/ids.ts';

/** Bus topic of requests (`null`) and of the ids of workers that begin a run. */
const TOPIC = 'campaignRuns';
/** Calls that end within this time after the beginning of a run are left to the next one, together. */
const PAUSE_MS = 300;
/** Additional delay of workers other than the last one that ran. */
const SPREAD_MS = { min: 50, max: 150 };

/** Requests a run. A request may be lost; the periodic run is the fallback. Call it after the commit. */
export function requestCampaignRun({ bus }: App): void {
  bus.publish(TOPIC, null);
}

/**
 * Makes this process a worker, which calls `run` for requests until the app closes. Another worker hears of
 * every request too, so one that begins a run takes over those that have not been worked on.
 */
export function startCampaignRuns(app: App, run: () => Promise<void>): void {
  const { bus, closing } = app;
  const id = newId();
  let ranLast = bus.kind === 'in-process';
  let pausedUntil = 0;
  let timer: NodeJS.Timeout | undefined;

  const plan = (): void => {
    if (timer || closing.aborted) return;
    const spread = SPREAD_MS.min + Math.random() * (SPREAD_MS.max - SPREAD_MS.min);
    const pause = Math.max(0, pausedUntil - performance.now());
    timer = setTimeout(begin, pause + (ranLast ? 0 : spread));
  };
  const begin = (): void => {
    timer = undefined;
    ranLast = true;
    pausedUntil = performance.now() + PAUSE_MS;
    bus.publish(TOPIC, id);
    app.background('runCampaigns', run);
  };
  const stopListening = bus.subscribe(TOPIC, (message) => {
    if (message === null) return plan();
    if (message === id) return;
    ranLast = false;
    pausedUntil = performance.now() + PAUSE_MS;
    clearTimeout(timer);
    timer = undefined;
  });
  closing.addEventListener('abort', () => {
    stopListening();
    clearTimeout(timer);
  });
}
