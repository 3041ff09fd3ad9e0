/**
 * Leases on rows: the exclusive right to work on a row for a limited time. If a holder dies, another can
 * take the lease after it expires. A holder that lost its lease notices this when it writes.
 */
import { raw, type Sql, sqltag as sql } from '@prisma/client/runtime/client';
import { newId } from '../ids.ts';
import { repeat } from './repeat.ts';

/** The lease has expired and another holder may have it, or the row no longer exists. */
export class LeaseLostError extends Error {
  override name = 'LeaseLostError';

  constructor() {
    super('The lease was lost');
  }
}

export interface LeaseColumns {
  table: string;
  /** Column with the lease id of the holder, a `uuid`. */
  id: string;
  /** Column with the expiry, a `timestamptz`. */
  until: string;
}

/** A Prisma client or one of its transactions. */
export interface SqlExecutor {
  $executeRaw(query: Sql): Promise<number>;
}

export interface Lease {
  /** Value of the row's lease column while this lease is held. */
  readonly id: string;
  /** SQL: the expiry of a lease taken or renewed now, by the database clock. */
  readonly expiry: Sql;
  /** SQL condition that is true while this lease holds the row. */
  readonly held: Sql;
  /**
   * Takes the lease if it is free and `when` is true. `set` changes further columns in the same statement.
   *
   * @returns whether it was taken.
   */
  claim(db: SqlExecutor, more?: { when?: Sql; set?: Sql }): Promise<boolean>;
  /**
   * Takes the lease if it is free. If the row does not exist, inserts it with the lease.
   *
   * @returns whether it was taken.
   */
  claimOrInsert(db: SqlExecutor, row: InsertedRow): Promise<boolean>;
  /** Extends the lease. @throws LeaseLostError when it is no longer held. */
  renew(db: SqlExecutor, more?: { set?: Sql }): Promise<void>;
  /** Releases the lease if it is still held. */
  release(db: SqlExecutor, more?: { set?: Sql }): Promise<void>;
}

/** The row to insert if it does not exist. */
export interface InsertedRow {
  /** Column names, without those of the lease. The first column is unique. */
  columns: readonly [string, ...string[]];
  /** SQL: a SELECT of the values. Nothing is claimed if it returns no row. */
  select: Sql;
}

/** SQL condition that is true if no unexpired lease holds the row. */
export function leaseIsFree({ until }: Pick<LeaseColumns, 'until'>): Sql {
  return sql`(${raw(until)} IS NULL OR ${raw(until)} < now())`;
}

export interface LeaseOptions {
  columns: LeaseColumns;
  /** SQL condition that selects the row. */
  row: Sql;
  /** Duration of the lease after it is taken or renewed. */
  seconds: number;
}

/** Creates a lease for one holder, without taking it. */
export function newLease({ columns, row, seconds }: LeaseOptions): Lease {
  const leaseId = newId();
  const [table, id, until] = [raw(columns.table), raw(columns.id), raw(columns.until)];
  // Not `now()`, which returns the start of the transaction.
  const expiry = sql`clock_timestamp() + make_interval(secs => ${seconds}::float8)`;
  const held = sql`${id} = ${leaseId}::uuid`;
  const and = (set?: Sql): Sql => (set ? sql`, ${set}` : sql``);
  return {
    id: leaseId,
    expiry,
    held,
    async claim(db, { when, set } = {}) {
      const claimed = await db.$executeRaw(sql`
        UPDATE ${table} SET ${id} = ${leaseId}::uuid, ${until} = ${expiry}${and(set)}
        WHERE ${row} AND ${leaseIsFree(columns)}${when ? sql` AND (${when})` : sql``}`);
      return claimed === 1;
    },
    async claimOrInsert(db, { columns: names, select }) {
      const list = raw(names.join(', '));
      const claimed = await db.$executeRaw(sql`
        INSERT INTO ${table} AS leased (${list}, ${id}, ${until})
        SELECT inserted.*, ${leaseId}::uuid, ${expiry} FROM (${select}) AS inserted
        ON CONFLICT (${raw(names[0])}) DO UPDATE SET ${id} = EXCLUDED.${id}, ${until} = EXCLUDED.${until}
        WHERE ${leaseIsFree({ until: `leased.${columns.until}` })}`);
      return claimed === 1;
    },
    async renew(db, { set } = {}) {
      const renewed = await db.$executeRaw(sql`
        UPDATE ${table} SET ${until} = ${expiry}${and(set)} WHERE ${row} AND ${held}`);
      if (renewed !== 1) throw new LeaseLostError();
    },
    async release(db, { set } = {}) {
      await db.$executeRaw(sql`
        UPDATE ${table} SET ${id} = NULL, ${until} = NULL${and(set)} WHERE ${row} AND ${held}`);
    },
  };
}

/**
 * Renews a lease while `work` runs, three times per lease duration. A failed renewal is reported and
 * retried; `work` must check the lease when it writes.
 */
export async function whileRenewing<T>(
  options: { renew: () => Promise<unknown>; seconds: number; failed: (error: unknown) => void },
  work: () => Promise<T>,
): Promise<T> {
  const { renew, seconds, failed } = options;
  let isOver = false;
  // The work, and with it the lease, may end during a renewal.
  const report = (error: unknown): void => (isOver ? undefined : failed(error));
  const stop = repeat((seconds * 1000) / 3, () => renew().catch(report));
  try {
    return await work();
  } finally {
    isOver = true;
    stop();
  }
}
