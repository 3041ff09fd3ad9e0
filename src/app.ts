/**
 * All dependencies with side effects in one value, created from the settings and passed to every service.
 * A process may have several, as in tests.
 */
import type { Pool } from 'pg';
import type { Config } from './config.ts';
import { PrismaClient } from './generated/prisma/client.ts';
import { TABLES } from './generated/tables.ts';
import type { Bus } from './infra/bus.ts';
import { createInProcessBus, createRedisBus } from './infra/bus.ts';
import { type Cipher, createCipher } from './infra/cipher.ts';
import { adapterOf, newQueryPool } from './infra/database/connections.ts';
import { createStatementNames, type StatementName } from './infra/database/prepared-statements.ts';
import { MAX_CONCURRENT_SNAPSHOTS } from './infra/database/snapshot.ts';
import { createFailures, type Failures } from './infra/failures.ts';
import { JOB_CONNECTIONS, type JobDefinition, type Jobs, startJobs } from './infra/jobs/jobs.ts';
import type { Logger } from './infra/logger.ts';
import {
  createLanguageModel,
  type LanguageModel,
  type LanguageModelSettings,
} from './infra/outgoing/language-model.ts';
import { perInstance, variantOf } from './infra/per-instance.ts';
import { createRowReader, type RowReader } from './infra/rows/row-reader.ts';
import { type AccountPause, createAccountPause } from './ultravox/account-pause.ts';
import { createUltravoxClient, type UltravoxClient } from './ultravox/client.ts';

export interface App {
  readonly config: Config;
  readonly db: PrismaClient;
  /** Runs most read queries, faster than `db`. */
  readonly rows: RowReader;
  /** `db` and `rows` for `forReading`. They cancel a statement after READ_TIMEOUT_SECONDS. */
  readonly limited: Pick<App, 'db' | 'rows'>;
  /** `db` for `inSnapshot`, whose transactions may hold their connections for an hour. */
  readonly snapshots: Pick<App, 'db'>;
  readonly bus: Bus;
  readonly jobs: Jobs;
  readonly ultravox: UltravoxClient;
  /** Analyzes calls. Null when none is configured. */
  readonly languageModel: LanguageModel | null;
  readonly cipher: Cipher;
  readonly log: Logger;
  /** Counts handled failures and logs a sample of them. */
  readonly failures: Failures;
  /** The clock, which tests replace. */
  readonly now: () => Date;
  /** Runs work that continues after the request that started it. `close` waits for it. */
  readonly background: (name: string, work: () => Promise<void>) => void;
  /** Aborted at the start of `close`. */
  readonly closing: AbortSignal;
  readonly close: () => Promise<void>;
}

/**
 * Maximum number of prepared statements, without those whose texts depend on what clients select, filter and sort by:
 * these have a number of their own, so that no client uses up that of the others.
 */
const MAX_NAMED = 500;
const MAX_NAMED_SELECTS = 250;

/** A database transaction. */
export type Tx = Parameters<Parameters<PrismaClient['$transaction']>[0]>[0];

export interface AppOptions {
  config: Config;
  databaseUrl: string;
  encryptionKey: string;
  ultravox: { baseUrl: string; apiKey: string };
  languageModel: LanguageModelSettings | null;
  /** Job queues to create. Their handlers are in `worker.ts`. */
  jobDefinitions: readonly JobDefinition<never>[];
  log: Logger;
  now?: () => Date;
}

/** Splits the connections of the process: a fixed number for jobs and snapshots; a third of the rest for reading. */
export function shareConnections(all: number): { writing: number; reading: number } {
  const shared = all - JOB_CONNECTIONS - MAX_CONCURRENT_SNAPSHOTS;
  const reading = Math.floor(shared / 3);
  return { reading, writing: shared - reading };
}

