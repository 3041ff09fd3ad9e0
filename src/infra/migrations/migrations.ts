/** Applies the migrations to a database. */
import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { PrismaPg } from '@prisma/adapter-pg';
import {
  bindMigrationAwareSqlAdapterFactory,
  ColumnTypeEnum,
  type SqlQuery,
} from '@prisma/driver-adapter-utils';
import type { SchemaEngine } from '@prisma/schema-engine-wasm';
import {
  type Client,
  DatabaseError,
  type Pool,
  type QueryArrayConfig,
  type QueryArrayResult,
  types,
} from 'pg';
import { newClient, newPool } from '../database/connections.ts';
import type { Logger } from '../logger.ts';
import { buildsIndexesConcurrently, runConcurrently } from './concurrent-indexes.ts';

/*
 * Files and records have Prisma's format (`prisma/migrations/<name>/migration.sql`, checksums in
 * `_prisma_migrations`), so commands such as `prisma migrate status` work.
 *
 * Prisma's engine (WebAssembly) only compares schemas here. It does not apply the files, because with a
 * driver adapter it splits a script at every semicolon, even inside function bodies and strings, and runs
 * the parts outside a transaction. Here each file is sent as a whole, in one transaction with its record.
 * Files with `CREATE INDEX CONCURRENTLY` are the exception; see `concurrent-indexes.ts`.
 */

const root = path.resolve(import.meta.dirname, '../../..');
export const migrationsDirectory = path.join(root, 'prisma/migrations');
export const schemaFile = path.join(root, 'prisma/schema.prisma');

const LOCK_POLL_MS = 100;
/**
 * While a statement waits for a table, all later users of the table wait behind it. So a migration waits only for a
 * moment, and retries until other transactions, such as those of a backup, have ended.
 */
const TABLE_LOCK_TIMEOUT_MS = 2_000;
const TABLE_LOCK_PAUSE_MS = 1_000;
/** lock_not_available, deadlock_detected */
const IN_USE = new Set(['55P03', '40P01']);
/** Key of an advisory lock: any number, but the same in all processes. */
const migrationLock = 7_384_120_561;

export interface Migration {
  name: string;
  sql: string;
  checksum: string;
}

export interface ApplyOptions {
  /** Directory of the migrations. Default: `prisma/migrations` of this package. */
  directory?: string;
  log: Logger;
}

export class MigrationFailed extends Error {
  readonly migration: string;

  constructor(migration: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MigrationFailed';
    this.migration = migration;
  }
}

