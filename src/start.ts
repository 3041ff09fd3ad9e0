/** Brings the parts up in order, whatever of them is ours to run, and takes them down again. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type App, createApp } from './app.ts';
import {
  ensureUltravoxWebhook,
  receiveUltravoxWebhook,
  ULTRAVOX_WEBHOOK_PATH,
} from './calls/ultravox-webhooks.ts';
import type { Config } from './config.ts';
import { DOWNLOAD_PATH, download } from './contacts/export.ts';
import { type DemoKey, demoIds, prepareDemo } from './demo.ts';
import { checkUltravox, oneAtATime } from './deployment.ts';
import { ConfigError } from './errors.ts';
import { type PlainEndpoint, type RunningServer, startServer } from './graphql/server.ts';
import type { Logger } from './infra/logger.ts';
import { applyMigrations, MigrationFailed } from './infra/migrations.ts';
import { startEmbeddedPostgres } from './infra/postgres.ts';
import { createOrganization, newApiKey } from './organizations/service.ts';
import { type Simulator, startSimulator } from './simulator/simulator.ts';
import { JOB_DEFINITIONS, startWorker } from './worker.ts';

export interface Running {
  app: App;
  /** Absent in a worker. */
  server: RunningServer | null;
  /** Absent with a real Ultravox. */
  simulator: Simulator | null;
  /** The key of the demo organization; null with a real Ultravox. */
  demoKey: string | null;
  /** The key of the organization made at this start, when there was none and no demo. */
  firstKey: string | null;
  /** For people: what each part is. */
  parts: { database: string; bus: string; ultravox: string };
  /** In the opposite order. Safe to call twice. */
  close(): Promise<void>;
}

export interface StartOptions {
  /** Another clock than the machine's, for a test that moves it. */
  now?: () => Date;
}

const DEMO_KEY_FILE = 'demo-api-key';
const REFUSED_WEBHOOKS_TOLD_EVERY_MS = 60_000;

/**
 * @throws whatever keeps a part from starting; what was already up is taken down first.
 */
