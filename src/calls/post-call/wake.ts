/** Wakes the workers that run the steps after a call. */
import type { App } from '../../app.ts';
import type { PostCallStepKind } from '../../generated/prisma/enums.ts';
import { perInstance } from '../../infra/per-instance.ts';
import { createWakeTimer, type WakeTimer } from '../../infra/wake-timer.ts';

/** Steps that wait for a language model have a lane of their own, so that they hold up no others. */
export const LANES = ['FAST', 'SLOW'] as const;
export type Lane = (typeof LANES)[number];

function laneOf(kind: PostCallStepKind): Lane {
  return kind === 'ANALYSIS' ? 'SLOW' : 'FAST';
}

/** Longer delays are left to the periodic look. */
const MAX_TIMER_MS = 60_000;

/** Bus topic for processes that run no steps themselves. */
const TOPIC = 'postCallSteps';

/** Timers of the lanes of this process; null unless it is a worker. */
const worker = perInstance<App, { timers: Record<Lane, WakeTimer> | null }>(() => ({
  timers: null,
}));

/** Calls `runLane` whenever steps of a lane may be due, until the app closes. */
export function onWake(app: App, runLane: (lane: Lane) => Promise<void>): void {
  const timerOf = (lane: Lane): WakeTimer =>
    createWakeTimer({
      wake: () => app.background('runPostCallSteps', () => runLane(lane)),
      signal: app.closing,
      maxDelayMs: MAX_TIMER_MS,
    });
  const timers = { FAST: timerOf('FAST'), SLOW: timerOf('SLOW') };
  worker(app).timers = timers;
  const stopListening = app.bus.subscribe(TOPIC, (message) => {
    const { kind, delayMs } = message as { kind: PostCallStepKind; delayMs: number };
    timers[laneOf(kind)].wakeAfter(delayMs);
  });
  app.closing.addEventListener('abort', stopListening);
}

/**
 * Makes this process, if it is a worker, or else every worker look for due steps of these kinds. Steps are
 * also found without it, later.
 */
export function wakeWorkers(app: App, kinds: readonly PostCallStepKind[], delayMs = 0): void {
  const { timers } = worker(app);
  for (const kind of kinds) {
    if (timers) timers[laneOf(kind)].wakeAfter(delayMs);
    else app.bus.publish(TOPIC, { kind, delayMs });
  }
}
