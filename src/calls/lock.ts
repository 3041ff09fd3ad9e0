import type { Tx } from '../app.ts';
import { type Call, Prisma } from '../generated/prisma/client.ts';

/** SQL: the columns of `calls` under the names of `Call`. */
const COLUMNS = Prisma.raw(
  Object.values(Prisma.CallScalarFieldEnum)
    .map((name) => `${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)} AS "${name}"`)
    .join(', '),
);

/** Locks a call for the rest of the transaction. */
export async function lockCall(tx: Tx, id: string): Promise<Call | null> {
  const [call] = await lockCalls(tx, Prisma.sql`id = ${id}::uuid`);
  return call ?? null;
}

/**
 * Locks the calls that meet a condition, always in the same order, and returns them as they are then. The
 * locks do not block foreign keys to the calls.
 *
 * @param free whether to leave out calls that are locked elsewhere, instead of waiting for them.
 */
export async function lockCalls(tx: Tx, where: Prisma.Sql, { free = false } = {}): Promise<Call[]> {
  return tx.$queryRaw<Call[]>`
    SELECT ${COLUMNS} FROM calls WHERE ${where}
    ORDER BY id FOR NO KEY UPDATE ${free ? Prisma.sql`SKIP LOCKED` : Prisma.empty}`;
}
