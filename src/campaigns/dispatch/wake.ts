/** Has campaigns run when calls end, by one process for all. */
import type { App } from '../../app.ts';
import { requestRun, type SharedRuns, startSharedRuns } from '../../infra/shared-runs.ts';

const TOPIC = 'runCampaigns';
/**
 * Calls that end within this time after the beginning of a run are left to the next one, together. A slot is
 * free that much longer, which is little beside the length of a call.
 */
const INTERVAL_MS = 1_000;

/** Requests a run. A request may be lost; the periodic run is the fallback. Call it after the commit. */
export function requestCampaignRun({ bus }: App): void {
  requestRun(bus, TOPIC);
}

/** Makes this process a worker, which calls `run` for requests until the app closes. */
export function startCampaignRuns(
  app: App,
  { run, leave }: { run: () => Promise<void>; leave: () => void },
): SharedRuns {
  return startSharedRuns(app, { topic: TOPIC, intervalMs: INTERVAL_MS, run, leave });
}
