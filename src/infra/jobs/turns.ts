/** Limits how much work of one kind runs concurrently per key, such as an organization. */

export interface Turns {
  /** Runs `work` once fewer than the maximum are running for the key. Waiting calls run in order. */
  take<Result>(key: string, work: () => Promise<Result>): Promise<Result>;
}

export function createTurns(max: number): Turns {
  const queues = new Map<string, { running: number; waiting: (() => void)[] }>();
  return {
    async take(key, work) {
      const queue = queues.get(key) ?? { running: 0, waiting: [] };
      queues.set(key, queue);
      // A call that ends passes its slot to the next waiting one, so that no later call gets in between.
      if (queue.running < max) queue.running += 1;
      else await new Promise<void>((resolve) => queue.waiting.push(resolve));
      try {
        return await work();
      } finally {
        const next = queue.waiting.shift();
        if (next) next();
        else {
          queue.running -= 1;
          if (queue.running === 0) queues.delete(key);
        }
      }
    },
  };
}
