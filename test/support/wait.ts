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

/**
 * Calls `probe` until it returns a value other than null, undefined and false.
 *
 * @throws the last error of the probe, or one that names `what`, after `timeoutMs`.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T> | T,
  timeoutMs = 60_000,
): Promise<NonNullable<Exclude<T, false>>> {
  const end = Date.now() + timeoutMs;
  let failure: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== null && value !== undefined && value !== false) {
        return value as NonNullable<Exclude<T, false>>;
      }
      failure = new Error(`Still waiting for ${what} after ${timeoutMs} ms`);
    } catch (error) {
      failure = error;
    }
    if (Date.now() > end) throw failure;
    await pause(25);
  }
}
