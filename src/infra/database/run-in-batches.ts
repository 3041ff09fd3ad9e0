/** Rows per batch. A statement on this many takes a fraction of a second, and holds its locks no longer than that. */
export const BATCH_ROWS = 5_000;

/**
 * Repeats a statement that changes or deletes at most `limit` rows until it finds fewer, or until
 * the process stops. Each run is its own transaction, however many rows there are.
 */
export async function runInBatches(
  closing: AbortSignal,
  batch: (limit: number) => Promise<number>,
): Promise<void> {
  for (let rows = BATCH_ROWS; rows >= BATCH_ROWS && !closing.aborted; )
    rows = await batch(BATCH_ROWS);
}
