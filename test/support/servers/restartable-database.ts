/** A PostgreSQL server that tests can crash and restart, with a stable address. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { startEmbeddedPostgres } from '../../../src/infra/embedded-postgres/postgres.ts';
import { createLogger } from '../../../src/infra/logger.ts';
import { until } from '../wait.ts';
import { startRelay } from './relay.ts';

export interface RestartableDatabase {
  /** URL for the processes under test. Does not change. */
  url: string;
  /** Ends the server like a crash of its machine, and starts it again after `downMs`. */
  crash(downMs: number): Promise<void>;
  /** Runs a statement and returns its rows. */
  // biome-ignore lint/suspicious/noExplicitAny: the rows of any statement
  query<Row = any>(statement: string, values?: readonly unknown[]): Promise<Row[]>;
  stop(): Promise<void>;
}

export interface RestartableDatabaseOptions {
  /** Whether a crash keeps every commit. If false, tests are faster, but a crash may lose the last commits. */
  durable: boolean;
}

export async function startRestartableDatabase({
  durable,
}: RestartableDatabaseOptions): Promise<RestartableDatabase> {
  const directory = await mkdtemp(path.join(tmpdir(), 'truedy-crash-'));
  const log = createLogger({ level: 'silent' });
  const launch = () => startEmbeddedPostgres({ directory, log, durable });
  let database = await launch();
  const relay = await startRelay(portOf(database.url));
  const url = new URL(database.url);
  url.port = String(relay.port);
  return {
    url: url.href,
    async crash(downMs) {
      const file = path.join(directory, 'data', 'postmaster.pid');
      const pid = Number((await readFile(file, 'utf8')).split('\n')[0]);
      process.kill(pid, 'SIGQUIT');
      await until('the end of the database', () => !isRunning(pid));
      await pause(downMs);
      database = await launch();
      relay.lead(portOf(database.url));
    },
    async query(statement, values = []) {
      const client = new Client({ connectionString: database.url });
      await client.connect();
      try {
        return (await client.query(statement, [...values])).rows;
      } finally {
        await client.end();
      }
    },
    async stop() {
      await relay.close();
      await database.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
