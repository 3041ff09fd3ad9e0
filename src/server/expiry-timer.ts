/** Ends what a credential opened when the credential expires. */
import type { App } from '../app.ts';
import { MAX_TIMEOUT_MS } from '../infra/jobs/wake-timer.ts';
import type { Viewer } from '../viewer.ts';

/**
 * Calls `expire` when the credential expires, unless that is too far in the future for a timer. The timer does not keep
 * the process alive.
 */
export function startExpiryTimer(
  { now }: Pick<App, 'now'>,
  { expiresAt }: Pick<Viewer, 'expiresAt'>,
  expire: () => void,
): NodeJS.Timeout | undefined {
  if (!expiresAt) return undefined;
  const lifetime = expiresAt.getTime() - now().getTime();
  if (lifetime > MAX_TIMEOUT_MS) return undefined;
  return setTimeout(expire, Math.max(0, lifetime)).unref();
}
