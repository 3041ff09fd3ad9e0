/** Long computations that let others have their turn. */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** A computation that can be left for a while wherever it yields. */
export type Steps<Result> = Generator<void, Result>;

const TURN_MS = 20;

/** From beginning to end in one go. */
export function inOneGo<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** A little at a time, so that whatever else the process does goes on meanwhile. */
export async function inTurns<Result>(steps: Steps<Result>): Promise<Result> {
  for (let began = performance.now(); ; ) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() - began < TURN_MS) continue;
    await nextTurn();
    began = performance.now();
  }
}
