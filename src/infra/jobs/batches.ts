/** Groups items that arrive one by one into batches, so that many are processed together under load. */
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';

export interface Batches<Item, Result> {
  /** Resolves with the result of the item once its batch is done. */
  add(item: Item): Promise<Result>;
}

export interface BatchOptions<Item, Result> {
  /**
   * Processes a batch and returns the result of each item, in order. If a batch of several items fails, it is
   * called again for each item alone, so that one item cannot fail the others.
   */
  work: (items: readonly Item[]) => Promise<readonly Result[]>;
  /** Maximum number of items per batch. */
  size: number;
  /** Pause before each batch, during which more items may arrive. Default: none. */
  waitMs?: number;
}

interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}

/**
 * Processes one batch at a time: items that arrive meanwhile form the next one. The first batch has the items of one
 * turn of the event loop.
 */
export function createBatches<Item, Result>({
  work,
  size,
  waitMs = 0,
}: BatchOptions<Item, Result>): Batches<Item, Result> {
  const waiting: Waiting<Item, Result>[] = [];
  let isWorking = false;

  async function processAll(): Promise<void> {
    isWorking = true;
    let isFirst = true;
    while (waiting.length > 0) {
      if (waitMs > 0) await pause(waitMs);
      else if (isFirst) await turn();
      isFirst = false;
      const batch = waiting.splice(0, size);
      try {
        await processBatch(batch);
      } catch (error) {
        if (batch.length === 1) batch[0]?.reject(error);
        else await Promise.all(batch.map((one) => processBatch([one]).catch(one.reject)));
      }
    }
    isWorking = false;
  }

  async function processBatch(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    const results = await work(batch.map(({ item }) => item));
    for (const [index, { resolve }] of batch.entries()) resolve(results[index] as Result);
  }

  return {
    add(item) {
      return new Promise((resolve, reject) => {
        waiting.push({ item, resolve, reject });
        if (!isWorking) void processAll();
      });
    },
  };
}
