/** Which statements are prepared, and how long a connection keeps them. */
import type { PoolClient } from 'pg';
import { afterEach, expect, it, vi } from 'vitest';
import { newQueryPool } from '../../../src/infra/database/connections.ts';
import { createStatementNames } from '../../../src/infra/database/prepared-statements.ts';
import { createTestDatabase } from '../../support/servers/database.ts';

const HOUR_MS = 3_600_000;

afterEach(() => void vi.useRealTimers());

it('a statement that is used several times is prepared, also after many others', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  const nameOf = createStatementNames(2);
  const nameAfterUses = (sql: string) => [nameOf(sql), nameOf(sql), nameOf(sql)].at(-1);
  const first = nameAfterUses('SELECT 1');
  expect(first).toMatch(/^s_/);
  expect(nameAfterUses('SELECT 2')).toMatch(/^s_/);
  vi.advanceTimersByTime(HOUR_MS - 1);
  expect(nameAfterUses('SELECT 3')).toBe('');
  expect(nameOf('SELECT 1')).toBe(first);
  vi.advanceTimersByTime(1);
  expect(nameAfterUses('SELECT 3')).toMatch(/^s_/);
  // A connection may still have it under this name.
  expect(nameAfterUses('SELECT 1')).toBe(first);
  expect(nameAfterUses('SELECT 4')).toBe('');
});

it('a connection that is always in use is replaced after an hour, once it is released', async () => {
  const database = await createTestDatabase({ empty: true });
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const pool = newQueryPool(database.url, { max: 1 });
  const session = async (queryable: Pick<PoolClient, 'query'>): Promise<number> =>
    (await queryable.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0]!.pid;
  try {
    const first = await session(pool);
    const client = await pool.connect();
    vi.advanceTimersByTime(HOUR_MS);
    expect(await session(client)).toBe(first);
    client.release();
    expect(await session(pool)).not.toBe(first);
  } finally {
    vi.useRealTimers();
    await pool.end();
    await database.drop();
  }
});
