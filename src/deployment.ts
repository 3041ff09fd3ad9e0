/** What a database remembers of the deployment it belongs to, and what processes do one at a time. */
import { Client } from 'pg';
import type { App } from './app.ts';
import { type Config, isLoopback } from './config.ts';
import { ConfigError } from './errors.ts';

/** Any numbers, so long as every process uses the same ones and nothing else does. */
const LOCKS = { start: 7_384_120_562, webhook: 7_384_120_563 } as const;

const ULTRAVOX = 'ultravox';
const DEMO_ORGANIZATION = 'demo_organization';
const SIMULATOR = 'simulator';

/** Runs `work` while no other process that shares the database does. */
export async function oneAtATime<T>(
  databaseUrl: string,
  lock: keyof typeof LOCKS,
  work: () => Promise<T>,
): Promise<T> {
  const client = new Client({ connectionString: databaseUrl });
  client.on('error', () => {}); // a lost connection gives the lock back, as does its end
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock($1)', [LOCKS[lock]]);
    return await work();
  } finally {
    await client.end();
  }
}

/**
 * The simulator, ours or one that runs on this machine, or an account at Ultravox. Of its key only
 * the part that is no secret.
 */
function nameOfUltravox(config: Config): string {
  const { ULTRAVOX_API_KEY: key, ULTRAVOX_BASE_URL: url } = config;
  if (!key || isLoopback(url)) return SIMULATOR;
  return `${new URL(url).origin}, key ${key.slice(0, 8)}`;
}

/**
 * A database belongs to one Ultravox: what is in it exists there, and nowhere else. This also keeps
 * a start without ULTRAVOX_API_KEY, which shows the key of the demo, off a database of real use.
 *
 * @throws ConfigError when it belongs to another
 */
export async function checkUltravox(app: Pick<App, 'db' | 'config'>): Promise<void> {
  const value = nameOfUltravox(app.config);
  const stored = await app.db.setting.findUnique({ where: { name: ULTRAVOX } });
  if (stored?.value === value) return;
  if (stored && !app.config.ALLOW_ULTRAVOX_CHANGE) {
    throw new ConfigError([
      `ULTRAVOX_API_KEY does not go with this database: it belongs to ${inWords(stored.value)}, and these settings are for ${inWords(value)}. Give it a database of its own (another DATABASE_URL or DATA_DIR), or set ALLOW_ULTRAVOX_CHANGE=true to go on with this one; what is in it does not exist there`,
    ]);
  }
  await app.db.setting.upsert({
    where: { name: ULTRAVOX },
    create: { name: ULTRAVOX, value },
    update: { value },
  });
}

function inWords(value: string): string {
  return value === SIMULATOR ? 'the simulator' : value;
}

/** The id the demo organization has, or had: it is remembered before the organization is made. */
export async function demoOrganizationId(db: App['db']): Promise<string | null> {
  const stored = await db.setting.findUnique({ where: { name: DEMO_ORGANIZATION } });
  return stored?.value ?? null;
}

export async function rememberDemoOrganization(db: App['db'], id: string): Promise<void> {
  await db.setting.create({ data: { name: DEMO_ORGANIZATION, value: id } });
}
