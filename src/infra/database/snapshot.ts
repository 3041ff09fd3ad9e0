/** Streams rows from one snapshot of the database, for as long as the consumer takes, up to an hour. */
import { sqltag as sql } from '@prisma/client/runtime/client';
import type { SqlExecutor } from '../jobs/lease.ts';

/** The part of a Prisma client that is used here. */
interface Transactions<Tx> {
  $transaction<R>(
    work: (tx: Tx) => Promise<R>,
    options: { isolationLevel: 'RepeatableRead'; maxWait: number; timeout: number },
  ): Promise<R>;
}

/** Maximum number of open snapshots per process: the size of their pool and the limit on concurrent exports. */
export const MAX_CONCURRENT_SNAPSHOTS = 4;
const MAX_WAIT_MS = 5_000;
/** Limited, because a snapshot keeps vacuum from removing rows deleted or changed since, in all tables. */
const MAX_DURATION_MS = 3_600_000;

/**
 * Yields the items of `read`, which runs in a transaction that sees one state of the database. Reads only as fast as
 * the items are consumed. The transaction ends with the iteration, or after an hour with an error.
 */
export async function* inSnapshot<Tx extends SqlExecutor, Item>(
  db: Transactions<Tx>,
  read: (tx: Tx) => AsyncIterable<Item>,
): AsyncGenerator<Item> {
  const { readable, writable } = new TransformStream<Item, Item>();
  const writer = writable.getWriter();
  const finished = db
    .$transaction(
      async (tx) => {
        // Raises the idle limit: the transaction only reads, and is idle while the consumer is slow.
        await tx.$executeRaw(sql`
          SELECT set_config('idle_in_transaction_session_timeout', ${`${MAX_DURATION_MS}`}, true)`);
        for await (const item of read(tx)) await writer.write(item);
      },
      { isolationLevel: 'RepeatableRead', maxWait: MAX_WAIT_MS, timeout: MAX_DURATION_MS },
    )
    .then(() => writer.close())
    .catch((error: unknown) => writer.abort(error).catch(() => undefined));
  try {
    yield* readable;
  } finally {
    // If the consumer has stopped, the next write fails and ends the transaction.
    await readable.cancel().catch(() => undefined);
    await finished;
  }
}
