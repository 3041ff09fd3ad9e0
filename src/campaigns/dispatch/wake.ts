/** Requests runs of campaigns when calls end. One process does them for all. */
import type { App } from '../../app.ts';
import { requestRun, type SharedRuns, startSharedRuns } from '../../infra/jobs/shared-runs.ts';

const TOPIC = 'runCampaigns';
/** Requests a run. A request may be lost; the periodic run is the fallback. Call it after the commit. */
export function requestCampaignRun({ bus }: App): void {
  requestRun(bus, TOPIC);
}

/** Makes this process a worker, which calls `run` for requests until the app closes. */
export function startCampaignRuns(
  app: App,
  { run, leave }: { run: () => Promise<void>; leave: () => void },
): SharedRuns {
  // Calls that end meanwhile are left to the next run, together. A slot is free that much longer, which is little
  // beside the length of a call.
  const intervalMs = app.config.RUN_INTERVAL_SECONDS * 1000;
  return startSharedRuns(app, { topic: TOPIC, intervalMs, run, leave });
}
