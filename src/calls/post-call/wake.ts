/** Wakes the worker that runs post-call steps: one process for all, as long as it has capacity. */
import type { App } from '../../app.ts';
import type { PostCallStepKind } from '../../generated/prisma/enums.ts';
import { requestRun, type SharedRuns, startSharedRuns } from '../../infra/jobs/shared-runs.ts';
import { perInstance } from '../../infra/per-instance.ts';

/** Steps that wait for a language model have their own lane, so that they do not delay others. */
export const LANES = ['FAST', 'SLOW'] as const;
export type Lane = (typeof LANES)[number];

function laneOf(kind: PostCallStepKind): Lane {
  return kind === 'ANALYSIS' ? 'SLOW' : 'FAST';
}

/** Longer delays are left to the periodic run. */
const MAX_DELAY_MS = 60_000;

function topicOf(lane: Lane): string {
  return `postCallSteps:${lane}`;
}

/** Runs of the lanes in this process; null unless it is a worker. */
const worker = perInstance<App, { runs: Record<Lane, SharedRuns> | null }>(() => ({ runs: null }));

/** Calls `runLane` when steps of a lane may be due and no other process takes them, until the app closes. */
export function onWake(app: App, runLane: (lane: Lane) => Promise<void>): void {
  const start = (lane: Lane): SharedRuns =>
    startSharedRuns(app, {
      topic: topicOf(lane),
      run: () => runLane(lane),
      // Steps that become due within this interval are claimed, and mostly finished, together.
      intervalMs: app.config.RUN_INTERVAL_SECONDS * 1000,
      maxDelayMs: MAX_DELAY_MS,
    });
  worker(app).runs = { FAST: start('FAST'), SLOW: start('SLOW') };
}

/** The runs of a lane in this process; undefined unless it is a worker. */
export function sharedRunsOf(app: App, lane: Lane): SharedRuns | undefined {
  return worker(app).runs?.[lane];
}

/** Wakes a worker for due steps of these kinds. Without it, they are found later. Call it after the commit. */
export function wakeWorkers(app: App, kinds: readonly PostCallStepKind[], delayMs = 0): void {
  for (const lane of new Set(kinds.map(laneOf))) requestRun(app.bus, topicOf(lane), delayMs);
}
