import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { inject } from 'vitest';
import { createLogger } from '../../src/infra/logger.ts';
import { applyMigrations } from '../../src/infra/migrations.ts';
import { startEmbeddedPostgres } from '../../src/infra/postgres.ts';

const home = path.join(tmpdir(), 'truedy-test-');
const template = 'test_template';
const log = createLogger({ level: 'warn' });

export interface TestDatabase {
  url: string;
  drop(): Promise<void>;
}

/** Starts the PostgreSQL of a test run, with a migrated database that every test gets a copy of. */
export async function startTestPostgres(): Promise<{
  adminUrl: string;
  stop(): Promise<void>;
}> {
  const directory = await mkdtemp(home);
  const server = await startEmbeddedPostgres({ directory, log, durable: false });
  const stop = async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const adminUrl = withDatabase(server.url, 'postgres');
    await administer(adminUrl, `CREATE DATABASE ${template}`);
    await applyMigrations({ databaseUrl: withDatabase(adminUrl, template), log });
    await administer(adminUrl, `ALTER DATABASE ${template} IS_TEMPLATE true`);
    return { adminUrl, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A migrated database of the caller's own. `empty` leaves the migrations out. */
export async function createTestDatabase({
  empty = false,
  adminUrl = inject('databaseAdminUrl'),
} = {}): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await administer(adminUrl, `CREATE DATABASE ${name} TEMPLATE ${empty ? 'template0' : template}`);
  return {
    url: withDatabase(adminUrl, name),
    drop: () => administer(adminUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

/** Refuses every server but one that was started for a test run. */
async function administer(adminUrl: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ directory: string | null }>(
      `SELECT current_setting('embedded.directory', true) AS directory`,
    );
    if (!path.basename(rows[0]?.directory ?? '').startsWith(path.basename(home))) {
      throw new Error('This is not a PostgreSQL of a test run; tests leave it alone');
    }
    await client.query(sql);
  } finally {
    await client.end();
  }
}

function withDatabase(url: string, name: string): string {
  const result = new URL(url);
  result.pathname = `/${name}`;
  return result.href;
}
