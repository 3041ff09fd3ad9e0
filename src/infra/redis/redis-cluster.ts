/** Connections to Redis: what all have in common, and those to a cluster, from the address of any of its nodes. */
import { Cluster, type ClusterOptions, type Redis, type RedisOptions, ReplyError } from 'ioredis';

/** Milliseconds until the next attempt to connect. */
export function retryDelay(attempt: number): number {
  return Math.min(100 * 2 ** attempt, 2_000);
}

/** Whether the server is a node of a cluster. Null when the connection was lost meanwhile. */
export async function isCluster(redis: Redis): Promise<boolean | null> {
  try {
    await redis.cluster('INFO');
    return true;
  } catch (error) {
    // A server outside a cluster refuses the command.
    return error instanceof ReplyError ? false : null;
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
