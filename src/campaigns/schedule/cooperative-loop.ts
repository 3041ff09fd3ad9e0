/** Runs long computations that yield to the event loop. */
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';

/** A computation that can be suspended wherever it yields. */
export type CooperativeLoop<Result> = Generator<void, Result>;

const SLICE_MS = 20;

/** Runs a computation synchronously to completion. */
export function runToCompletion<Result>(loop: CooperativeLoop<Result>): Result {
  for (;;) {
    const step = loop.next();
    if (step.done) return step.value;
  }
}

/** Runs a computation in slices of 20 ms, with the event loop running in between. */
export async function runCooperatively<Result>(loop: CooperativeLoop<Result>): Promise<Result> {
  for (let began = performance.now(); ; ) {
    const step = loop.next();
    if (step.done) return step.value;
    if (performance.now() - began < SLICE_MS) continue;
    await yieldToEventLoop();
    began = performance.now();
  }
}
