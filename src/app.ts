/**
 * Everything with an effect, in one value: built from the settings, handed to every service, and
 * closed in order. A test builds as many as it needs.
 */
import { PrismaPg } from '@prisma/adapter-pg';
import type { Config } from './config.ts';
import { PrismaClient } from './generated/prisma/client.ts';
import type { Bus } from './infra/bus.ts';
import { createInProcessBus, createRedisBus } from './infra/bus.ts';
import { type Cipher, createCipher } from './infra/cipher.ts';
import { type JobDefinition, type Jobs, startJobs } from './infra/jobs.ts';
import type { Logger } from './infra/logger.ts';
import { createUltravoxClient, type UltravoxClient } from './ultravox/client.ts';

export interface App {
  readonly config: Config;
  readonly db: PrismaClient;
  readonly bus: Bus;
  readonly jobs: Jobs;
  readonly ultravox: UltravoxClient;
  readonly cipher: Cipher;
  readonly log: Logger;
  /** The clock, so that a test can move it. */
  readonly now: () => Date;
  /** Runs a piece of work that outlives the request that began it; `close` waits for it. */
  readonly background: (name: string, work: () => Promise<void>) => void;
  /** Aborted when the app begins to close. */
  readonly closing: AbortSignal;
  readonly close: () => Promise<void>;
}

/** A transaction of the database, as services pass it on. */
export type Tx = Parameters<Parameters<PrismaClient['$transaction']>[0]>[0];

export interface AppOptions {
  config: Config;
  databaseUrl: string;
  encryptionKey: string;
  ultravox: { baseUrl: string; apiKey: string };
  /** The queues to create; who takes their jobs is decided in `worker.ts`. */
  jobDefinitions: readonly JobDefinition<never>[];
  log: Logger;
  now?: () => Date;
}

export async function createApp(options: AppOptions): Promise<App> {
  const { config, databaseUrl, log } = options;
  const db = new PrismaClient({
    adapter: new PrismaPg({ connectionString: databaseUrl, max: 20 }),
    transactionOptions: { maxWait: 10_000, timeout: 20_000 },
    // Only emitted where somebody listens, which is how tests count statements.
    log: [{ emit: 'event', level: 'query' }],
  });
  const bus = config.REDIS_URL
    ? createRedisBus({ url: config.REDIS_URL, log })
    : createInProcessBus();
  const jobs = await startJobs({
    databaseUrl,
    definitions: options.jobDefinitions,
    log,
    worker: config.ROLE !== 'api',
  });
  const closing = new AbortController();
  const running = new Set<Promise<void>>();

  return {
    config,
    db,
    bus,
    jobs,
    ultravox: createUltravoxClient({
      ...options.ultravox,
      timeoutMs: config.ULTRAVOX_TIMEOUT_SECONDS * 1000,
    }),
    cipher: createCipher(options.encryptionKey),
    log,
    now: options.now ?? (() => new Date()),
    closing: closing.signal,
    background(name, work) {
      const promise = work()
        .catch((error: unknown) => log.error({ work: name, err: error }, 'Background work failed'))
        .finally(() => running.delete(promise));
      running.add(promise);
    },
    async close() {
      closing.abort();
      await jobs.stop();
      // What runs may begin more of it.
      while (running.size > 0) await Promise.allSettled(running);
      await bus.close();
      await db.$disconnect();
    },
  };
}
