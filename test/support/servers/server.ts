/** Starts a server for a test: database, simulator, API and worker, over real sockets. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Config, readConfig } from '../../../src/config.ts';
import { createLogger } from '../../../src/infra/logger.ts';
import { createOrganization } from '../../../src/organizations/service.ts';
import type { SimulatorSettings } from '../../../src/simulator/settings.ts';
import type { Simulator } from '../../../src/simulator/simulator.ts';
import { type Running, start } from '../../../src/start.ts';
import { createClient, type GraphQLClient } from '../graphql.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

export interface TestServer extends Running {
  url: string;
  /** Client of the first organization, with every scope. */
  client: GraphQLClient;
  key: string;
  organizationId: string;
  database: TestDatabase;
  simulator: Simulator;
  /** Creates another organization, with a key that has every scope. */
  newOrganization(name?: string): Promise<{ client: GraphQLClient; key: string; id: string }>;
}

export interface TestServerOptions {
  settings?: Partial<Record<keyof Config, string>>;
  simulator?: Partial<SimulatorSettings>;
  /** Uses an existing database, like a second process. */
  database?: TestDatabase;
  /** Starts a second process with the database, Ultravox, public address and keys of this server. */
  beside?: TestServer;
  /** Uses this simulator in place of Ultravox. */
  ultravox?: Simulator;
  /** Replaces the system clock. */
  now?: () => Date;
}

/** Calls run at fifty times normal speed, with high limits unless a test sets them. */
const DEFAULTS: Partial<Record<keyof Config, string>> = {
  PORT: '0',
  SIMULATOR_PORT: '0',
  SIMULATOR_SPEED: '50',
  DEMO_DATA: 'false',
  // Few, since opening a connection costs the client and the server more than a dozen statements.
  DATABASE_CONNECTIONS: '16',
  ULTRAVOX_MAX_CALLS_PER_SECOND: '1000',
  ULTRAVOX_MAX_CALLS_PER_MINUTE: '10000',
  ULTRAVOX_MAX_CONCURRENT_CALLS: '1000',
  RATE_LIMIT_PER_MINUTE: '0',
  CALL_CHECK_SECONDS: '2',
  CALL_LOST_AFTER_SECONDS: '5',
  CALL_REFUSED_AFTER_SECONDS: '3',
  EVENT_POLL_SECONDS: '0.5',
  RUN_INTERVAL_SECONDS: '0.1',
  LOG_LEVEL: 'error',
};

/** Without summaries, the bill is the last event of a call. Tests enable them as needed. */
const SIMULATOR: Partial<SimulatorSettings> = { summaryDelaySeconds: 100_000 };

/** Starts a second process that serves requests and runs no jobs. */
export function startApiBeside(beside: TestServer): Promise<TestServer> {
  return startTestServer({ beside, settings: { ROLE: 'api' } });
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { beside } = options;
  const given = options.database ?? beside?.database;
  const database = given ?? (await createTestDatabase());
  const directory = await mkdtemp(path.join(tmpdir(), 'truedy-server-'));
  const demoKey = `truedy_${randomBytes(16).toString('hex')}`;
  const config = readConfig({
    ...DEFAULTS,
    DATABASE_URL: database.url,
    ENCRYPTION_KEY: 'a key for tests, of at least 32 characters',
    DATA_DIR: directory,
    DEMO_API_KEY: demoKey,
    ...(beside
      ? {
          ULTRAVOX_API_KEY: beside.simulator.apiKey,
          ULTRAVOX_BASE_URL: beside.simulator.url,
          PUBLIC_URL: beside.url,
        }
      : {}),
    ...(options.ultravox
      ? { ULTRAVOX_API_KEY: options.ultravox.apiKey, ULTRAVOX_BASE_URL: options.ultravox.url }
      : {}),
    ...options.settings,
  });
  const running = await start(config, createLogger({ level: config.LOG_LEVEL }), {
    ...(options.now ? { now: options.now } : {}),
  }).catch(async (error: unknown) => {
    await rm(directory, { recursive: true, force: true });
    throw error;
  });
  await running.simulator?.updateSettings({ ...SIMULATOR, ...options.simulator });
  const url = running.server!.url;
  const key = beside?.key ?? running.firstKey ?? demoKey;
  const organization = await running.app.db.organization.findFirstOrThrow({
    orderBy: { createdAt: 'asc' },
  });
  return {
    ...running,
    url,
    key,
    database,
    simulator: running.simulator ?? options.ultravox ?? beside!.simulator,
    organizationId: organization.id,
    client: createClient(url, key),
    async newOrganization(name = 'Another organization') {
      const made = await createOrganization(running.app, { name });
      return { id: made.organization.id, key: made.key, client: createClient(url, made.key) };
    },
    async close() {
      await running.close();
      if (!given) await database.drop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
