/** Waits until a session is blocked by a lock that a test holds. */
import type { Client } from 'pg';
import { until } from './wait.ts';

interface Queryable {
  $queryRawUnsafe<T>(query: string, ...values: unknown[]): Promise<T>;
}

/** Session (backend process ID) of a transaction. */
export async function sessionOf(tx: Queryable): Promise<number> {
  const [row] = await tx.$queryRawUnsafe<{ pid: number }[]>('SELECT pg_backend_pid() AS pid');
  return row!.pid;
}

/** Adapts a `pg` client to the interface of a Prisma client. */
export const asQueryable = (client: Client): Queryable => ({
  $queryRawUnsafe: async <T>(query: string, ...values: unknown[]) =>
    (await client.query(query, values)).rows as T,
});

export interface BlockedStatement {
  /** Session that holds the lock. */
  holder: number;
  /** LIKE pattern of the waiting statement, since background jobs may wait for the same lock. */
  statement: string;
  /** Number of sessions that must wait for the lock. Default: 1. */
  count?: number;
}

/**
 * Waits until `count` sessions wait, directly or queued behind others, for a lock of `holder`.
 *
 * @returns the waiting sessions.
 */
export async function untilBlocked(db: Queryable, blocked: BlockedStatement): Promise<number[]> {
  const { statement, count = 1 } = blocked;
  return until(`${count} × ${statement} to wait for a lock`, async () => {
    const pids = await blockedSessions(db, blocked);
    if (pids.length >= count) return pids;
    const others = await blockedSessions(db, { ...blocked, statement: '%' });
    throw new Error(`${pids.length} of ${count} × ${statement} wait, ${others.length} in all`);
  });
}

export async function blockedSessions(
  db: Queryable,
  { holder, statement }: BlockedStatement,
): Promise<number[]> {
  const rows = await db.$queryRawUnsafe<{ pid: number }[]>(
    `WITH RECURSIVE blocked (pid) AS (
       SELECT $1::int UNION
       SELECT waiting.pid FROM pg_stat_activity AS waiting
       JOIN blocked ON blocked.pid = ANY (pg_blocking_pids(waiting.pid)))
     SELECT pid FROM blocked JOIN pg_stat_activity USING (pid) WHERE pid <> $1 AND query LIKE $2`,
    holder,
    statement,
  );
  return rows.map(({ pid }) => pid);
}
