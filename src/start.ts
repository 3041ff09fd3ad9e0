/** Starts the parts of the program in order, and stops them in reverse order. */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { premiumTargetListener } from './agents/premium-targets.ts';
import { analysisCallListener } from './analysis/analyze.ts';
import { type App, createApp } from './app.ts';
import { addCallListener } from './calls/listeners.ts';
import {
  CONFIRM_SECONDS,
  confirmUltravoxWebhook,
  registerUltravoxWebhook,
} from './calls/ultravox/webhook-registration.ts';
import { campaignCallListener } from './campaigns/calls.ts';
import type { Config } from './config.ts';
import { type DemoKey, demoIds, prepareDemo } from './demo/demo.ts';
import { checkUltravox, prepareDatabase, withStartLock } from './deployment/deployment.ts';
import { ConfigError } from './errors.ts';
import { startEmbeddedPostgres } from './infra/embedded-postgres/postgres.ts';
import { repeat } from './infra/jobs/repeat.ts';
import type { Logger } from './infra/logger.ts';
import { MigrationFailed } from './infra/migrations/migrations.ts';
import type { LanguageModelSettings } from './infra/outgoing/language-model.ts';
import { waitUntil } from './infra/wait-until.ts';
import { newApiKey } from './organizations/api-key-secret.ts';
import { addOrganizationListener } from './organizations/listeners.ts';
import { createOrganization } from './organizations/service.ts';
import { plainRoutes } from './routes.ts';
import { type RunningServer, startServer } from './server/server.ts';
import type { Simulator } from './simulator/simulator.ts';
import { webhookCallListener } from './webhooks/retention.ts';
import { JOB_DEFINITIONS, startWorker } from './worker.ts';

export interface Running {
  app: App;
  /** Null in a worker. */
  server: RunningServer | null;
  /** Null with a real Ultravox. */
  simulator: Simulator | null;
  /** Key of the demo organization; null with a real Ultravox. */
  demoKey: string | null;
  /** Key of the organization created by this start; null when none was created. */
  firstKey: string | null;
  /** Descriptions of the parts for the user. */
  parts: { database: string; bus: string; ultravox: string };
  /** Stops all parts. Safe to call twice. */
  close(): Promise<void>;
}

export interface StartOptions {
  /** Replaces the system clock in tests. */
  now?: () => Date;
  /** Serve on a free port when PORT is in use. */
  otherPort?: boolean;
}

const DEMO_KEY_FILE = 'demo-api-key';

/** Values shared by the functions that start a part. */
interface Setup extends StartOptions {
  config: Config;
  log: Logger;
  /** Absolute path of `DATA_DIR`. */
  dataDirectory: string;
  /** Registers the function that stops a part. Parts are stopped in reverse order. */
  onClose(stop: () => Promise<void>): void;
}

/**
 * Starts the embedded database and the simulator unless the settings name external ones, then the app, the server
 * and the worker.
 *
 * @throws the error of the part that fails to start, after stopping the parts already started.
 */
