/** Waits for a condition; the only way in which tests wait. */
import { setTimeout as pause } from 'node:timers/promises';

/**
 * Asks again and again until `probe` gives something that is not null, undefined or false.
 *
 * @throws the last error of the probe, or one that names `what`, after `timeoutMs`.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T> | T,
  timeoutMs = 20_000,
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
