/** Reads calls by conditions in SQL, and locks single ones. */
import type { Tx } from '../app.ts';
import { type Call, Prisma } from '../generated/prisma/client.ts';
import { columnsAs } from '../infra/rows/columns.ts';
import type { RawReader } from '../infra/rows/row-reader.ts';

/** SQL: the columns of `Call`, for a query of `calls`. */
export const CALL_COLUMNS = columnsAs('calls', Object.values(Prisma.CallScalarFieldEnum));

/** A call that was read without a lock. */
export interface ReadCall {
  call: Call;
  /** Version of the row. `writeUpdates` writes only if it is unchanged. */
  version: string;
}

/** Reads the calls that meet a condition, without a lock. */
export async function readCalls(db: RawReader, where: Prisma.Sql): Promise<ReadCall[]> {
  const rows = await db.$queryRaw<(Call & { version: string })[]>`
    SELECT calls.xmin::text AS version, ${CALL_COLUMNS} FROM calls WHERE ${where}`;
  return rows.map(({ version, ...call }) => ({ call, version }));
}

/** Locks a call for the rest of the transaction. */
export async function lockCall(tx: Tx, id: string): Promise<Call | null> {
  const [call] = await lockCalls(tx, Prisma.sql`id = ${id}::uuid`);
  return call ?? null;
}

/**
 * Locks the calls that meet a condition, always in the same order, and returns their state under the lock. The locks
 * do not block foreign keys to the calls.
 */
export async function lockCalls(tx: Tx, where: Prisma.Sql): Promise<Call[]> {
  return tx.$queryRaw<Call[]>`
    SELECT ${CALL_COLUMNS} FROM calls WHERE ${where}
    ORDER BY id FOR NO KEY UPDATE`;
}