export async function start(
  config: Config,
  log: Logger,
  options: StartOptions = {},
): Promise<Running> {
  const stops: (() => Promise<void>)[] = [];
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      for (const stop of stops.reverse()) {
        await stop().catch((error: unknown) => log.error({ err: error }, 'Could not stop a part'));
      }
    })();
    return closing;
  };
  try {
    const dataDirectory = path.resolve(config.DATA_DIR);
    await mkdir(dataDirectory, { recursive: true });
    const onClose = (stop: () => Promise<void>): void => void stops.push(stop);
    const parts = await startParts({ ...options, config, log, dataDirectory, onClose });
    return { ...parts, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startParts(setup: Setup): Promise<Omit<Running, 'close'>> {
  const { config, log } = setup;
  const database = await startDatabase(setup);
  await migrate(database.url, config, log);
  const simulator = config.ULTRAVOX_API_KEY ? null : await startOwnSimulator(setup);
  const app = await startApp(setup, database.url, simulator);
  const demo = await prepareDeployment(setup, app, database.url);
  const demoKey = demo?.key ?? null;
  const server = config.ROLE === 'worker' ? null : await serve(setup, app, demoKey);
  if (config.ROLE !== 'api') await startWorker(app);
  if (demo?.fill) app.background('demo', demo.fill);
  // Last, because its key is shown only once: nothing that can fail may come between the commit and the output.
  const mayBeFirst = !demo && config.ROLE !== 'worker';
  const firstKey = mayBeFirst ? await createFirstOrganization(app, database.url) : null;
  return {
    app,
    server,
    simulator,
    demoKey,
    firstKey,
    parts: {
      database: database.description,
      bus: app.bus.kind === 'redis' ? 'Redis at REDIS_URL' : 'in this process',
      ultravox: simulator ? `simulator at ${simulator.url}` : config.ULTRAVOX_BASE_URL,
    },
  };
}

async function startDatabase({
  config,
  log,
  dataDirectory,
  onClose,
}: Setup): Promise<{ url: string; description: string }> {
  if (config.DATABASE_URL) {
    return { url: config.DATABASE_URL, description: 'PostgreSQL at DATABASE_URL' };
  }
  const directory = path.join(dataDirectory, 'postgres');
  const embedded = await startEmbeddedPostgres({ directory, log });
  onClose(() => embedded.stop());
  const place = path.relative(process.cwd(), directory) || directory;
  const reused = embedded.reused ? ' (found running)' : '';
  return { url: embedded.url, description: `embedded PostgreSQL in ${place}${reused}` };
}

async function startApp(
  { config, log, now, dataDirectory, onClose }: Setup,
  databaseUrl: string,
  simulator: Simulator | null,
): Promise<App> {
  const encryptionKey =
    config.ENCRYPTION_KEY ??
    (await storedSecret(dataDirectory, 'encryption-key', () => randomBytes(32).toString('hex')));
  const app = await createApp({
    config: simulator ? withReceiver(config, simulator) : config,
    databaseUrl,
    encryptionKey,
    ultravox: simulator
      ? { baseUrl: simulator.url, apiKey: simulator.apiKey }
      : { baseUrl: config.ULTRAVOX_BASE_URL, apiKey: config.ULTRAVOX_API_KEY ?? '' },
    languageModel: languageModelOf(config, simulator),
    jobDefinitions: JOB_DEFINITIONS,
    log,
    ...(now ? { now } : {}),
  });
  onClose(() => app.close());
  addCallListener(app, campaignCallListener);
  addCallListener(app, analysisCallListener);
  addCallListener(app, webhookCallListener);
  addOrganizationListener(app, premiumTargetListener);
  return app;
}

/**
 * Checks that the database belongs to this Ultravox, then prepares the demo organization.
 *
 * @returns null in a worker and with a real Ultravox, which have no demo.
 */
async function prepareDeployment(
  { config, dataDirectory }: Setup,
  app: App,
  databaseUrl: string,
): Promise<Awaited<ReturnType<typeof prepareDemo>> | null> {
  const hasDemo = !config.ULTRAVOX_API_KEY && config.ROLE !== 'worker';
  const demoKey = hasDemo ? await storedDemoKey(config, dataDirectory) : null;
  return withStartLock(databaseUrl, async () => {
    await checkUltravox(app);
    return demoKey && prepareDemo(app, demoKey);
  });
}

async function serve(
  { otherPort = false, onClose }: Setup,
  app: App,
  demoKey: string | null,
): Promise<RunningServer> {
  const server = await startServer({
    app,
    routes: plainRoutes(app),
    graphiql: { demoKey, ids: () => demoIds(app) },
    otherPort,
  });
  onClose(() => server.close());
  app.background('ensureUltravoxWebhook', () => registerWebhook(app, server.url));
  // In other processes, the worker confirms it.
  if (app.config.ROLE === 'api') onClose(confirmWebhookRegularly(app));
  return server;
}

/** @throws ConfigError when another server runs its simulator in the same directory. */
async function startOwnSimulator({ config, dataDirectory, onClose }: Setup): Promise<Simulator> {
  // Loaded only here: a process with a real Ultravox starts without the modules of the simulator.
  const [{ startSimulator }, { StoreInUseError }] = await Promise.all([
    import('./simulator/simulator.ts'),
    import('./simulator/store.ts'),
  ]);
  try {
    const simulator = await startSimulator({
      port: config.SIMULATOR_PORT,
      otherPort: true,
      databasePath: path.join(dataDirectory, 'simulator.db'),
      speed: config.SIMULATOR_SPEED,
    });
    onClose(() => simulator.close());
    return simulator;
  } catch (error) {
    if (!(error instanceof StoreInUseError)) throw error;
    throw new ConfigError([
      `DATA_DIR ${config.DATA_DIR} is in use by another server. Stop that server, or start this one with another directory: DATA_DIR=${path.join(config.DATA_DIR, 'second')} npm start`,
    ]);
  }
}

/** Returns a function that stops it. */
function confirmWebhookRegularly(app: App): () => Promise<void> {
  const failed = app.failures.recorder('ensureUltravoxWebhook');
  const stop = repeat(CONFIRM_SECONDS * 1000, () => confirmUltravoxWebhook(app).catch(failed));
  return async () => stop();
}

/** Retries until it succeeds. The server works without the webhook, because it also polls Ultravox for calls. */
async function registerWebhook(app: App, ownUrl: string): Promise<void> {
  for (let pauseMs = 1_000; !app.closing.aborted; pauseMs = Math.min(pauseMs * 2, 60_000)) {
    try {
      await registerUltravoxWebhook(app, ownUrl);
      return;
    } catch (error) {
      if (app.closing.aborted) return;
      app.failures.record('ensureUltravoxWebhook', error, {
        message: 'Could not register the webhook at Ultravox; will retry',
      });
      await pause(pauseMs, undefined, { signal: app.closing }).catch(() => undefined);
    }
  }
}

/** Allows webhooks to the receiver of the simulator, unless the settings name other addresses. */
function withReceiver(config: Config, simulator: Simulator): Config {
  const WEBHOOK_ALLOWED_URLS = config.WEBHOOK_ALLOWED_URLS ?? [receiverUrl(simulator)];
  return { ...config, WEBHOOK_ALLOWED_URLS };
}

function receiverUrl({ url }: Simulator): string {
  return `${url}/simulator/receiver/`;
}

/** The configured language model, or else that of the simulator. Null without either. */
function languageModelOf(
  config: Config,
  simulator: Simulator | null,
): LanguageModelSettings | null {
  const { ANALYSIS_BASE_URL: baseUrl, ANALYSIS_API_KEY: apiKey, ANALYSIS_MODEL: model } = config;
  if (baseUrl && model) return { baseUrl, apiKey: apiKey ?? null, model };
  if (!simulator) return null;
  return { baseUrl: `${simulator.url}/v1`, apiKey: simulator.apiKey, model: 'simulator' };
}

/** @returns the key of the new organization, which is shown once; null if an organization exists. */
function createFirstOrganization(app: App, databaseUrl: string): Promise<string | null> {
  return withStartLock(databaseUrl, async () => {
    if ((await app.db.organization.count()) > 0) return null;
    const { key } = await createOrganization(app, { name: 'My organization' });
    return key;
  });
}

/** @throws ConfigError when `DATABASE_URL` cannot be used. */
async function migrate(databaseUrl: string, config: Config, log: Logger): Promise<void> {
  try {
    await prepareDatabase({ databaseUrl, waitSeconds: config.DATABASE_WAIT_SECONDS, log });
  } catch (error) {
    if (!config.DATABASE_URL || error instanceof MigrationFailed || error instanceof ConfigError) {
      throw error;
    }
    const { message, code } = error as Error & { code?: string };
    throw new ConfigError([`DATABASE_URL cannot be used: ${message || code}`]);
  }
}

async function storedDemoKey(config: Config, directory: string): Promise<DemoKey> {
  if (config.DEMO_API_KEY) return { key: config.DEMO_API_KEY, renew: null };
  return {
    key: await storedSecret(directory, DEMO_KEY_FILE, newApiKey),
    async renew() {
      await rm(path.join(directory, DEMO_KEY_FILE));
      return storedSecret(directory, DEMO_KEY_FILE, newApiKey);
    },
  };
}

/** Reads a secret from a file that only this user can read, or creates it. */
async function storedSecret(directory: string, name: string, make: () => string): Promise<string> {
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
    // Another process may have created the file and not written it yet.
    let secret = '';
    await waitUntil(async () => {
      secret = (await readFile(file, 'utf8')).trim();
      return secret !== '';
    }, 2_000);
    if (!secret) throw new Error(`${file} is empty. Remove it, and a new one is created`);
    return secret;
  }
}
