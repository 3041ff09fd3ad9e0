/** Redis connection for limits across all processes, to a single server or a cluster. */
import { type Cluster, Redis, type RedisOptions } from 'ioredis';
import type { App } from '../../app.ts';
import { connectCluster } from '../../infra/redis/redis-cluster.ts';
import {
  disconnectWhenUnresponsive,
  recognizeCluster,
  retryDelay,
} from '../../infra/redis/redis-connections.ts';

/** Time that a request waits for Redis before its process decides alone. */
const TIMEOUT_MS = 500;
/** After this silence Redis counts as unavailable until it answers again, so that no further request waits for it. */
const SILENCE_MS = 1_000;
/**
 * Adds ARGV[1] to a counter, which expires ARGV[2] seconds after the first addition. Returns the sum and the time to
 * live in milliseconds.
 */
export const INCREMENT_SCRIPT = `
redis.call('SET', KEYS[1], 0, 'EX', ARGV[2], 'NX')
return {redis.call('INCRBY', KEYS[1], ARGV[1]), redis.call('PTTL', KEYS[1])}`;

/** In a cluster, a command for a slot that is moving is sent again this often, each time after a delay of ioredis. */
const MAX_REDIRECTIONS = 3;

export type LimitConnection = Redis | Cluster;

export interface LimitStore {
  /** Null while Redis is unavailable. Commands fail immediately when it becomes unavailable. */
  connection(): LimitConnection | null;
  /** Calls the listener each time Redis becomes available again. Returns the function that removes the listener. */
  onReady(listener: () => void): () => void;
  close(): void;
}

/** Null without `REDIS_URL`. The first connection determines whether it is a single server or a cluster. */
export function connectLimitStore(app: Pick<App, 'config' | 'failures'>): LimitStore | null {
  const url = app.config.REDIS_URL;
  if (!url) return null;
  const redisOptions: RedisOptions = { maxRetriesPerRequest: 0, commandTimeout: TIMEOUT_MS };
  const options = {
    enableOfflineQueue: false,
    // Thousands of clients may reconnect at once.
    enableAutoPipelining: true,
    // The command of `RateLimiterRedis`. It would define the command at the first charge, and a pipeline that already
    // contains a command, such as a health check, does not know commands that are defined later.
    scripts: { rlflxIncr: { lua: INCREMENT_SCRIPT, numberOfKeys: 1 } },
  } as const;
  const onError = app.failures.recorder('limits.redis');
  const listeners = new Set<() => void>();
  const announce = (): void => {
    for (const listener of listeners) listener();
  };
  const server = new Redis(url, { ...options, ...redisOptions, retryStrategy: retryDelay });
  let known: LimitConnection | null = null;
  let isClosed = false;

  void recognizeCluster(server).then((isCluster) => {
    if (isClosed) return;
    if (!isCluster) {
      known = server;
      server.on('ready', announce);
      announce();
      return;
    }
    server.disconnect();
    known = connectCluster(url, {
      ...options,
      redisOptions,
      silenceMs: SILENCE_MS,
      maxRedirections: MAX_REDIRECTIONS,
    });
    known.on('error', onError);
    known.on('ready', announce);
  });
  disconnectWhenUnresponsive(server, SILENCE_MS);
  server.on('error', onError);

  return {
    connection: () => (known?.status === 'ready' ? known : null),
    onReady(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      isClosed = true;
      server.disconnect();
      known?.disconnect();
    },
  };
}
