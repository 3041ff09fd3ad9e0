/** Limits how much work of one kind runs at once for each key, such as an organization. */

export interface Turns {
  /** Runs `work`, when fewer than the maximum run for the key. Those that wait come in order. */
  take<Result>(key: string, work: () => Promise<Result>): Promise<Result>;
}

export function createTurns(max: number): Turns {
  const queues = new Map<string, { running: number; waiting: (() => void)[] }>();
  return {
    async take(key, work) {
      const queue = queues.get(key) ?? { running: 0, waiting: [] };
      queues.set(key, queue);
      // Whoever ends hands its turn on, so that nobody comes in between.
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
