/** Rate limits per organization or address. With Redis, they apply across all processes. */
import { LRUCache } from 'lru-cache';
import {
  type IRateLimiterOptions,
  type RateLimiterAbstract,
  RateLimiterMemory,
  RateLimiterRedis,
  RateLimiterRes,
} from 'rate-limiter-flexible';
import type { App } from '../../app.ts';
import { RequestError } from '../../errors.ts';
import { formatNumber } from '../../infra/format-number.ts';
import type { Viewer } from '../../viewer.ts';
import { networkOf } from './client-network.ts';
import { INCREMENT_SCRIPT, type LimitConnection, type LimitStore } from './limit-store.ts';
import { LIMITS } from './limits.ts';

const UNAUTHENTICATED_PER_MINUTE = LIMITS.unauthenticatedPerMinute.max;
/** Short, so that many clients that lost their connections at once can reconnect soon. */
const SUBSCRIPTION_WINDOW_SECONDS = 10;
const MIN_SUBSCRIPTIONS_PER_WINDOW = LIMITS.subscriptionsPer10Seconds.max;
/** Maximum number of organizations to remember as having used up their budget for invalid documents. */
const MAX_EXHAUSTED_KEYS = 10_000;
/** An operation of up to this cost is charged as one operation, one of twice the cost as two. */
const COST_PER_OPERATION = 250;

/**
 * Budgets of operations. Mutations that only stop something have their own, so that they work when other
 * mutations are rejected. Subscriptions have their own, so that reconnecting clients do not exhaust the
 * others.
 */
export type Budget = 'operations' | 'stops' | 'subscriptions';

export interface ChargedCaller {
  viewer: Viewer | null;
  address: string | null;
}

export interface RateLimits {
  /**
   * Charges the organization or, without a viewer, the address. A refused charge is refunded. An operation that costs
   * more than the whole budget consumes all of it.
   *
   * @param charged what the same operation was already charged
   * @throws RequestError RATE_LIMITED
   */
  charge(
    caller: ChargedCaller,
    budget: Budget,
    operations: number,
    charged?: number,
  ): Promise<void>;
  /** Charges a request without an accepted credential. @throws RequestError RATE_LIMITED */
  chargeUnauthenticated(address: string | null): Promise<void>;
  /** Charges an invalid document to the organization. @throws RequestError RATE_LIMITED */
  chargeInvalidDocument(viewer: Viewer): Promise<void>;
  /**
   * Called before a document is parsed. Throws if this process has refused an invalid document of the organization,
   * and would refuse it again.
   *
   * @throws RequestError RATE_LIMITED
   */
  checkInvalidDocuments(viewer: Viewer): void;
}

/** Number of operations that an operation of this cost counts as. */
export function operationsOf(cost: number): number {
  return Math.ceil(cost / COST_PER_OPERATION);
}

type Limiters = Record<Budget | 'unauthenticated' | 'invalidDocuments', RateLimiterAbstract>;

/** Number of operations that each budget allows, and the period in seconds. */
function budgetsOf({ config }: App): Record<keyof Limiters, IRateLimiterOptions> {
  const perMinute = { points: config.RATE_LIMIT_PER_MINUTE, duration: 60 };
  return {
    operations: perMinute,
    stops: perMinute,
    subscriptions: {
      // All subscribers may reconnect at once after a restart.
      points: Math.max(MIN_SUBSCRIPTIONS_PER_WINDOW, config.MAX_SUBSCRIPTIONS),
      duration: SUBSCRIPTION_WINDOW_SECONDS,
    },
    unauthenticated: { points: UNAUTHENTICATED_PER_MINUTE, duration: 60 },
    // A separate budget, so that invalid documents do not use up that of valid operations, or vice versa.
    invalidDocuments: perMinute,
  };
}

/** Each process counts on its own while Redis is unavailable. */
export function createRateLimits(app: App, store: LimitStore | null): RateLimits {
  const budgets = budgetsOf(app);
  const limitersOf = (
    create: (name: keyof Limiters, options: IRateLimiterOptions) => RateLimiterAbstract,
  ): Limiters => {
    const limiter = (name: keyof Limiters): RateLimiterAbstract =>
      create(name, { keyPrefix: `truedy:rate:${name}`, ...budgets[name] });
    return {
      operations: limiter('operations'),
      stops: limiter('stops'),
      subscriptions: limiter('subscriptions'),
      unauthenticated: limiter('unauthenticated'),
      invalidDocuments: limiter('invalidDocuments'),
    };
  };
  const own = limitersOf((_, options) => new RateLimiterMemory(options));
  const shared = new WeakMap<LimitConnection, Limiters>();
  const limiters = (): Limiters => {
    const connection = store?.connection();
    if (!connection) return own;
    let found = shared.get(connection);
    if (!found) {
      found = limitersOf(
        (name, options) =>
          new RateLimiterRedis({
            ...options,
            storeClient: connection,
            customIncrTtlLuaScript: INCREMENT_SCRIPT,
            rejectIfRedisNotReady: true,
            insuranceLimiter: own[name],
          }),
      );
      shared.set(connection, found);
    }
    return found;
  };
  const isOff = app.config.RATE_LIMIT_PER_MINUTE === 0;
  const exhausted = new LRUCache<string, RequestError>({ max: MAX_EXHAUSTED_KEYS });

  return {
    async charge({ viewer, address }, budget, operations, charged = 0) {
      if (isOff) return;
      const limiter = limiters()[viewer ? budget : 'unauthenticated'];
      const points = Math.min(operations, limiter.points - charged);
      if (points > 0) await consume(limiter, viewer?.organizationId ?? networkOf(address), points);
    },
    async chargeUnauthenticated(address) {
      if (!isOff) await consume(limiters().unauthenticated, networkOf(address), 1);
    },
    async chargeInvalidDocument({ organizationId }) {
      if (isOff) return;
      try {
        await consume(limiters().invalidDocuments, organizationId, 1);
      } catch (error) {
        if (error instanceof RequestError) {
          const seconds = Number(error.extensions.retryAfterSeconds);
          exhausted.set(organizationId, error, { ttl: seconds * 1000 });
        }
        throw error;
      }
    },
    checkInvalidDocuments({ organizationId }) {
      const error = exhausted.get(organizationId);
      if (error) throw error;
    },
  };
}

async function consume(limiter: RateLimiterAbstract, key: string, points: number): Promise<void> {
  try {
    await limiter.consume(key, points);
  } catch (error) {
    if (!(error instanceof RateLimiterRes)) throw error;
    await limiter.reward(key, points);
    throw rateLimited(limiter, error.msBeforeNext);
  }
}

function rateLimited({ points, duration }: RateLimiterAbstract, waitMs: number): RequestError {
  const resetAt = new Date(Date.now() + waitMs).toISOString();
  const window = duration === 60 ? 'one minute' : `${duration} seconds`;
  return new RequestError(
    'RATE_LIMITED',
    `The limit of ${formatNumber(points)} operations in ${window} is reached. Try again at ${resetAt}.`,
    { limit: points, resetAt, retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) },
  );
}
