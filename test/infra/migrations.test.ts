import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '../../src/infra/logger.ts';
import { createMigration, findMissingMigration } from '../../src/infra/migration-cli.ts';
import { applyMigrations } from '../../src/infra/migrations.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

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

const migrate = () => applyMigrations({ databaseUrl: database.url, directory, log });

async function query(sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

test('applies what is new, in order, and nothing twice', async () => {
  await write('2_rows', 'INSERT INTO things VALUES (1);');
  await write('1_table', 'CREATE TABLE things (id integer);');
  expect(await migrate()).toEqual({ applied: ['1_table', '2_rows'] });
  expect(await migrate()).toEqual({ applied: [] });
  await write('3_rows', 'INSERT INTO things VALUES (2);');
  expect(await migrate()).toEqual({ applied: ['3_rows'] });
  expect(await query('SELECT id FROM things ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
});

test('many at once apply each migration once', async () => {
  await write('1_table', 'CREATE TABLE things (id integer); INSERT INTO things VALUES (1);');
  const results = await Promise.all(Array.from({ length: 5 }, migrate));
  expect(results.flatMap((result) => result.applied)).toEqual(['1_table']);
  expect(await query('SELECT id FROM things')).toEqual([{ id: 1 }]);
});

test('a function body may contain semicolons', async () => {
  await write(
    '1_function',
    `CREATE FUNCTION answer() RETURNS integer LANGUAGE plpgsql AS $$
     DECLARE found integer; BEGIN found := 42; RETURN found; END; $$;`,
  );
  await migrate();
  expect(await query('SELECT answer()')).toEqual([{ answer: 42 }]);
});

test('a failing migration is named, leaves nothing behind and can be mended', async () => {
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

test("a migration that Prisma's own tool left unfinished stops us", async () => {
  await write('1_table', 'CREATE TABLE things (id integer);');
  await migrate();
  await query('UPDATE _prisma_migrations SET finished_at = NULL');
  await expect(migrate()).rejects.toThrow(/Migration 1_table was begun by another tool/);
});

test('when all is applied, nobody waits for a migration that is under way', async () => {
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

test('writes the migration that the schema needs', async () => {
  const schema = path.join(directory, 'schema.prisma');
  const options = { directory: path.join(directory, 'migrations'), schema, log };
  await mkdir(options.directory);
  const header = 'datasource db {\n  provider = "postgresql"\n}\n';
  await writeFile(schema, `${header}model Thing {\n  id Int @id\n}\n`);
  const now = new Date('2026-01-02T03:04:05Z');
  expect(await createMigration('Add things!', { ...options, now })).toBeDefined();
  expect(await readdir(options.directory)).toEqual(['20260102030405_add_things']);
  expect(await findMissingMigration(options)).toBeUndefined();

  await writeFile(schema, `${header}model Thing {\n  id Int @id\n  name String\n}\n`);
  expect(await findMissingMigration(options)).toContain('ADD COLUMN     "name" TEXT NOT NULL');
}, 60_000);

test('the migrations of this package say what its schema says', async () => {
  expect(await findMissingMigration({ log })).toBeUndefined();
}, 60_000);
