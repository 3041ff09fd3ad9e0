/** Number of times that PostgreSQL plans a statement that is executed repeatedly. */
import { type Sql, sqltag as sql } from '@prisma/client/runtime/client';
import type { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newClient } from '../../../src/infra/database/connections.ts';
import { hiddenFromPlanner } from '../../../src/infra/database/hidden-from-planner.ts';
import { createTestDatabase, type TestDatabase } from '../../support/servers/database.ts';

let database: TestDatabase;
let client: Client;

beforeAll(async () => {
  database = await createTestDatabase({ empty: true });
  client = newClient(database.url);
  await client.connect();
  await client.query(
    `CREATE TABLE things AS SELECT i::text AS id FROM generate_series(1, 10000) AS i`,
  );
  await client.query('CREATE UNIQUE INDEX ON things (id)');
  await client.query('ANALYZE things');
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

async function execute(name: string, statement: Sql): Promise<unknown[]> {
  const { rows } = await client.query({ name, text: statement.text, values: statement.values });
  return rows;
}

/** Plans of a statement that was executed twenty times. */
async function plansOf(name: string, statement: Sql): Promise<number> {
  for (let i = 0; i < 20; i += 1) await execute(name, statement);
  const { rows } = await client.query<{ plans: number }>(
    'SELECT custom_plans::int AS plans FROM pg_prepared_statements WHERE name = $1',
    [name],
  );
  return rows[0]?.plans ?? 0;
}

describe('hiddenFromPlanner', () => {
  it('lets PostgreSQL keep the plan of a comparison with an array', async () => {
    expect(await plansOf('seen', sql`SELECT id FROM things WHERE id = ANY(${['7']})`)).toBe(20);
    const ids = hiddenFromPlanner(['7'], 'text[]');
    expect(await plansOf('hidden', sql`SELECT id FROM things WHERE id = ANY(${ids})`)).toBe(5);
  });

  it('is the value', async () => {
    const ids = hiddenFromPlanner(['7', '9', 'x'], 'text[]');
    expect(
      await execute('array', sql`SELECT id FROM things WHERE id = ANY(${ids}) ORDER BY id`),
    ).toEqual([{ id: '7' }, { id: '9' }]);
    const none = hiddenFromPlanner([], 'text[]');
    expect(await execute('none', sql`SELECT id FROM things WHERE id = ANY(${none})`)).toEqual([]);
    const yes = hiddenFromPlanner(true, 'boolean');
    expect(await execute('boolean', sql`SELECT ${yes} AS is`)).toEqual([{ is: true }]);
  });
});
