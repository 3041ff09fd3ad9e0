/** Settings of the deployment that the database stores, and locks between processes. */
import type { Client } from 'pg';
import type { App } from './app.ts';
import { type Config, isLoopback } from './config.ts';
import { ConfigError } from './errors.ts';
import { connectWhenReachable, newClient } from './infra/database/connections.ts';
import type { Logger } from './infra/logger.ts';
import { applyMigrations } from './infra/migrations/migrations.ts';
import { refuseShifted } from './shifted-timestamps.ts';

/** Keys of advisory locks: any numbers, but the same in all processes. */
const LOCKS = { start: 7_384_120_562, webhook: 7_384_120_563 } as const;

const ULTRAVOX = 'ultravox';
const DEMO_ORGANIZATION = 'demo_organization';
const SIMULATOR = 'simulator';
const TIME_ZONE = 'time_zone';

/**
 * Waits for the database and applies the migrations. Rejects a database whose timestamps were written in
 * another time zone than UTC; the result of this check is stored, so it runs once.
 *
 * @throws ConfigError for such a database, or when its sessions cannot use UTC.
 */
export async function prepareDatabase({
  databaseUrl,
  waitSeconds,
  log,
}: {
  databaseUrl: string;
  waitSeconds: number;
  log: Logger;
}): Promise<void> {
  const client = await connectWhenReachable({ databaseUrl, waitSeconds, log });
  try {
    const { rows } = await client.query<{ TimeZone: string }>('SHOW TimeZone');
    if (rows[0]?.TimeZone !== 'UTC') {
      throw new ConfigError([
        `Sessions of DATABASE_URL use the time zone ${rows[0]?.TimeZone} instead of UTC. If a connection pooler drops the option -c timezone=UTC, let it pass the option, or connect to the database directly`,
      ]);
    }
    // Before the migrations, which may compute with the timestamps.
    const checked = await isInUtc(client);
    if (!checked) await refuseShifted(databaseUrl, client);
    await applyMigrations(client, { log });
    if (!checked) await recordUtc(client);
  } finally {
    await client.end();
  }
}

async function isInUtc(client: Client): Promise<boolean> {
  const table = await client.query(`SELECT 1 WHERE to_regclass('settings') IS NOT NULL`);
  if (table.rowCount === 0) return false;
  const stored = await client.query('SELECT 1 FROM settings WHERE name = $1', [TIME_ZONE]);
  return stored.rowCount === 1;
}

/** Records that the timestamps in the database are in UTC. */
export async function recordUtc(client: Client): Promise<void> {
  await client.query(
    `INSERT INTO settings (name, value, updated_at) VALUES ($1, 'UTC', now())
     ON CONFLICT (name) DO NOTHING`,
    [TIME_ZONE],
  );
}

/** Runs `work` under a lock between the processes that share the database. */
export async function oneAtATime<T>(
  databaseUrl: string,
  lock: keyof typeof LOCKS,
  work: () => Promise<T>,
): Promise<T> {
  const client = newClient(databaseUrl); // The lock ends with the connection.
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock($1)', [LOCKS[lock]]);
    return await work();
  } finally {
    await client.end();
  }
}

/** Identifies the simulator or the Ultravox account, by the part of the key that is not secret. */
function nameOfUltravox(config: Config): string {
  const { ULTRAVOX_API_KEY: key, ULTRAVOX_BASE_URL: url } = config;
  if (!key || isLoopback(url)) return SIMULATOR;
  return `${new URL(url).origin}, key ${key.slice(0, 8)}`;
}

/**
 * Checks that the database belongs to the configured Ultravox, because remote resources exist only there.
 * This also keeps the demo, whose key is shown, out of production databases.
 *
 * @throws ConfigError when it belongs to another one.
 */
export async function checkUltravox(app: Pick<App, 'db' | 'config'>): Promise<void> {
  const value = nameOfUltravox(app.config);
  const stored = await app.db.setting.findUnique({ where: { name: ULTRAVOX } });
  if (stored?.value === value) return;
  if (stored && !app.config.ALLOW_ULTRAVOX_CHANGE) {
    throw new ConfigError([
      `ULTRAVOX_API_KEY does not match this database, which belongs to ${describe(stored.value)}; the settings are for ${describe(value)}. Use another database (DATABASE_URL or DATA_DIR), or set ALLOW_ULTRAVOX_CHANGE=true to use this one although its objects do not exist there`,
    ]);
  }
  await app.db.setting.upsert({
    where: { name: ULTRAVOX },
    create: { name: ULTRAVOX, value },
    update: { value },
  });
}

function describe(value: string): string {
  return value === SIMULATOR ? 'the simulator' : value;
}

/** Id of the demo organization. It is stored before the organization is created. */
export async function demoOrganizationId(db: App['db']): Promise<string | null> {
  const stored = await db.setting.findUnique({ where: { name: DEMO_ORGANIZATION } });
  return stored?.value ?? null;
}

export async function rememberDemoOrganization(db: App['db'], id: string): Promise<void> {
  await db.setting.create({ data: { name: DEMO_ORGANIZATION, value: id } });
}
