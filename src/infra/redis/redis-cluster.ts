/** Connections to Redis: what all have in common, and those to a cluster, from the address of any of its nodes. */
import { setTimeout as pause } from 'node:timers/promises';
import { Cluster, type ClusterOptions, type Redis, type RedisOptions, ReplyError } from 'ioredis';

/**
 * How often a process looks which nodes have which slots. A subscriber notices only by this that its node stands
 * still, and that another one has taken over.
 */
const SLOTS_MS = 30_000;

/** Milliseconds until the next attempt. */
export function retryDelay(attempt: number): number {
  return Math.min(100 * 2 ** attempt, 2_000);
}

/**
 * Breaks the connection whenever the server has not answered for `silenceMs`, so that it is made again: a server
 * that stands still, and a host that is gone, keep it open. Until `disconnect`.
 */
export function breakWhenSilent(redis: Redis, silenceMs: number): void {
  const timer = setInterval(() => {
    if (redis.status !== 'ready') return;
    const { stream } = redis;
    const deadline = setTimeout(() => stream.destroy(), silenceMs).unref();
    // A ping that fails was not answered, or its connection is lost already.
    redis.ping().then(
      () => clearTimeout(deadline),
      () => undefined,
    );
  }, silenceMs).unref();
  redis.once('end', () => clearInterval(timer));
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
 * @param options `redisOptions`: those of the connection to each node; `silenceMs`: see `breakWhenSilent`.
 */
export function connectCluster(
  url: string,
  {
    redisOptions,
    silenceMs,
    ...options
  }: ClusterOptions & { redisOptions: RedisOptions; silenceMs: number },
): Cluster {
  const { protocol, host, username, password } = new URL(url);
  const cluster = new Cluster([`${protocol}//${host}`], {
    clusterRetryStrategy: retryDelay,
    slotsRefreshInterval: SLOTS_MS,
    ...options,
    redisOptions: {
      ...redisOptions,
      ...(username ? { username: decodeURIComponent(username) } : {}),
      ...(password ? { password: decodeURIComponent(password) } : {}),
      ...(protocol === 'rediss:' ? { tls: {} } : {}),
    },
  });
  cluster.on('+node', (node: Redis) => breakWhenSilent(node, silenceMs));
  return cluster;
}
