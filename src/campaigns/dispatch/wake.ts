/** Requests runs of campaigns when calls end. One process runs all of them. */
import type { App } from '../../app.ts';
import { requestRun, type SharedRuns, startSharedRuns } from '../../infra/jobs/shared-runs.ts';

const TOPIC = 'runCampaigns';
/** Requests a run. A request may be lost; the periodic run is the fallback. Call it after the commit. */
export function requestCampaignRun({ bus }: App): void {
  requestRun(bus, TOPIC);
}

/** Makes this process a worker that calls `run` on requests, until the app closes. */
export function startCampaignRuns(
  app: App,
  { run, onTakenOver }: { run: () => Promise<void>; onTakenOver: () => void },
): SharedRuns {
  // Calls that end within this interval are handled together by the next run. Their slots stay free that much longer,
  // which is short compared to a call.
  const intervalMs = app.config.RUN_INTERVAL_SECONDS * 1000;
  return startSharedRuns(app, { topic: TOPIC, intervalMs, run, onTakenOver });
}
