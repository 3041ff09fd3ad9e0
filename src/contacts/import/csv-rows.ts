/** Reads the rows of a CSV file while other work of the process goes on, and limits how many are in memory. */
import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import type { CsvReader, CsvRow } from './csv.ts';

const SLICE_MS = 20;
/** Rows of very different sizes fit into memory and into the time limit of a transaction. */
const BATCH_BYTES = 8 * 1024 * 1024;

/** Whether a batch of rows that take `bytes` of the file is written before more rows are read. */
export function isFullBatch(batch: { rows: number; bytes: number }, maxRows: number): boolean {
  return batch.rows >= maxRows || batch.bytes >= BATCH_BYTES;
}

/**
 * Yields the rows of a text. Some rows take much longer than others, so the event loop runs whenever the reader and the
 * caller together have taken 20 ms.
 */
export async function* readRows(
  reader: CsvReader,
  text: AsyncIterable<Buffer>,
): AsyncGenerator<CsvRow> {
  let began = performance.now();
  for await (const piece of text) {
    for (const row of reader.push(piece)) {
      yield row;
      if (performance.now() - began < SLICE_MS) continue;
      await yieldToEventLoop();
      began = performance.now();
    }
  }
  yield* reader.finish();
}
