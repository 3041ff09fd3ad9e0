import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newClient } from '../../src/infra/database/connections.ts';
import { createLogger } from '../../src/infra/logger.ts';
import {
  migrateDatabase,
  migrationsDirectory,
  readMigrations,
} from '../../src/infra/migrations/migrations.ts';
import { utcDay } from '../../src/live/partitions.ts';
import { createTestDatabase, type TestDatabase } from '../support/servers/database.ts';
import { until } from '../support/wait.ts';

const FIRST = '20261128230000_event_log_date';
const LAST = '20261128230200_partitioned_event_log';
const APPEND = `INSERT INTO events (organization_id, type, data)
  SELECT $1, 'AGENT_UPDATED', jsonb_build_object('n', i) FROM generate_series(1, $2) AS i`;
const log = createLogger({ level: 'silent' });
let directory: string;
let database: TestDatabase;
let client: Client;
let organizationId: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'truedy-migrations-'));
  database = await createTestDatabase({ empty: true });
  await migrate((name) => name < FIRST);
  client = newClient(database.url);
  await client.connect();
  const { rows } = await client.query(
    `INSERT INTO organizations (id, name, updated_at) VALUES (gen_random_uuid(), 'One', now()) RETURNING id`,
  );
  organizationId = rows[0].id;
});

afterEach(async () => {
  await client.end();
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

async function migrate(chosen: (name: string) => boolean): Promise<void> {
  for (const { name } of (await readMigrations()).filter((each) => chosen(each.name))) {
    await cp(path.join(migrationsDirectory, name), path.join(directory, name), { recursive: true });
  }
  await migrateDatabase(database.url, { directory, log });
}

/** Appends events; those `numbered` get their cursors. */
async function append(count: number, { numbered = true } = {}): Promise<void> {
  await client.query(APPEND, [organizationId, count]);
  if (numbered) await client.query('SELECT assign_event_cursors($1)', [organizationId]);
}

async function logged(): Promise<{ cursors: number[]; days: string[]; n: number[] }> {
  const { rows } = await client.query(
    `SELECT cursor::int, logged_on::text, (data->>'n')::int AS n FROM events
     WHERE organization_id = $1 ORDER BY cursor`,
    [organizationId],
  );
  return {
    cursors: rows.map(({ cursor }) => cursor),
    days: [...new Set<string>(rows.map(({ logged_on }) => logged_on))],
    n: rows.map(({ n }) => n),
  };
}

/** The days in UTC from that of `start` until now: two of them when midnight has passed meanwhile. */
const daysSince = (start: string): string[] => [...new Set([start, utcDay(new Date())])];

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

async function inFile(file: string, sql: string, replaced: string): Promise<void> {
  const found = path.join(directory, file, 'migration.sql');
  const text = await readFile(found, 'utf8');
  expect(text).toContain(sql);
  await writeFile(found, text.replaceAll(sql, replaced));
}

describe('the migration of the event log to partitions', () => {
  it('keeps events, cursors and the order of events without one, and rewrites no row', async () => {
    const start = utcDay(new Date());
    await append(5_000);
    await append(3, { numbered: false });
    const file = `SELECT pg_relation_filenode(c.oid) AS node FROM pg_class c
      WHERE relkind = 'r' AND relname ~ '^events'
        AND relname <> 'events_without_cursor_yet'`;
    const { rows: before } = await client.query(file);
    await migrate((name) => name >= FIRST && name <= LAST);
    expect((await client.query(file)).rows).toEqual(before);
    await append(2);
    const { cursors, days, n } = await logged();
    expect(cursors).toEqual(upTo(5_005));
    expect(n).toEqual([...upTo(5_000), 1, 2, 3, 1, 2]);
    expect(daysSince(start)).toEqual(expect.arrayContaining(days));
    const { rows } = await client.query('SELECT starts_on::text, attached FROM event_partitions');
    expect(rows).toEqual([{ starts_on: expect.any(String), attached: true }]);
    expect(daysSince(start)).toContain(rows[0].starts_on);
    await expect(
      client.query(
        `INSERT INTO events (organization_id, cursor, type, data, logged_on)
         SELECT organization_id, cursor, type, data, logged_on FROM events WHERE cursor = 7`,
      ),
    ).rejects.toThrow('duplicate key');
  });

  it('lets the version of before append events while indexes are built', async () => {
    await append(10);
    await migrate((name) => name === FIRST);
    const writer = newClient(database.url);
    await writer.connect();
    try {
      await writer.query('BEGIN');
      await writer.query(APPEND, [organizationId, 1]);
      const migrating = migrate((name) => name > FIRST && name <= LAST);
      await until('the index that is being built', async () => {
        const { rows } = await client.query('SELECT 1 FROM pg_index WHERE NOT indisvalid');
        return rows.length > 0;
      });
      await append(5);
      await writer.query('COMMIT');
      await migrating;
    } finally {
      await writer.end();
    }
    await append(1);
    expect((await logged()).cursors).toEqual(upTo(17));
  });

  it('continues when it was interrupted, and the version of before went on for days', async () => {
    await append(10);
    await cp(path.join(migrationsDirectory, FIRST), path.join(directory, FIRST), {
      recursive: true,
    });
    // As if the first file had been applied five days ago.
    const start = utcDay(new Date());
    const fiveDaysAgo = utcDay(new Date(Date.now() - 5 * 86_400_000));
    await inFile(FIRST, `(now() AT TIME ZONE 'UTC')::date`, `'${fiveDaysAgo}'::date`);
    await migrateDatabase(database.url, { directory, log });
    await append(10);
    await append(1, { numbered: false });

    await cp(path.join(migrationsDirectory, LAST), path.join(directory, LAST), { recursive: true });
    await expect(migrateDatabase(database.url, { directory, log })).rejects.toMatchObject({
      migration: LAST,
    });
    await append(10);
    expect((await logged()).cursors).toEqual(upTo(31));

    await rm(path.join(directory, LAST), { recursive: true });
    await migrate((name) => name > FIRST && name <= LAST);
    await append(1);
    expect((await logged()).cursors).toEqual(upTo(32));
    // What was written since then counts as written today.
    expect(daysSince(start)).toEqual(expect.arrayContaining((await logged()).days));
    const { rows } = await client.query('SELECT starts_on::text FROM event_partitions');
    expect(rows).toEqual([{ starts_on: fiveDaysAgo }]);
  });
});