export async function start(
  config: Config,
  log: Logger,
  { now }: StartOptions = {},
): Promise<Running> {
  const undo: (() => Promise<void>)[] = [];
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      for (const step of undo.reverse()) {
        await step().catch((error: unknown) => log.error({ err: error }, 'A part did not stop'));
      }
    })();
    return closing;
  };

  try {
    const dataDirectory = path.resolve(config.DATA_DIR);
    await mkdir(dataDirectory, { recursive: true });

    let databaseUrl = config.DATABASE_URL;
    let database = 'PostgreSQL at DATABASE_URL';
    if (!databaseUrl) {
      const directory = path.join(dataDirectory, 'postgres');
      const embedded = await startEmbeddedPostgres({ directory, log });
      undo.push(() => embedded.stop());
      databaseUrl = embedded.url;
      database = `embedded PostgreSQL in ${path.relative(process.cwd(), directory) || directory}${embedded.reused ? ' (found running)' : ''}`;
    }
    await migrate(databaseUrl, config, log);

    const encryptionKey =
      config.ENCRYPTION_KEY ??
      (await keptSecret(dataDirectory, 'encryption-key', () => randomBytes(32).toString('hex')));

    let simulator: Simulator | null = null;
    if (!config.ULTRAVOX_API_KEY) {
      simulator = await startSimulator({
        port: config.SIMULATOR_PORT,
        databasePath: path.join(dataDirectory, 'simulator.db'),
        speed: config.SIMULATOR_SPEED,
      });
      const running = simulator;
      undo.push(() => running.close());
    }

    const app = await createApp({
      config,
      databaseUrl,
      encryptionKey,
      ultravox: simulator
        ? { baseUrl: simulator.url, apiKey: simulator.apiKey }
        : { baseUrl: config.ULTRAVOX_BASE_URL, apiKey: config.ULTRAVOX_API_KEY ?? '' },
      jobDefinitions: JOB_DEFINITIONS,
      log,
      ...(now ? { now } : {}),
    });
    undo.push(() => app.close());

    const demoGiven: DemoKey | null =
      simulator && config.ROLE !== 'worker' ? await keptDemoKey(config, dataDirectory) : null;
    const { demo, firstKey } = await oneAtATime(databaseUrl, 'start', async () => {
      await checkUltravox(app);
      if (demoGiven) return { demo: await prepareDemo(app, demoGiven), firstKey: null };
      const firstKey = config.ROLE === 'worker' ? null : await firstOrganization(app);
      return { demo: null, firstKey };
    });
    const demoKey = demo?.key ?? null;

    let server: RunningServer | null = null;
    if (config.ROLE !== 'worker') {
      server = await startServer({
        app,
        endpoints: endpoints(app),
        graphiql: { demoKey, ids: () => demoIds(app) },
      });
      const running = server;
      undo.push(() => running.close());
      const url = databaseUrl;
      app.background('ensureUltravoxWebhook', () => registerWebhook(app, url, running.url));
    }
    if (config.ROLE !== 'api') await startWorker(app);
    if (demo?.fill) app.background('demo', demo.fill);

    return {
      app,
      server,
      simulator,
      demoKey,
      firstKey,
      parts: {
        database,
        bus: app.bus.kind === 'redis' ? 'Redis at REDIS_URL' : 'in this process',
        ultravox: simulator ? `simulator at ${simulator.url}` : config.ULTRAVOX_BASE_URL,
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Until it succeeds: the server is of use before Ultravox can be reached, and calls are looked up. */
async function registerWebhook(app: App, databaseUrl: string, ownUrl: string): Promise<void> {
  for (let pauseMs = 1_000; !app.closing.aborted; pauseMs = Math.min(pauseMs * 2, 60_000)) {
    try {
      await oneAtATime(databaseUrl, 'webhook', () =>
        ensureUltravoxWebhook(app, app.config.PUBLIC_URL ?? ownUrl),
      );
      return;
    } catch (error) {
      app.log.warn({ err: error }, 'The webhook could not be registered at Ultravox; trying again');
      await pause(pauseMs, undefined, { signal: app.closing }).catch(() => undefined);
    }
  }
}

function endpoints(app: App): Record<string, PlainEndpoint> {
  const refused = { since: 0, count: 0 };
  return {
    [`POST ${ULTRAVOX_WEBHOOK_PATH}`]: async (request) => {
      const answer = await receiveUltravoxWebhook(app, request);
      if (answer.status >= 400) {
        refused.count += 1;
        if (Date.now() - refused.since >= REFUSED_WEBHOOKS_TOLD_EVERY_MS) {
          app.log.warn(
            { status: answer.status, reason: answer.body, count: refused.count },
            'A webhook was refused: forged, too old, or signed with the secret of another ENCRYPTION_KEY',
          );
          Object.assign(refused, { since: Date.now(), count: 0 });
        }
      }
      return answer;
    },
    [`GET ${DOWNLOAD_PATH}`]: async (request) => download(app, request),
    'GET /health': async () => {
      await app.db.$queryRaw`SELECT 1`;
      return { status: 200, body: '{"status":"ok"}', contentType: 'application/json' };
    },
  };
}

/** Without a demo, an empty database gets an organization and a key, told once. */
async function firstOrganization(app: App): Promise<string | null> {
  if ((await app.db.organization.count()) > 0) return null;
  const { key } = await createOrganization(app, { name: 'My organization' });
  return key;
}

/** @throws ConfigError when the database of the settings cannot be used as they say. */
async function migrate(databaseUrl: string, config: Config, log: Logger): Promise<void> {
  try {
    await applyMigrations({ databaseUrl, log });
  } catch (error) {
    if (!config.DATABASE_URL || error instanceof MigrationFailed) throw error;
    const { message, code } = error as Error & { code?: string };
    throw new ConfigError([`DATABASE_URL cannot be used: ${message || code}`]);
  }
}

async function keptDemoKey(config: Config, directory: string): Promise<DemoKey> {
  if (config.DEMO_API_KEY) return { key: config.DEMO_API_KEY, renew: null };
  return {
    key: await keptSecret(directory, DEMO_KEY_FILE, newApiKey),
    async renew() {
      await rm(path.join(directory, DEMO_KEY_FILE));
      return keptSecret(directory, DEMO_KEY_FILE, newApiKey);
    },
  };
}

/** A secret that is made once and kept in a file only we can read. */
async function keptSecret(directory: string, name: string, make: () => string): Promise<string> {
  const file = path.join(directory, name);
  try {
    const handle = await open(file, 'wx', 0o600);
    const secret = make();
    await handle.writeFile(secret);
    await handle.sync();
    await handle.close();
    return secret;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const secret = (await readFile(file, 'utf8')).trim();
    if (!secret) throw new Error(`${file} is empty; remove it to have a new one made`);
    return secret;
  }
}
