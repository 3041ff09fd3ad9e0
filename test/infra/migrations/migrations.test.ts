import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../../src/infra/logger.ts';
import {
  createMigration,
  findMissingMigration,
} from '../../../src/infra/migrations/migration-cli.ts';
import { applyMigrations, migrateDatabase } from '../../../src/infra/migrations/migrations.ts';
import { createTestDatabase, type TestDatabase } from '../../support/servers/database.ts';
import { until } from '../../support/wait.ts';

const log = createLogger({ level: 'silent' });
let directory: string;
let database: TestDatabase;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'truedy-migrations-'));
  database = await createTestDatabase({ empty: true });
});

afterEach(async () => {
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

async function write(name: string, sql: string): Promise<void> {
  await mkdir(path.join(directory, name), { recursive: true });
  await writeFile(path.join(directory, name, 'migration.sql'), sql);
}

async function withEmptyDatabase(run: (url: string) => Promise<void>): Promise<void> {
  const empty = await createTestDatabase({ empty: true });
  try {
    await run(empty.url);
  } finally {
    await empty.drop();
  }
}

const migrate = () => migrateDatabase(database.url, { directory, log });

async function query(sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

const INVALID = `SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid`;

describe('migrateDatabase', () => {
  it('applies new migrations in order, each once', async () => {
    await write('2_rows', 'INSERT INTO things VALUES (1);');
    await write('1_table', 'CREATE TABLE things (id integer);');
    expect(await migrate()).toEqual({ applied: ['1_table', '2_rows'] });
    expect(await migrate()).toEqual({ applied: [] });
    await write('3_rows', 'INSERT INTO things VALUES (2);');
    expect(await migrate()).toEqual({ applied: ['3_rows'] });
    expect(await query('SELECT id FROM things ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
  });

  it('applies each migration once when many run at the same time', async () => {
    await write('1_table', 'CREATE TABLE things (id integer); INSERT INTO things VALUES (1);');
    const results = await Promise.all(Array.from({ length: 5 }, migrate));
    expect(results.flatMap((result) => result.applied)).toEqual(['1_table']);
    expect(await query('SELECT id FROM things')).toEqual([{ id: 1 }]);
  });

  it('lets others apply migrations while its connection stays open', async () => {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    try {
      await write('1_table', 'CREATE TABLE things (id integer);');
      await applyMigrations(client, { directory, log });
      await write('2_rows', 'INSERT INTO things VALUES (1);');
      expect(await migrate()).toEqual({ applied: ['2_rows'] });
    } finally {
      await client.end();
    }
  });

  it('accepts a function body with semicolons', async () => {
    await write(
      '1_function',
      `CREATE FUNCTION answer() RETURNS integer LANGUAGE plpgsql AS $$
     DECLARE found integer; BEGIN found := 42; RETURN found; END; $$;`,
    );
    await migrate();
    expect(await query('SELECT answer()')).toEqual([{ answer: 42 }]);
  });

  it('names a failing migration, rolls it back, and accepts its fix', async () => {
    await write('1_table', 'CREATE TABLE things (id integer);');
    await write('2_broken', 'CREATE TABLE half (id integer);\nALTER TABLE missing ADD x integer;');
    await expect(migrate()).rejects.toMatchObject({
      name: 'MigrationFailed',
      migration: '2_broken',
      message: expect.stringMatching(/2_broken failed: relation "missing" does not exist/),
    });
    expect(await query(`SELECT to_regclass('half')`)).toEqual([{ to_regclass: null }]);

    await write('2_broken', 'CREATE TABLE half (id integer);');
    expect(await migrate()).toEqual({ applied: ['2_broken'] });
  });

  it('rejects a migration that Prisma left unfinished', async () => {
    await write('1_table', 'CREATE TABLE things (id integer);');
    await migrate();
    await query('UPDATE _prisma_migrations SET finished_at = NULL');
    await expect(migrate()).rejects.toThrow(/Migration 1_table was begun by another tool/);
  });

  describe('with CREATE INDEX CONCURRENTLY', () => {
    const INDEXES = `-- Without a lock.
CREATE INDEX CONCURRENTLY "things_id" ON "things"("id");
CREATE UNIQUE INDEX CONCURRENTLY "things_once" ON "things"("id") WHERE id > 0;`;

    it('builds the indexes once when many run at the same time', async () => {
      await write('1_table', 'CREATE TABLE things (id integer);');
      await write('2_indexes', INDEXES);
      const results = await Promise.all(Array.from({ length: 5 }, migrate));
      expect(results.flatMap(({ applied }) => applied)).toEqual(['1_table', '2_indexes']);
      expect(await query(INVALID)).toEqual([]);
    });

    it('lets others write to the table meanwhile', async () => {
      await write('1_table', 'CREATE TABLE things (id integer);');
      await migrate();
      await write('2_indexes', INDEXES);
      const writer = new Client({ connectionString: database.url });
      await writer.connect();
      try {
        // An index is not finished before the transactions that write to its table.
        await writer.query('BEGIN; INSERT INTO things VALUES (1)');
        const migrating = migrate();
        await until('the index that is being built', async () => (await query(INVALID)).length > 0);
        await query('INSERT INTO things VALUES (2)');
        await writer.query('COMMIT');
        expect(await migrating).toEqual({ applied: ['2_indexes'] });
      } finally {
        await writer.end();
      }
    });

    it('builds anew what was cut off, and skips what exists', async () => {
      await write(
        '1_table',
        'CREATE TABLE things (id integer); INSERT INTO things VALUES (1), (1);',
      );
      await write('2_indexes', INDEXES);
      await expect(migrate()).rejects.toMatchObject({ migration: '2_indexes' });
      expect(await query(INVALID)).toEqual([{ name: 'things_once' }]);
      await query('DELETE FROM things');
      expect(await migrate()).toEqual({ applied: ['2_indexes'] });
      expect(await query(INVALID)).toEqual([]);
    });

    it('refuses other statements in the same file', async () => {
      await write('1_table', 'CREATE TABLE things (id integer);');
      await write('2_indexes', `${INDEXES}\nALTER TABLE things ADD name text;`);
      await expect(migrate()).rejects.toThrow('may only have CREATE INDEX CONCURRENTLY');
      expect(await query(`SELECT to_regclass('things_id') AS index`)).toEqual([{ index: null }]);
    });
  });

  it('lets others use a table that it waits for', async () => {
    await write('1_table', 'CREATE TABLE things (id integer);');
    await migrate();
    await write('2_column', 'ALTER TABLE things ADD name text;');
    const reader = new Client({ connectionString: database.url });
    await reader.connect();
    try {
      await reader.query('BEGIN; SELECT * FROM things');
      const migrating = migrate();
      await until('the migration to wait', async () => {
        const rows = await query(
          `SELECT 1 FROM pg_locks WHERE relation = 'things'::regclass AND NOT granted`,
        );
        return rows.length > 0;
      });
      await query('INSERT INTO things VALUES (2)');
      await reader.query('COMMIT');
      expect(await migrating).toEqual({ applied: ['2_column'] });
    } finally {
      await reader.end();
    }
  });

  it('does not wait for a running migration when all are applied', async () => {
    await write('1_table', 'CREATE TABLE things (id integer);');
    await migrate();
    const other = new Client({ connectionString: database.url });
    await other.connect();
    try {
      await other.query('BEGIN; LOCK TABLE _prisma_migrations IN EXCLUSIVE MODE');
      expect(await migrate()).toEqual({ applied: [] });
    } finally {
      await other.end();
    }
  });
});

describe('createMigration', () => {
  it('writes the migration that the schema needs', async () => {
    const schema = path.join(directory, 'schema.prisma');
    const options = { directory: path.join(directory, 'migrations'), schema, log };
    await mkdir(options.directory);
    const header = 'datasource db {\n  provider = "postgresql"\n}\n';
    await writeFile(schema, `${header}model Thing {\n  id Int @id\n}\n`);
    const now = new Date('2026-01-02T03:04:05Z');
    await withEmptyDatabase(async (emptyDatabaseUrl) => {
      const file = await createMigration('Add things!', { ...options, emptyDatabaseUrl, now });
      expect(file).toBeDefined();
    });
    expect(await readdir(options.directory)).toEqual(['20260102030405_add_things']);
    await withEmptyDatabase(async (emptyDatabaseUrl) => {
      expect(await findMissingMigration({ ...options, emptyDatabaseUrl })).toBeUndefined();
    });

    await writeFile(schema, `${header}model Thing {\n  id Int @id\n  name String\n}\n`);
    await withEmptyDatabase(async (emptyDatabaseUrl) => {
      const missing = await findMissingMigration({ ...options, emptyDatabaseUrl });
      expect(missing).toContain('ADD COLUMN     "name" TEXT NOT NULL');
    });
  });
});

describe('findMissingMigration', () => {
  it('finds nothing missing in this repository', async () => {
    expect(await findMissingMigration({ log })).toBeUndefined();
  });
});
