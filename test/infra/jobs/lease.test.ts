/** Leases on rows of a real database. */
import { sqltag as sql } from '@prisma/client/runtime/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrismaClient } from '../../../src/generated/prisma/client.ts';
import { newAdapter } from '../../../src/infra/database/connections.ts';
import { LeaseLostError, newLease, whileRenewing } from '../../../src/infra/jobs/lease.ts';
import { createTestDatabase, type TestDatabase } from '../../support/servers/database.ts';
import { until } from '../../support/wait.ts';

const columns = { table: 'things', id: 'lease_id', until: 'lease_until' };
let database: TestDatabase;
let db: PrismaClient;

beforeAll(async () => {
  database = await createTestDatabase({ empty: true });
  db = new PrismaClient({ adapter: newAdapter(database.url) });
  await db.$executeRaw`
    CREATE TABLE things (id int PRIMARY KEY, state text, lease_id uuid, lease_until timestamptz)`;
});

afterAll(async () => {
  await db.$disconnect();
  await database.drop();
});

let rows = 0;

async function newRow(): Promise<(seconds?: number) => ReturnType<typeof newLease>> {
  rows += 1;
  const id = rows;
  await db.$executeRaw`INSERT INTO things (id, state) VALUES (${id}, 'new')`;
  return (seconds = 60) => newLease({ columns, row: sql`id = ${id}`, seconds });
}

async function stateOf(id: number): Promise<string | undefined> {
  const [row] = await db.$queryRaw<{ state: string }[]>`SELECT state FROM things WHERE id = ${id}`;
  return row?.state;
}

async function expiry(): Promise<Date> {
  const [row] = await db.$queryRaw<{ lease_until: Date }[]>`
    SELECT lease_until FROM things WHERE id = ${rows}`;
  return row!.lease_until;
}

describe('newLease', () => {
  it('is claimed by one of many concurrent holders', async () => {
    const lease = await newRow();
    const claims = await Promise.all(Array.from({ length: 8 }, () => lease().claim(db)));
    expect(claims.filter(Boolean)).toHaveLength(1);
  });

  it('is claimed only if the condition is true, and sets columns', async () => {
    const lease = await newRow();
    expect(await lease().claim(db, { when: sql`state = 'old' OR state = 'older'` })).toBe(false);
    expect(await lease().claim(db, { when: sql`state = 'new'`, set: sql`state = 'taken'` })).toBe(
      true,
    );
    expect(await stateOf(rows)).toBe('taken');
  });

  it('can be claimed by another holder once it has expired', async () => {
    const lease = await newRow();
    const first = lease(-1);
    expect(await first.claim(db)).toBe(true);
    const second = lease();
    expect(await second.claim(db)).toBe(true);
    await expect(first.renew(db, { set: sql`state = 'first'` })).rejects.toThrow(LeaseLostError);
    await first.release(db);
    await second.renew(db, { set: sql`state = 'second'` });
    expect(await stateOf(rows)).toBe('second');
  });

  it('is claimed with a row that does not exist yet, by one of many concurrent holders', async () => {
    const row = { columns: ['id', 'state'], select: sql`SELECT -1 AS id, 'new' AS state` } as const;
    const holders = Array.from({ length: 8 }, () =>
      newLease({ columns, row: sql`id = -1`, seconds: 60 }),
    );
    const claims = await Promise.all(holders.map((holder) => holder.claimOrInsert(db, row)));
    expect(claims.filter(Boolean)).toHaveLength(1);
    const holder = holders[claims.indexOf(true)]!;
    await holder.renew(db);
    await holder.release(db);
    expect(await holders[0]!.claimOrInsert(db, row)).toBe(true);
    const none = { ...row, select: sql`SELECT -2 AS id, 'new' AS state WHERE false` };
    expect(await holders[1]!.claimOrInsert(db, none)).toBe(false);
    expect(await stateOf(-2)).toBeUndefined();
  });

  it('is free after its release', async () => {
    const lease = await newRow();
    const first = lease();
    await first.claim(db);
    expect(await lease().claim(db)).toBe(false);
    await first.release(db, { set: sql`state = 'released'` });
    expect(await stateOf(rows)).toBe('released');
    expect(await lease().claim(db)).toBe(true);
  });
});

describe('whileRenewing', () => {
  it('keeps a lease beyond its duration and reports failed renewals', async () => {
    const lease = await newRow();
    const held = lease(0.3);
    await held.claim(db);
    const first = await expiry();
    const failures: unknown[] = [];
    let renewals = 0;
    const renew = async (): Promise<void> => {
      renewals += 1;
      if (renewals === 2) throw new Error('away');
      await held.renew(db);
    };
    await whileRenewing(
      { renew, seconds: 0.3, failed: (error) => failures.push(error) },
      async () => {
        await until('several renewals', () => renewals >= 5);
      },
    );
    expect(failures).toEqual([new Error('away')]);
    expect((await expiry()).getTime() - first.getTime()).toBeGreaterThan(300);
  });
});
