/**
 * Batch work in which single items may fail permanently: finds those items, and skips them in the next batches
 * for increasing times. Kept in memory: every process finds them itself, and again after a restart.
 */

const INITIAL_DELAY_MS = 5_000;
const MAX_DELAY_MS = 60_000;

export class FailedItems {
  readonly #items = new Map<string, { failures: number; until: number }>();

  /** Items to skip now. */
  ids(): string[] {
    const now = performance.now();
    for (const [id, { until }] of this.#items) {
      // The item has not failed again: it succeeded, or no longer exists.
      if (until < now - MAX_DELAY_MS) this.#items.delete(id);
    }
    return [...this.#items].flatMap(([id, { until }]) => (until > now ? id : []));
  }

  add(id: string): void {
    const failures = (this.#items.get(id)?.failures ?? 0) + 1;
    const delay = Math.min(INITIAL_DELAY_MS * 2 ** (failures - 1), MAX_DELAY_MS);
    this.#items.set(id, { failures, until: performance.now() + delay });
  }
}

/**
 * Processes all items together and, if that fails, each half in turn, down to single items. So an item that
 * always fails costs only a few more attempts, and the other items are still processed.
 *
 * @param failed called with an item that fails alone. An error that it throws ends the work.
 */
export async function processByBisection<Item>(
  items: readonly Item[],
  work: (items: readonly Item[]) => Promise<void>,
  failed: (item: Item, error: unknown) => void,
): Promise<void> {
  const [first] = items;
  if (first === undefined) return;
  try {
    await work(items);
  } catch (error) {
    if (items.length === 1) {
      failed(first, error);
      return;
    }
    const middle = Math.ceil(items.length / 2);
    await processByBisection(items.slice(0, middle), work, failed);
    await processByBisection(items.slice(middle), work, failed);
  }
}
