/** The Redis connection of limits that hold over all processes. */
import { Redis } from 'ioredis';
import type { App } from '../app.ts';

/** How long a request waits for Redis before its process decides alone. */
const TIMEOUT_MS = 500;

/** Null without `REDIS_URL`. Commands fail at once while Redis is away. */
export function connectLimitStore(app: Pick<App, 'config' | 'failures'>): Redis | null {
  if (!app.config.REDIS_URL) return null;
  const redis = new Redis(app.config.REDIS_URL, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: TIMEOUT_MS,
    // Thousands of clients may come back at once.
    enableAutoPipelining: true,
    retryStrategy: (attempt) => Math.min(100 * 2 ** attempt, 2_000),
  });
  redis.on('error', app.failures.recorder('limits.redis'));
  return redis;
}
