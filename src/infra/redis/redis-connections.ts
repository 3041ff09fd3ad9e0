/** Functions shared by connections to a single Redis server and to the nodes of a cluster. */
import { setTimeout as pause } from 'node:timers/promises';
import { type Redis, ReplyError } from 'ioredis';

/** Delay before the next connection attempt, in milliseconds. */
export function retryDelay(attempt: number): number {
  return Math.min(100 * 2 ** attempt, 2_000);
}

/**
 * Closes the connection whenever the server has not answered for `silenceMs`, so that the client reconnects: a frozen
 * server or a vanished host would keep it open. Active until `disconnect`.
 *
 * @param onAnswer called about every `silenceMs` while the server answers.
 */
export function disconnectWhenUnresponsive(
  redis: Redis,
  silenceMs: number,
  onAnswer: () => void = () => undefined,
): void {
  const timer = setInterval(() => {
    const { status, stream } = redis;
    // Not ready for long: the server does not answer the ready check, or is still loading its data.
    if (status === 'connect') {
      const isStillSilent = (): boolean => redis.status === 'connect' && redis.stream === stream;
      setTimeout(() => void (isStillSilent() && stream.destroy()), silenceMs).unref();
    }
    if (status !== 'ready') return;
    const deadline = setTimeout(() => stream.destroy(), silenceMs).unref();
    // A ping that fails was not answered, or its connection is already lost.
    redis.ping().then(
      () => {
        clearTimeout(deadline);
        onAnswer();
      },
      () => undefined,
    );
  }, silenceMs).unref();
  redis.once('end', () => clearInterval(timer));
}

/**
 * Resolves with whether the server is a cluster node, as soon as it has answered over any connection of the client.
 * Never resolves if the client is disconnected before.
 */
export function recognizeCluster(redis: Redis): Promise<boolean> {
  return new Promise((resolve) => {
    const ask = (): void => {
      void isCluster(redis).then((found) => {
        if (found === null) return;
        redis.off('ready', ask);
        resolve(found);
      });
    };
    redis.on('ready', ask);
  });
}

/** Whether the server is a cluster node. Asks until it answers. Null if the connection is lost meanwhile. */
async function isCluster(redis: Redis): Promise<boolean | null> {
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
