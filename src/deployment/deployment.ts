/** Settings of the deployment that the database stores, and locks between processes. */
import type { Client } from 'pg';
import type { App } from '../app.ts';
import { type Config, isLoopback } from '../config.ts';
import { ConfigError } from '../errors.ts';
import { connectWhenReachable, newClient } from '../infra/database/connections.ts';
import type { Logger } from '../infra/logger.ts';
import { applyMigrations } from '../infra/migrations/migrations.ts';
import { UltravoxError } from '../ultravox/error.ts';
import { refuseShifted } from './shifted-timestamps.ts';

/** Key of an advisory lock: any number, but the same in all processes. */
const START_LOCK = 7_384_120_562;

const ULTRAVOX = 'ultravox';
const ACCOUNT = 'ultravox_account';
const DEMO_ORGANIZATION = 'demo_organization';
/** Stored until the demo organization has all of its data. */
const DEMO_DATA_MISSING = 'demo_data_missing';
const SIMULATOR = 'simulator';
const TIME_ZONE = 'time_zone';

/**
 * Waits for the database and applies the migrations. Rejects a database whose timestamps were written in
 * a time zone other than UTC. The result of this check is stored, so it runs only once.
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

/** Runs `work`, a part of the start, under a lock that is shared by all processes of the database. */
export async function withStartLock<T>(databaseUrl: string, work: () => Promise<T>): Promise<T> {
  const client = newClient(databaseUrl); // The lock ends with the connection.
  await client.connect();
  try {
    await client.query('SELECT pg_advisory_lock($1)', [START_LOCK]);
    return await work();
  } finally {
    await client.end();
  }
}

/** Identifies the simulator, or the API key by its non-secret part. */
function nameOfUltravox(config: Config): string {
  const { ULTRAVOX_API_KEY: key, ULTRAVOX_BASE_URL: url } = config;
  if (!key || isLoopback(url)) return SIMULATOR;
  return `${new URL(url).origin}${KEY_AFTER}${key.slice(0, 8)}`;
}

const KEY_AFTER = ', key ';

/** Time that a start waits for Ultravox to return the account of its key. */
const ACCOUNT_TIMEOUT_MS = 5_000;

type Account = { id: string; problem: null } | { id: null; problem: string };

/**
 * Checks that the database belongs to the configured Ultravox, because remote resources exist only there.
 * This also keeps the demo, whose key is shown, out of production databases.
 *
 * Requests the account from Ultravox only when the key differs from that of the last start, or when the account of
 * that key is not recorded. So another key of the same account is accepted, and a start with the same key does not
 * need Ultravox. A key whose account is unknown counts as a key of another account.
 *
 * @throws ConfigError when the database belongs to another account or address.
 */
export async function checkUltravox(app: Pick<App, 'db' | 'config' | 'ultravox'>): Promise<void> {
  const value = nameOfUltravox(app.config);
  const [storedValue, storedAccount] = [await stored(app, ULTRAVOX), await stored(app, ACCOUNT)];
  const sameKey = storedValue === value;
  if (sameKey && (value === SIMULATOR || storedAccount)) return;
  const account = value === SIMULATOR ? null : await fetchAccount(app);
  if (!sameKey && storedValue && !app.config.ALLOW_ULTRAVOX_CHANGE) {
    const sameAccount =
      isKeyOfSameUltravox(storedValue, value) && account?.id && account.id === storedAccount;
    if (!sameAccount) {
      const problem = describeChange({ storedValue, value, storedAccount, account });
      throw new ConfigError([`ULTRAVOX_API_KEY ${problem}`]);
    }
  }
  await app.db.$transaction(async (tx) => {
    const settings = [
      [ULTRAVOX, value],
      [ACCOUNT, account?.id],
    ] as const;
    for (const [name, value] of settings) {
      if (value) {
        const create = { name, value };
        await tx.setting.upsert({ where: { name }, create, update: { value } });
      } else {
        await tx.setting.deleteMany({ where: { name } });
      }
    }
  });
}

async function stored({ db }: Pick<App, 'db'>, name: string): Promise<string | null> {
  const setting = await db.setting.findUnique({ where: { name } });
  return setting?.value ?? null;
}

async function fetchAccount({ ultravox }: Pick<App, 'ultravox'>): Promise<Account> {
  try {
    const signal = AbortSignal.timeout(ACCOUNT_TIMEOUT_MS);
    return { id: (await ultravox.account.me({ signal })).accountId, problem: null };
  } catch (error) {
    const refused = error instanceof UltravoxError && error.kind === 'credentials';
    const problem = refused ? 'Ultravox refuses the key' : 'Ultravox could not be reached';
    return { id: null, problem };
  }
}

/** Whether both keys are for the same address and may therefore belong to the same account. */
function isKeyOfSameUltravox(one: string, other: string): boolean {
  const [first, second] = [one.lastIndexOf(KEY_AFTER), other.lastIndexOf(KEY_AFTER)];
  return first > 0 && second > 0 && one.slice(0, first) === other.slice(0, second);
}

interface Change {
  storedValue: string;
  value: string;
  storedAccount: string | null;
  account: Account | null;
}

/** Why the database is rejected, and what to do. */
function describeChange({ storedValue, value, storedAccount, account }: Change): string {
  const [former, current] = [describe(storedValue), describe(value)];
  const another =
    'Use another database (DATABASE_URL or DATA_DIR), or set ALLOW_ULTRAVOX_CHANGE=true to use this one although its objects do not exist there';
  if (!account || !isKeyOfSameUltravox(storedValue, value)) {
    return `does not match this database, which belongs to ${former}; the settings are for ${current}. ${another}`;
  }
  if (account.id && storedAccount) {
    return `does not match this database, which belongs to another Ultravox account: it was last used with ${former}, and the settings are for ${current}. ${another}`;
  }
  const [problem, remedy] = account.id
    ? [
        'the account of the former key was not recorded',
        'Start once with the former key, which records it',
      ]
    : [account.problem, 'Start again when Ultravox gives the account of the key'];
  return `is for ${current}, and this database was last used with ${former}. Whether both are keys of one account is not known: ${problem}. ${remedy}, or set ALLOW_ULTRAVOX_CHANGE=true if they are`;
}

function describe(value: string): string {
  return value === SIMULATOR ? 'the simulator' : value;
}

/** Id of the demo organization. It is stored before the organization is created. */
export async function demoOrganizationId(db: App['db']): Promise<string | null> {
  const stored = await db.setting.findUnique({ where: { name: DEMO_ORGANIZATION } });
  return stored?.value ?? null;
}

export async function rememberDemoOrganization(
  db: App['db'],
  { id, needsData }: { id: string; needsData: boolean },
): Promise<void> {
  const data = [{ name: DEMO_ORGANIZATION, value: id }];
  if (needsData) data.push({ name: DEMO_DATA_MISSING, value: id });
  await db.setting.createMany({ data });
}

export async function isDemoDataMissing(db: App['db']): Promise<boolean> {
  return (await db.setting.count({ where: { name: DEMO_DATA_MISSING } })) > 0;
}

export async function recordDemoData(db: App['db']): Promise<void> {
  await db.setting.deleteMany({ where: { name: DEMO_DATA_MISSING } });
}
