/** What connections to a single Redis server and to the nodes of a cluster have in common. */
import { setTimeout as pause } from 'node:timers/promises';
import { type Redis, ReplyError } from 'ioredis';

/** Milliseconds until the next attempt. */
export function retryDelay(attempt: number): number {
  return Math.min(100 * 2 ** attempt, 2_000);
}

/**
 * Breaks the connection whenever the server has not answered for `silenceMs`, so that it is made again: a server
 * that is frozen, and a host that is gone, keep it open. Stops at `disconnect`.
 */
export function breakWhenSilent(redis: Redis, silenceMs: number): void {
  const timer = setInterval(() => {
    const { status, stream } = redis;
    // Not ready for long: the server does not answer the ready check.
    if (status === 'connect') {
      const isStillSilent = (): boolean => redis.status === 'connect' && redis.stream === stream;
      setTimeout(() => void (isStillSilent() && stream.destroy()), silenceMs).unref();
    }
    if (status !== 'ready') return;
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
