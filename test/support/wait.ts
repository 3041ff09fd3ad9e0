/** Waits for conditions, without fixed pauses. */
import { setTimeout as pause } from 'node:timers/promises';

/**
 * Measures until a duration is below the limit, at most eight times. A busy machine delays some runs, a
 * defect delays all.
 *
 * @returns the shortest duration.
 */
export async function quickest(limitMs: number, measure: () => Promise<number>): Promise<number> {
  let shortest = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 8 && shortest >= limitMs; attempt += 1) {
    shortest = Math.min(shortest, await measure());
  }
  return shortest;
}

/** Results that mean "not yet", including a count of 0, and the cursor of an event that has none yet. */
const NOTHING: readonly unknown[] = [null, undefined, false, 0, 0n];

/** A probe takes CPU time from the work that it waits for; after a second, probes are rare enough to matter little. */
const MIN_PAUSE_MS = 25;
const MAX_PAUSE_MS = 100;
const PAUSE_SHARE = 0.05;

/**
 * Calls `probe` until it returns a value other than null, undefined, false and 0. Pauses are 25 ms at first, later
 * up to 100 ms.
 *
 * @throws the last error of the probe, or one that names `what`, after `timeoutMs`.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T> | T,
  timeoutMs = 60_000,
): Promise<NonNullable<Exclude<T, false>>> {
  const start = Date.now();
  let failure: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (!NOTHING.includes(value)) return value as NonNullable<Exclude<T, false>>;
      failure = new Error(`Still waiting for ${what} after ${timeoutMs} ms`);
    } catch (error) {
      failure = error;
    }
    const waited = Date.now() - start;
    if (waited > timeoutMs) throw failure;
    await pause(Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, waited * PAUSE_SHARE)));
  }
}
