/** Connections to a Redis cluster, given the address of any of its nodes. */
import { Cluster, type ClusterOptions, type Redis, type RedisOptions } from 'ioredis';
import { disconnectWhenUnresponsive, retryDelay } from './redis-connections.ts';

/**
 * Interval at which a process refreshes which nodes have which slots. Only by this does a subscriber notice that its
 * node has stopped responding and another one has taken over.
 */
const SLOTS_MS = 30_000;

/**
 * Connects to the nodes of the cluster, and reconnects whenever a connection is lost.
 *
 * @param url URL of one node, as in `REDIS_URL`; its credentials and TLS apply to all nodes.
 * @param options `redisOptions`: options of the connection to each node; `silenceMs`: see `disconnectWhenUnresponsive`.
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
  cluster.on('+node', (node: Redis) => disconnectWhenUnresponsive(node, silenceMs));
  return cluster;
}