export async function createApp(options: AppOptions): Promise<App> {
  const { config, databaseUrl, log } = options;
  const namesFor = (max: number) =>
    config.PREPARED_STATEMENTS ? createStatementNames(max) : () => '';
  const names = { nameOf: namesFor(MAX_NAMED), nameOfSelect: namesFor(MAX_NAMED_SELECTS) };
  const connections = shareConnections(config.DATABASE_CONNECTIONS);
  const main = openDatabase(newQueryPool(databaseUrl, { max: connections.writing }), names);
  const limited = openDatabase(
    newQueryPool(databaseUrl, {
      max: connections.reading,
      statementTimeoutMs: config.READ_TIMEOUT_SECONDS * 1000,
    }),
    names,
    // What clients select is also read with Prisma.
    names.nameOfSelect,
  );
  // Not prepared: the statements of exports have many different texts, and run for long.
  const unnamed = { nameOf: () => '', nameOfSelect: () => '' };
  const snapshots = openDatabase(
    newQueryPool(databaseUrl, { max: MAX_CONCURRENT_SNAPSHOTS }),
    unnamed,
  );
  const failures = createFailures({ log });
  const bus = config.REDIS_URL
    ? createRedisBus({ url: config.REDIS_URL, log, failures })
    : createInProcessBus(failures);
  const pause = sharedPause(bus);
  const jobs = await startJobs({
    databaseUrl,
    definitions: options.jobDefinitions,
    failures,
    worker: config.ROLE !== 'api',
  });
  const closing = new AbortController();
  const running = new Set<Promise<void>>();

  return {
    config,
    db: main.db,
    rows: main.rows,
    limited,
    snapshots,
    bus,
    jobs,
    ultravox: createUltravoxClient({
      ...options.ultravox,
      timeoutMs: config.ULTRAVOX_TIMEOUT_SECONDS * 1000,
      pause,
      onSkippedItem: failures.recorder('readUltravoxList', {
        message: 'An item of a list of Ultravox is invalid and was skipped',
      }),
    }),
    languageModel: options.languageModel && createLanguageModel(options.languageModel),
    cipher: createCipher(options.encryptionKey),
    log,
    failures,
    now: options.now ?? (() => new Date()),
    closing: closing.signal,
    background(name, work) {
      const promise = work()
        .catch(
          failures.recorder(name, { level: 'error', message: `Background work failed: ${name}` }),
        )
        .finally(() => running.delete(promise));
      running.add(promise);
    },
    async close() {
      closing.abort();
      await jobs.stop();
      // Running work may start more work.
      while (running.size > 0) await Promise.allSettled(running);
      await bus.close();
      await Promise.all([main, limited, snapshots].map((each) => each.close()));
      failures.close();
    },
  };
}

const PAUSE_TOPIC = 'ultravoxPause';

/**
 * Pause of requests to the Ultravox account, shared by all processes. A process that misses the message gets its
 * own refusal from Ultravox.
 */
function sharedPause(bus: Bus): AccountPause {
  const pause = createAccountPause((seconds) => bus.publish(PAUSE_TOPIC, seconds));
  bus.subscribe(PAUSE_TOPIC, (seconds) => pause.extend(Number(seconds) || 0));
  return pause;
}

/**
 * The app that queries and subscriptions read with. It has its own connections, so slow reads do not take those
 * of jobs and mutations. A statement fails after READ_TIMEOUT_SECONDS.
 */
export const forReading = perInstance((app: App) =>
  variantOf(app, {
    get db() {
      return app.limited.db;
    },
    rows: app.limited.rows,
  }),
);

interface Database {
  /** Created on first use, since a client takes 16 MB and stops the event loop for tens of milliseconds. */
  readonly db: PrismaClient;
  rows: RowReader;
  close(): Promise<void>;
}

function openDatabase(
  pool: Pool,
  names: Record<'nameOf' | 'nameOfSelect', StatementName>,
  nameOfPrisma = names.nameOf,
): Database {
  let client: PrismaClient | null = null;
  return {
    get db() {
      client ??= new PrismaClient({
        adapter: adapterOf(pool, { statementNameGenerator: ({ sql }) => nameOfPrisma(sql) }),
        transactionOptions: { maxWait: 10_000, timeout: 20_000 },
        // Tests count statements with these events.
        log: [{ emit: 'event', level: 'query' }],
      });
      return client;
    },
    rows: createRowReader({ pool, tables: TABLES, ...names }),
    async close() {
      await client?.$disconnect();
      await pool.end();
    },
  };
}
