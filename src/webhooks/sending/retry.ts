/** Decides when a delivery is tried again. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** Seconds before each retry; three days in total. */
const RETRY_DELAYS = [
  5,
  30,
  2 * MINUTE,
  10 * MINUTE,
  30 * MINUTE,
  HOUR,
  2 * HOUR,
  4 * HOUR,
  8 * HOUR,
  12 * HOUR,
  18 * HOUR,
  26 * HOUR,
] as const;

/** Maximum share by which each delay is extended or shortened, so that retries do not come all at once. */
const JITTER = 0.1;
/** Limit for the pause that a receiver can request. */
const MAX_RETRY_AFTER_SECONDS = 24 * HOUR;

/**
 * Returns the time of the next attempt; null if there is none.
 *
 * @param tries number of attempts so far.
 * @param notBefore earliest time that the receiver allows.
 */
export function nextAttemptAt(
  tries: number,
  {
    now,
    notBefore,
    random = Math.random,
  }: { now: Date; notBefore: Date | null; random?: () => number },
): Date | null {
  const delay = RETRY_DELAYS[tries - 1];
  if (delay === undefined) return null;
  const spread = 1 + JITTER * (2 * random() - 1);
  const at = now.getTime() + delay * spread * 1000;
  return new Date(Math.max(at, notBefore?.getTime() ?? 0));
}

/** Parses a `Retry-After` header, in seconds or as a date, to a time; null if it contains no future time. */
export function retryAfter(header: string | null, now: Date): Date | null {
  const text = header?.trim() ?? '';
  const at = /^\d{1,9}$/.test(text) ? now.getTime() + Number(text) * 1000 : Date.parse(text);
  if (Number.isNaN(at) || at <= now.getTime()) return null;
  return new Date(Math.min(at, now.getTime() + MAX_RETRY_AFTER_SECONDS * 1000));
}
