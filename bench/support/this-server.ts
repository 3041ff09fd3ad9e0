/** This server as a contender: `npm start` with the benchmark's database and an API key. */
import path from 'node:path';
import type { BenchDatabase } from './database.ts';
import { freePort, run, type Server, startServer } from './processes.ts';

export const ENCRYPTION_KEY = 'a key for benchmarks, of at least 32 characters';

export interface ThisServer {
  /** Settings of the server. */
  env: Record<string, string>;
  /** Starts the server. `inspect` is the port of its inspector, if it should have one. */
  start(name?: string, inspect?: number): Promise<Server>;
}

/** This server, not started yet, with its own port. Limits are enforced, but too high to be reached. */
export async function prepareThisServer(
  database: BenchDatabase,
  settings: Record<string, string> = {},
): Promise<ThisServer> {
  const port = await freePort();
  const env = {
    DATABASE_URL: database.url,
    DATA_DIR: path.join(database.directory, `data-${port}`),
    ENCRYPTION_KEY,
    NODE_ENV: 'production',
    LOG_LEVEL: 'warn',
    DEMO_DATA: 'false',
    SIMULATOR_PORT: String(await freePort()),
    RATE_LIMIT_PER_MINUTE: '1000000',
    ...settings,
  };
  return {
    env,
    start: (name = 'this server', inspect) =>
      startServer({ name, args: ['src/main.ts'], env, ready: /GraphiQL/, port, inspect }),
  };
}

/** Starts this server. */
export async function startThisServer(
  database: BenchDatabase,
  settings: Record<string, string> = {},
  { inspect }: { inspect?: number } = {},
): Promise<{ server: Server; key: string; env: Record<string, string> }> {
  const { env, start } = await prepareThisServer(database, settings);
  const server = await start('this server', inspect);
  return { server, key: await keyOf(database.organizationId, env), env };
}

/** Creates an API key of an organization, by a command with the settings of the server. */
export async function keyOf(organizationId: string, env: Record<string, string>): Promise<string> {
  const output = await run(
    ['src/commands/organization.ts', '--key', `org_${organizationId}`],
    '',
    env,
  );
  const key = /truedy_\w{32}/.exec(output)?.[0];
  if (!key) throw new Error(`No API key in:\n${output}`);
  return key;
}
