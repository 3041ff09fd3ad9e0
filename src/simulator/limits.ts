/** Limits of the account on new calls. */
import { HttpError, refuse } from './json.ts';
import type { World } from './world.ts';

const CONCURRENCY_WAIT_SECONDS = 5;

/** Rejects a call for lack of credit or capacity. Otherwise counts it. */
export function takeCallSlot(world: World): void {
  const settings = world.settings();
  if (settings.outOfCredit) {
    throw refuse(402, 'The account has no call time left. Please start a subscription.');
  }
  const now = world.now();
  while ((world.creations[0] ?? now) <= now - 60_000) world.creations.shift();
  const lastSecond = world.creations.filter((instant) => instant > now - 1000);
  if (settings.creationsPerSecond !== null && lastSecond.length >= settings.creationsPerSecond) {
    throw throttledError(Math.ceil(((lastSecond[0] ?? now) + 1000 - now) / 1000));
  }
  if (
    settings.creationsPerMinute !== null &&
    world.creations.length >= settings.creationsPerMinute
  ) {
    throw throttledError(Math.ceil(((world.creations[0] ?? now) + 60_000 - now) / 1000));
  }
  if (settings.maxConcurrentCalls !== null && world.liveCalls.size >= settings.maxConcurrentCalls) {
    throw throttledError(CONCURRENCY_WAIT_SECONDS);
  }
  if (settings.creationsPerSecond !== null || settings.creationsPerMinute !== null) {
    world.creations.push(now);
  }
}

function throttledError(waitSeconds: number): HttpError {
  const wait = Math.max(1, waitSeconds);
  return new HttpError(
    429,
    { detail: `Request was throttled. Expected available in ${wait} seconds.` },
    { 'retry-after': String(wait) },
  );
}
