/** Waits for a condition. */
import { setTimeout as pause } from 'node:timers/promises';

/**
 * Measures until a duration is below the limit, at most eight times. A busy machine delays some, a
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

/** What a probe returns while it has nothing: also a count of nothing, and the cursor of an event without one. */
const NOTHING: readonly unknown[] = [null, undefined, false, 0, 0n];

/** Asking takes CPU from what is waited for: after a second rarely enough to matter little. */
const MIN_PAUSE_MS = 25;
const MAX_PAUSE_MS = 100;
const PAUSE_SHARE = 0.05;

/**
 * Calls `probe` until it returns a value other than null, undefined, false and 0: 25 ms apart at first, up to
 * 100 ms later.
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
