/** Stops the wait of an operation for others. */
import type { App } from '../../app.ts';
import { RequestError } from '../../errors.ts';

/** @throws RequestError UNAVAILABLE if the process stops, or if nobody waits for the result anymore */
export function checkAwaited(app: App, isDisconnected: (() => boolean) | undefined): void {
  if (!app.closing.aborted && !isDisconnected?.()) return;
  // Sent to nobody if the client has gone.
  throw new RequestError('UNAVAILABLE', 'The server is stopping. Try again.', {
    retryAfterSeconds: 1,
  });
}
