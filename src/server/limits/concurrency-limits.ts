/**
 * Limits on concurrent subscriptions, uploads and sockets, per process. With Redis, subscriptions are limited
 * across all processes.
 */

import type { App } from '../../app.ts';
import { RequestError } from '../../errors.ts';
import { formatNumber } from '../../infra/format-number.ts';
import type { Viewer } from '../../viewer.ts';
import { networkOf } from './client-network.ts';
import type { LimitStore } from './limit-store.ts';
import { LIMITS } from './limits.ts';
import { createSharedCounts } from './shared-counts.ts';

const MAX_UPLOADS_PER_ORGANIZATION = LIMITS.uploadsPerOrganization.max;
const MAX_UNAUTHENTICATED_SOCKETS = LIMITS.unauthenticatedSockets.max;
const MAX_AUTHENTICATED_SOCKETS = LIMITS.authenticatedSockets.max;
const UPLOAD_RETRY_SECONDS = 5;

/** Releases a slot. Further calls have no effect. */
export type Release = () => void;

export interface ConcurrencyLimits {
  /** @throws RequestError RATE_LIMITED */
  openSubscription(viewer: Viewer): Promise<Release>;
  /** @throws RequestError RATE_LIMITED */
  beginUpload(viewer: Viewer): Release;
  /** Counts a WebSocket until it is authenticated. @throws RequestError RATE_LIMITED */
  openSocket(address: string | null): Release;
  /** Counts a WebSocket from its authentication on. @throws RequestError RATE_LIMITED */
  openAuthenticatedSocket(viewer: Viewer): Release;
  close(): Promise<void>;
}

export interface ConcurrencyOptions {
  /** Default: each process counts for itself. */
  store?: LimitStore | null;
  /** Time for which subscriptions of a process that died are still counted. */
  lifetimeMs?: number;
}

export function createConcurrencyLimits(
  app: Pick<App, 'config' | 'failures'>,
  { store, lifetimeMs }: ConcurrencyOptions = {},
): ConcurrencyLimits {
  const { MAX_SUBSCRIPTIONS, MAX_UPLOADS } = app.config;
  const subscriptions = new Counter();
  const uploads = new Counter();
  const sockets = new Counter();
  const shared = store
    ? createSharedCounts({
        ...{ store, failures: app.failures, ...(lifetimeMs ? { lifetimeMs } : {}) },
        countOf: (key) => subscriptions.count(key),
      })
    : null;
  return {
    async openSubscription({ organizationId, apiKeyId }) {
      // Half of the organization's limit, so that one key cannot use all of it.
      const perKey = Math.ceil(MAX_SUBSCRIPTIONS / 2);
      const ofOrganization = () => tooManySubscriptions('An organization', MAX_SUBSCRIPTIONS);
      const slots: Slot[] = [
        [`{${organizationId}}`, MAX_SUBSCRIPTIONS, ofOrganization],
        [
          `{${organizationId}}:${apiKeyId}`,
          perKey,
          () => tooManySubscriptions('An API key', perKey),
        ],
      ];
      const { keys, release } = subscriptions.enter(slots);
      if (!shared) return release;
      const exceeded = await shared.findExceeded(slots.map(([key, max]) => ({ key, max })));
      const leave = (): void => {
        release();
        shared.changed(keys);
      };
      if (exceeded === null) return leave;
      leave();
      throw slots[exceeded]?.[2]();
    },
    beginUpload({ organizationId }) {
      const max = MAX_UPLOADS_PER_ORGANIZATION;
      return uploads.enter([
        ['process', MAX_UPLOADS, () => tooManyUploads('This server', MAX_UPLOADS)],
        [organizationId, max, () => tooManyUploads('An organization', max)],
      ]).release;
    },
    openSocket: (address) =>
      sockets.enter([
        [
          networkOf(address),
          MAX_UNAUTHENTICATED_SOCKETS,
          () => tooManySockets(MAX_UNAUTHENTICATED_SOCKETS),
        ],
      ]).release,
    openAuthenticatedSocket: ({ organizationId }) =>
      sockets.enter([
        [
          organizationId,
          MAX_AUTHENTICATED_SOCKETS,
          () => tooManyAuthenticatedSockets(MAX_AUTHENTICATED_SOCKETS),
        ],
      ]).release,
    close: async () => shared?.close(),
  };
}

/** The error is created only when needed, because that costs more than counting. */
type Slot = readonly [key: string, max: number, refusal: () => RequestError];

interface Count {
  readonly key: string;
  count: number;
}

class Counter {
  readonly #counts = new Map<string, Count>();

  count(key: string): number {
    return this.#counts.get(key)?.count ?? 0;
  }

  /**
   * Occupies the slots. Returns their keys, as strings that are shared by all holders.
   *
   * @throws the error of the first slot whose limit is reached
   */
  enter(slots: readonly Slot[]): { keys: readonly string[]; release: Release } {
    for (const [key, max, refusal] of slots) {
      if (this.count(key) >= max) throw refusal();
    }
    const keys = slots.map(([key]) => this.#enter(key));
    let released = false;
    const release = (): void => {
      if (released) return;
      released = true;
      for (const key of keys) this.#leave(key);
    };
    return { keys, release };
  }

  #enter(key: string): string {
    const known = this.#counts.get(key);
    if (!known) this.#counts.set(key, { key, count: 1 });
    else known.count += 1;
    return known?.key ?? key;
  }

  #leave(key: string): void {
    const known = this.#counts.get(key);
    if (!known) return;
    known.count -= 1;
    if (known.count === 0) this.#counts.delete(key);
  }
}

export function tooManySubscriptions(who: string, limit: number): RequestError {
  return new RequestError(
    'RATE_LIMITED',
    `${who} may have at most ${formatNumber(limit)} open subscriptions. End one first, or follow several calls with one subscription.`,
    { limit },
  );
}

function tooManyUploads(who: string, limit: number): RequestError {
  return new RequestError(
    'RATE_LIMITED',
    `${who} may have at most ${limit} concurrent uploads. Wait until one has finished.`,
    { limit, retryAfterSeconds: UPLOAD_RETRY_SECONDS },
  );
}

function tooManySockets(limit: number): RequestError {
  return new RequestError(
    'RATE_LIMITED',
    `An address may have at most ${formatNumber(limit)} WebSockets without a valid API key.`,
    { limit },
  );
}

function tooManyAuthenticatedSockets(limit: number): RequestError {
  return new RequestError(
    'RATE_LIMITED',
    `An organization may have at most ${formatNumber(limit)} WebSockets. Use one for several subscriptions.`,
    { limit },
  );
}
