/** Reads the rows of an export in batches that are limited by their size as well as by their number. */

/** Maximum number of rows in a batch. */
export const MAX_BATCH_ROWS = 500;
/** Maximum size of the rows of a batch. A larger row is a batch of its own. */
const MAX_BATCH_BYTES = 2 * 2 ** 20;

export interface RowBatches<Key extends { id: string }, Row extends { id: string }> {
  /** The keys of the next `MAX_BATCH_ROWS` rows, in order. */
  keys: (after: Key | null) => Promise<Key[]>;
  /** The sizes of these rows. Rows may be missing if they are small. */
  sizes: (ids: string[]) => Promise<{ id: string; bytes: number }[]>;
  /** These rows, in any order. */
  rows: (ids: string[]) => Promise<Row[]>;
}

/** Yields the rows in the order of their keys. Must read from one snapshot. */
export async function* readBatches<Key extends { id: string }, Row extends { id: string }>({
  keys,
  sizes,
  rows,
}: RowBatches<Key, Row>): AsyncGenerator<Row[]> {
  let after: Key | null = null;
  for (;;) {
    const found: Key[] = await keys(after);
    const ids = found.map(({ id }) => id);
    for (const batch of splitBySize(ids, ids.length > 0 ? await sizes(ids) : [])) {
      const byId = new Map((await rows(batch)).map((row) => [row.id, row]));
      yield batch.map((id) => byId.get(id)).filter((row) => row !== undefined);
    }
    if (found.length < MAX_BATCH_ROWS) return;
    after = found.at(-1)!;
  }
}

function splitBySize(
  ids: readonly string[],
  sizes: readonly { id: string; bytes: number }[],
): string[][] {
  const bytesOf = new Map(sizes.map(({ id, bytes }) => [id, bytes]));
  const batches: string[][] = [];
  let left = 0;
  for (const id of ids) {
    const bytes = bytesOf.get(id) ?? 0;
    if (bytes > left || batches.length === 0) {
      batches.push([]);
      left = MAX_BATCH_BYTES;
    }
    batches.at(-1)?.push(id);
    left -= bytes;
  }
  return batches;
}
