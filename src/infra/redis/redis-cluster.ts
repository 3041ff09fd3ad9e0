/** Connections to Redis: what all have in common, and those to a cluster, from the address of any of its nodes. */
import { setTimeout as pause } from 'node:timers/promises';
import { Cluster, type ClusterOptions, type Redis, type RedisOptions, ReplyError } from 'ioredis';

/** How long a connection is unused before the system checks that the other side is still there. */
const KEEP_ALIVE_MS = 10_000;

/** Milliseconds until the next attempt. */
export function retryDelay(attempt: number): number {
  return Math.min(100 * 2 ** attempt, 2_000);
}

/**
 * Settings of a connection that is lost when a command has no answer for `silenceMs`: a server that stands still,
 * and a host that is gone, keep it open.
 */
export function lostInSilence(silenceMs: number): RedisOptions {
  return { keepAlive: KEEP_ALIVE_MS, socketTimeout: silenceMs };
}

/** Whether the server is a node of a cluster, asked until it answers. Null when the connection was lost meanwhile. */
export async function isCluster(redis: Redis): Promise<boolean | null> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await redis.cluster('INFO');
      return true;
    } catch (error) {
      // A server outside a cluster refuses the command.
      if (error instanceof ReplyError) return false;
    }
    if (redis.status !== 'ready') return null;
    await pause(retryDelay(attempt));
  }
}

/**
 * Connects to the nodes of the cluster, and again whenever a connection is lost.
 *
 * @param url of one node, as in `REDIS_URL`; its credentials and TLS hold for all nodes.
 * @param options `redisOptions`: those of the connection to each node.
 */
export function connectCluster(
  url: string,
  { redisOptions, ...options }: ClusterOptions & { redisOptions: RedisOptions },
): Cluster {
  const { protocol, host, username, password } = new URL(url);
  return new Cluster([`${protocol}//${host}`], {
    clusterRetryStrategy: retryDelay,
    ...options,
    redisOptions: {
      ...redisOptions,
      ...(username ? { username: decodeURIComponent(username) } : {}),
      ...(password ? { password: decodeURIComponent(password) } : {}),
      ...(protocol === 'rediss:' ? { tls: {} } : {}),
    },
  });
}
