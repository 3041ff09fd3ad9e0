/** How often, and how much at once: counted in this process, in fixed windows of a minute. */
import type { App } from '../app.ts';
import { RequestError } from '../errors.ts';
import type { Viewer } from '../organizations/viewer.ts';

const UNAUTHENTICATED_PER_MINUTE = 120;
export const MAX_SUBSCRIPTIONS_PER_SOCKET = 100;
const MAX_SUBSCRIPTIONS_PER_ORGANIZATION = 1_000;

export interface Rates {
  /** @throws RequestError RATE_LIMITED beyond RATE_LIMIT_PER_MINUTE. */
  countOperations(viewer: Viewer, count: number): void;
  /** For a request without a good credential. @throws RequestError RATE_LIMITED */
  countUnauthenticated(address: string | null): void;
  /** @returns what to call when it has ended. @throws RequestError RATE_LIMITED */
  openSubscription(viewer: Viewer): () => void;
}

export function createRates(app: App): Rates {
  const limit = app.config.RATE_LIMIT_PER_MINUTE;
  const subscriptions = new Map<string, number>();
  let window = 0;
  let counts = new Map<string, number>();

  function count(key: string, by: number, max: number): void {
    const minute = Math.floor(Date.now() / 60_000);
    if (minute !== window) {
      window = minute;
      counts = new Map();
    }
    const total = (counts.get(key) ?? 0) + by;
    counts.set(key, total);
    if (total <= max) return;
    const resetAt = new Date((minute + 1) * 60_000);
    throw new RequestError(
      'RATE_LIMITED',
      `More than ${max} operations in a minute. Go on at ${resetAt.toISOString()}.`,
      {
        limit: max,
        resetAt: resetAt.toISOString(),
        retryAfterSeconds: Math.max(1, Math.ceil((resetAt.getTime() - Date.now()) / 1000)),
      },
    );
  }

  return {
    countOperations({ organizationId }, by) {
      if (limit > 0) count(organizationId, by, limit);
    },
    countUnauthenticated(address) {
      if (limit > 0) count(`address ${address}`, 1, UNAUTHENTICATED_PER_MINUTE);
    },
    openSubscription({ organizationId }) {
      const open = subscriptions.get(organizationId) ?? 0;
      if (open >= MAX_SUBSCRIPTIONS_PER_ORGANIZATION) {
        throw tooManySubscriptions('An organization', MAX_SUBSCRIPTIONS_PER_ORGANIZATION);
      }
      subscriptions.set(organizationId, open + 1);
      let ended = false;
      return () => {
        if (ended) return;
        ended = true;
        const left = (subscriptions.get(organizationId) ?? 1) - 1;
        if (left > 0) subscriptions.set(organizationId, left);
        else subscriptions.delete(organizationId);
      };
    },
  };
}

export function tooManySubscriptions(who: string, limit: number): RequestError {
  return new RequestError(
    'RATE_LIMITED',
    `${who} has at most ${limit} subscriptions open at once on this server. End one first, or watch several calls with one.`,
    { limit },
  );
}