/** Every migration in the directory, oldest first. */
export async function readMigrations(directory = migrationsDirectory): Promise<Migration[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
  return Promise.all(
    names.map(async (name) => {
      const sql = await readFile(path.join(directory, name, 'migration.sql'), 'utf8');
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

/**
 * Applies the missing migrations and returns the names of those that this call applied. Nothing else may use the
 * connection meanwhile. Several processes may call it concurrently: each migration runs once, and all calls return
 * when all are applied.
 */
export async function applyMigrations(
  client: Client,
  { directory = migrationsDirectory, log }: ApplyOptions,
): Promise<{ applied: string[] }> {
  const migrations = await readMigrations(directory);
  if ((await pending(client, migrations, log)).length === 0) return { applied: [] };
  await lock(client);
  try {
    // Another process may have applied them meanwhile.
    const todo = await pending(client, migrations, log);
    await client.query(createMigrationsTable);
    // On a new database they take a moment together, and on a large one each may take long.
    const isNew = todo.length === migrations.length;
    for (const migration of todo) {
      const durationMs = await apply(client, migration, log);
      log[isNew ? 'debug' : 'info']({ migration: migration.name, durationMs }, 'Migration applied');
    }
    if (isNew) log.info({ migrations: todo.length }, 'Applied all migrations to a new database');
    return { applied: todo.map((migration) => migration.name) };
  } finally {
    // If the connection was lost, the lock has already been released.
    await client.query('SELECT pg_advisory_unlock($1)', [migrationLock]).catch(() => {});
  }
}

/** Applies the missing migrations over a new connection; see `applyMigrations`. */
export async function migrateDatabase(
  databaseUrl: string,
  options: ApplyOptions,
): Promise<{ applied: string[] }> {
  const client = newClient(databaseUrl);
  await client.connect();
  try {
    return await applyMigrations(client, options);
  } finally {
    await client.end();
  }
}

/** Polls for the lock, because a session that waits inside a statement would block concurrent index builds. */
async function lock(client: Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ locked: boolean }>(
      'SELECT pg_try_advisory_lock($1) AS locked',
      [migrationLock],
    );
    if (rows[0]?.locked) return;
    await pause(LOCK_POLL_MS);
  }
}

interface Recorded {
  migration_name: string;
  checksum: string;
  finished_at: Date | null;
  logs: string | null;
}

async function pending(client: Client, migrations: Migration[], log: Logger): Promise<Migration[]> {
  const table = await client.query<{ found: boolean }>(
    `SELECT to_regclass('_prisma_migrations') IS NOT NULL AS found`,
  );
  if (!table.rows[0]?.found) return migrations;

  const { rows } = await client.query<Recorded>(
    `SELECT migration_name, checksum, finished_at, logs
     FROM _prisma_migrations WHERE rolled_back_at IS NULL ORDER BY started_at`,
  );
  const recorded = new Map(rows.map((row) => [row.migration_name, row]));
  for (const { migration_name, finished_at, logs } of rows) {
    if (finished_at !== null) continue;
    throw new MigrationFailed(
      migration_name,
      `Migration ${migration_name} was begun by another tool and did not finish${logs ? `: ${logs}` : ''}. ` +
        'Undo what it left behind, then mark it: UPDATE _prisma_migrations SET rolled_back_at = now() ' +
        `WHERE migration_name = '${migration_name}' AND finished_at IS NULL;`,
    );
  }

  const known = new Set(migrations.map((migration) => migration.name));
  const unknown = rows.map((row) => row.migration_name).filter((name) => !known.has(name));
  if (unknown.length > 0) {
    log.warn({ migrations: unknown }, 'The database is ahead of this version of the program');
  }
  const edited = migrations.filter(({ name, checksum }) => {
    const row = recorded.get(name);
    return row !== undefined && row.checksum !== checksum;
  });
  if (edited.length > 0) {
    log.warn(
      { migrations: edited.map((migration) => migration.name) },
      'Migrations were edited after they had been applied; the edits have no effect here',
    );
  }
  return migrations.filter((migration) => !recorded.has(migration.name));
}

/** @returns the duration in milliseconds. */
async function apply(client: Client, migration: Migration, log: Logger): Promise<number> {
  const { name, sql, checksum } = migration;
  const startedAt = new Date();
  try {
    const concurrently = buildsIndexesConcurrently(sql);
    if (concurrently) await runConcurrently(client, sql);
    const run = async (): Promise<void> => {
      if (!concurrently) await client.query(sql);
      await client.query(
        `INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
         VALUES ($1, $2, $3, $4, clock_timestamp(), 1)`,
        [randomUUID(), checksum, name, startedAt],
      );
    };
    while (!(await inTransaction(client, run))) {
      log.warn({ migration: name }, 'A migration waits for transactions that use its tables');
      await pause(TABLE_LOCK_PAUSE_MS);
    }
  } catch (error) {
    throw new MigrationFailed(name, `Migration ${name} failed: ${describe(error, sql)}`, {
      cause: error,
    });
  }
  return Date.now() - startedAt.getTime();
}

/** @returns false if a table is in use; nothing has then changed. */
async function inTransaction(client: Client, work: () => Promise<void>): Promise<boolean> {
  try {
    await client.query(`BEGIN; SET LOCAL lock_timeout = ${TABLE_LOCK_TIMEOUT_MS}`);
    await work();
    await client.query('COMMIT');
    return true;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    if (error instanceof DatabaseError && IN_USE.has(error.code ?? '')) return false;
    throw error;
  }
}

function describe(error: unknown, sql: string): string {
  if (!(error instanceof DatabaseError)) return String(error);
  const line = error.position
    ? ` (line ${sql.slice(0, Number(error.position) - 1).split('\n').length})`
    : '';
  return [`${error.message}${line}`, error.detail, error.hint].filter(Boolean).join('. ');
}

/** Same as the table that Prisma creates. */
const createMigrationsTable = `
  CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id                  VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum            VARCHAR(64) NOT NULL,
    finished_at         TIMESTAMPTZ,
    migration_name      VARCHAR(255) NOT NULL,
    logs                TEXT,
    rolled_back_at      TIMESTAMPTZ,
    started_at          TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count INTEGER NOT NULL DEFAULT 0
  )`;

export interface DiffOptions {
  /** An empty database to which the migrations are applied. */
  emptyDatabaseUrl: string;
  directory?: string;
  schema?: string;
  log: Logger;
}

/** The SQL that leads from the migrations to the Prisma schema. Undefined if they match. */
export async function diffFromMigrations(options: DiffOptions): Promise<string | undefined> {
  const { emptyDatabaseUrl, schema = schemaFile, log } = options;
  const directory = options.directory ?? migrationsDirectory;
  await migrateDatabase(emptyDatabaseUrl, { directory, log });

  const content = await readFile(schema, 'utf8');
  const files = [{ path: schema, content }];
  const pool = newPool(emptyDatabaseUrl);
  try {
    const engine = await loadSchemaEngine(pool, [[schema, content]]);
    const { exitCode, stdout } = await engine.diff({
      from: { tag: 'schemaDatasource', files, configDir: path.dirname(schema) },
      to: { tag: 'schemaDatamodel', files },
      script: true,
      exitCode: true,
      filters: { externalTables: [], externalEnums: [] },
    });
    engine.free();
    return exitCode === 0 ? undefined : (stdout ?? '');
  } finally {
    await pool.end();
  }
}

/** Part of the browser types, which this project does not load. */
declare const WebAssembly: {
  instantiate(
    bytes: Uint8Array,
    imports: Record<string, object>,
  ): Promise<{ instance: { exports: { __wbindgen_start(): void } } }>;
};

type SchemaEngineClass = typeof SchemaEngine;
let engineClass: Promise<SchemaEngineClass> | undefined;

/** Loads Prisma's engine: only in tools and tests, because it is slow, and only once, because it has global state. */
async function loadSchemaEngine(pool: Pool, datamodels: [string, string][]): Promise<SchemaEngine> {
  engineClass ??= loadEngineClass();
  const adapters = bindMigrationAwareSqlAdapterFactory(new CatalogAdapter(pool));
  return (await engineClass).new({ datamodels }, () => {}, adapters);
}

async function loadEngineClass(): Promise<SchemaEngineClass> {
  const require = createRequire(import.meta.url);
  const gluePath = require.resolve('@prisma/schema-engine-wasm/schema_engine_bg');
  const glue: { __wbg_set_wasm(exports: object): void; SchemaEngine: SchemaEngineClass } =
    await import(pathToFileURL(gluePath).href);
  const bytes = await readFile(path.join(path.dirname(gluePath), 'schema_engine_bg.wasm'));
  const { instance } = await WebAssembly.instantiate(bytes, { './schema_engine_bg.js': glue });
  // The engine reports panics here.
  Object.assign(globalThis, {
    PRISMA_WASM_PANIC_REGISTRY: {
      set_message(message: string) {
        throw new Error(`Prisma's schema engine: ${message}`);
      },
    },
  });
  glue.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start();
  return glue.SchemaEngine;
}

/**
 * PostgreSQL's catalog has columns of the type "char", which the engine reads but Prisma's adapter
 * does not support. They pass through the adapter as text and then get their type back.
 */
class CatalogAdapter extends PrismaPg {
  constructor(pool: Pool) {
    super(pool);
    this.#pool = pool;
  }

  readonly #pool: Pool;

  override async connect() {
    const characterColumns = new WeakMap<object, number[]>();
    const query = this.#pool.query.bind(this.#pool) as (
      config: QueryArrayConfig,
    ) => Promise<QueryArrayResult>;
    const disguise = async (config: QueryArrayConfig) => {
      const result = await query(config);
      const columns: number[] = [];
      for (const [index, field] of result.fields.entries()) {
        if (field.dataTypeID !== types.builtins.CHAR) continue;
        field.dataTypeID = types.builtins.TEXT;
        columns.push(index);
      }
      characterColumns.set(result.rows, columns);
      return result;
    };
    Object.assign(this.#pool, { query: disguise });

    const adapter = await super.connect();
    const queryRaw = adapter.queryRaw.bind(adapter);
    adapter.queryRaw = async (sql: SqlQuery) => {
      const result = await queryRaw(sql);
      for (const index of characterColumns.get(result.rows) ?? []) {
        result.columnTypes[index] = ColumnTypeEnum.Character;
      }
      return result;
    };
    return adapter;
  }
}
