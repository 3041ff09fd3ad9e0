/** Limits how much work of one kind runs concurrently per key, such as an organization. */

/** The wait for a slot exceeded its time limit. */
export class LimiterTimeoutError extends Error {
  override name = 'LimiterTimeoutError';

  constructor(limitMs: number) {
    super(`Waited longer than ${limitMs} ms for a slot`);
  }
}

export interface KeyedLimiter {
  /**
   * Runs `work` once fewer than the maximum are running for the key. Waiting calls run in order.
   *
   * @param limitMs time limit of the wait. Default: none.
   * @throws LimiterTimeoutError after it, without running `work`.
   */
  run<Result>(key: string, work: () => Promise<Result>, limitMs?: number): Promise<Result>;
}

export function createKeyedLimiter(max: number): KeyedLimiter {
  const queues = new Map<string, { running: number; waiting: Set<() => void> }>();
  return {
    async run(key, work, limitMs) {
      const queue = queues.get(key) ?? { running: 0, waiting: new Set() };
      queues.set(key, queue);
      // A call that ends passes its slot to the next waiting one, so that no later call gets in between.
      if (queue.running < max) queue.running += 1;
      else await nextSlot(queue.waiting, limitMs);
      try {
        return await work();
      } finally {
        const [next] = queue.waiting;
        if (next) next();
        else {
          queue.running -= 1;
          if (queue.running === 0) queues.delete(key);
        }
      }
    },
  };
}

function nextSlot(waiting: Set<() => void>, limitMs: number | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const begin = (): void => {
    clearTimeout(timer);
    waiting.delete(begin);
    resolve();
  };
  const giveUp = (limit: number): void => {
    waiting.delete(begin);
    reject(new LimiterTimeoutError(limit));
  };
  const timer = limitMs === undefined ? undefined : setTimeout(giveUp, limitMs, limitMs);
  waiting.add(begin);
  return promise;
}
