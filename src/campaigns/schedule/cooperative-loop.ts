/** Runs long computations that yield to the event loop. */
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';

/** A computation that can be suspended wherever it yields. */
export type CooperativeLoop<Result> = Generator<void, Result>;

const SLICE_MS = 20;

/** The end of the queue in which all computations of the process wait for their slices. */
let lastSlice: Promise<void> = Promise.resolve();

/** Resolves when the caller may run a slice. Each slice has an iteration of the event loop for itself. */
function nextSlice(): Promise<void> {
  lastSlice = lastSlice.then(() => yieldToEventLoop());
  return lastSlice;
}

/**
 * Runs a computation in slices of 20 ms, with the event loop running in between. Computations that run at the same time
 * take turns.
 */
export async function runCooperatively<Result>(loop: CooperativeLoop<Result>): Promise<Result> {
  for (;;) {
    await nextSlice();
    const began = performance.now();
    do {
      const step = loop.next();
      if (step.done) return step.value;
    } while (performance.now() - began < SLICE_MS);
  }
}
