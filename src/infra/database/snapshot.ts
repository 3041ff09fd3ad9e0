/** Streams from one snapshot of the database, however long it takes to read them. */
import { sqltag as sql } from '@prisma/client/runtime/client';
import type { SqlExecutor } from '../jobs/lease.ts';

/** The part of a Prisma client that is needed. */
interface Transactions<Tx> {
  $transaction<R>(
    work: (tx: Tx) => Promise<R>,
    options: { isolationLevel: 'RepeatableRead'; maxWait: number; timeout: number },
  ): Promise<R>;
}

/** Maximum number of open snapshots of a process: the size of their pool, and the limit on exports. */
export const SNAPSHOTS_AT_ONCE = 4;
const MAX_WAIT_MS = 5_000;
/** A snapshot keeps vacuum from removing rows that were deleted or changed since, in all tables. */
const MAX_DURATION_MS = 3_600_000;

/**
 * What `read` yields from a transaction that sees one state of the database. It reads only as fast as it is
 * consumed, and the transaction ends with the iteration. After an hour it breaks off with an error.
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
        // It holds no locks, and is idle while the consumer is slow.
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
    // When the consumer has stopped, the next write fails and ends the transaction.
    await readable.cancel().catch(() => undefined);
    await finished;
  }
}
