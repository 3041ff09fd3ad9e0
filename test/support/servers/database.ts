import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Client } from 'pg';
import { inject } from 'vitest';
import { prepareDatabase } from '../../../src/deployment/deployment.ts';
import { newClient } from '../../../src/infra/database/connections.ts';
import { startEmbeddedPostgres } from '../../../src/infra/embedded-postgres/postgres.ts';
import { createFailures } from '../../../src/infra/failures.ts';
import { startJobs } from '../../../src/infra/jobs/jobs.ts';
import { createLogger } from '../../../src/infra/logger.ts';
import { JOB_DEFINITIONS } from '../../../src/worker.ts';

const home = path.join(tmpdir(), 'truedy-test-');
/**
 * Not UTC, and with a half-hour offset, so that tests fail if a connection leaves its session in the
 * time zone of the server.
 */
const SERVER_TIME_ZONE = 'Asia/Kolkata';
/** Leaves room for the name of the socket: a path has at most 107 bytes on Linux, 103 on macOS. */
const MAX_SOCKET_DIRECTORY = 75;
const template = 'test_template';
const log = createLogger({ level: 'warn' });

export interface TestDatabase {
  url: string;
  drop(): Promise<void>;
}

/** Starts the PostgreSQL server of a test run, with a migrated template database for the databases of the tests. */
export async function startTestPostgres(): Promise<{
  adminUrl: string;
  stop(): Promise<void>;
}> {
  const directory = await mkdtemp(home);
  const server = await startEmbeddedPostgres({
    directory,
    log,
    durable: false,
    timezone: SERVER_TIME_ZONE,
    unixSocket: process.platform !== 'win32' && directory.length <= MAX_SOCKET_DIRECTORY,
  });
  const stop = async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const adminUrl = withDatabase(server.url, 'postgres');
    await administer(adminUrl, `CREATE DATABASE ${template}`);
    const databaseUrl = withDatabase(adminUrl, template);
    await prepareDatabase({ databaseUrl, waitSeconds: 10, log });
    await createJobTables(databaseUrl);
    await administer(adminUrl, `ALTER DATABASE ${template} IS_TEMPLATE true`);
    return { adminUrl, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Creates the tables and queues of pg-boss, so that servers do not have to. */
async function createJobTables(databaseUrl: string): Promise<void> {
  const failures = createFailures({ log });
  const jobs = await startJobs({
    databaseUrl,
    definitions: JOB_DEFINITIONS,
    failures,
    worker: false,
  });
  await jobs.stop();
}

/** Creates a migrated database, or one without migrations if `empty`. */
export async function createTestDatabase({
  empty = false,
  adminUrl = inject('databaseAdminUrl'),
} = {}): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const source = empty ? 'template0' : template;
  // Takes a third of the CPU time of the default strategy, which writes each page to the WAL.
  await administer(adminUrl, `CREATE DATABASE ${name} TEMPLATE ${source} STRATEGY FILE_COPY`);
  return {
    url: withDatabase(adminUrl, name),
    drop: () => administer(adminUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

interface Administrator {
  connecting: Promise<Client>;
  /** Settles when the statements so far have ended. */
  done: Promise<unknown>;
}

/** Connections by PostgreSQL URL. They stay open, because a worker creates many databases. */
const administrators = new Map<string, Administrator>();

/** Runs SQL, one statement after another. Throws unless the server was started for a test run. */
async function administer(adminUrl: string, sql: string): Promise<void> {
  let administrator = administrators.get(adminUrl);
  if (!administrator) {
    const connecting = connectToTestPostgres(adminUrl);
    administrator = { connecting, done: connecting.catch(() => administrators.delete(adminUrl)) };
    administrators.set(adminUrl, administrator);
  }
  const client = await administrator.connecting;
  const statement = administrator.done.then(() => client.query(sql));
  administrator.done = statement.catch(() => undefined);
  await statement;
}

async function connectToTestPostgres(adminUrl: string): Promise<Client> {
  const client = newClient(adminUrl);
  client.on('end', () => administrators.delete(adminUrl));
  await client.connect();
  const { rows } = await client.query<{ directory: string | null }>(
    `SELECT current_setting('embedded.directory', true) AS directory`,
  );
  if (!path.basename(rows[0]?.directory ?? '').startsWith(path.basename(home))) {
    await client.end();
    throw new Error(
      'Tests refuse to use this PostgreSQL, because it was not started by a test run',
    );
  }
  return client;
}

function withDatabase(url: string, name: string): string {
  const result = new URL(url);
  result.pathname = `/${name}`;
  return result.href;
}
