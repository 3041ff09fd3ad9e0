/** Opens connections to PostgreSQL, with sessions in UTC. */
import { setTimeout as pause } from 'node:timers/promises';
import { PrismaPg } from '@prisma/adapter-pg';
import { Client, type ClientConfig, Pool } from 'pg';
import type { Logger } from '../logger.ts';
import { isDatabaseUnavailable } from './database-errors.ts';
import { guardedClient } from './guarded-client.ts';
import { STATEMENT_LIFETIME_SECONDS } from './prepared-statements.ts';

const RETRY_MS = 500;
const MIN_ATTEMPT_MS = 2_000;
const MAX_ATTEMPT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 10_000;
/**
 * Time after which an unused connection is closed. A new one costs the server as much as dozens of statements: it
 * starts a process, which reads the catalog and plans every statement several times. The most recently used connection
 * is reused first, so connections that only peaks need are closed.
 */
const IDLE_MS = 5 * 60_000;
/** Time that a process that is frozen in the middle of a transaction may hold its locks. */
const IDLE_IN_TRANSACTION_MS = 30_000;

/**
 * The URL with sessions in UTC, regardless of the time zone of the server, the database or the role. Prisma's
 * adapter writes timestamps without an offset and ignores the offset of those it reads, so another time zone
 * would shift them: https://github.com/prisma/prisma/issues/28629
 */
export function inUtc(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  url.searchParams.set('options', `${optionsOf(url)} -c timezone=UTC`.trim());
  return url.href;
}

/** Session options of the URL or PGOPTIONS. `pg` reads the variable only if the URL has no options. */
function optionsOf(url: URL): string {
  return url.searchParams.get('options') ?? process.env.PGOPTIONS ?? '';
}

/** The URL with these session settings; options that it already has take precedence. */
function withSettings(databaseUrl: string, settings: Record<string, number>): string {
  const url = new URL(databaseUrl);
  const flags = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  url.searchParams.set('options', [...flags, optionsOf(url)].join(' ').trim());
  return url.href;
}

/** A connection that is not open yet. If it is lost, only the current query fails. */
export function newClient(databaseUrl: string, config: ClientConfig = {}): Client {
  const client = new Client({ ...config, connectionString: inUtc(databaseUrl) });
  client.on('error', () => {});
  return client;
}

/**
 * Opens a connection. Retries for up to `waitSeconds` while the database is unreachable, starting or
 * stopping.
 *
 * @throws the last error, or the first error that a retry cannot fix, such as a wrong password.
 */
export async function connectWhenReachable({
  databaseUrl,
  waitSeconds,
  log,
}: {
  databaseUrl: string;
  waitSeconds: number;
  log: Logger;
}): Promise<Client> {
  const deadline = performance.now() + waitSeconds * 1000;
  let isFirst = true;
  for (;;) {
    const left = deadline - performance.now();
    const client = newClient(databaseUrl, {
      connectionTimeoutMillis: Math.min(Math.max(left, MIN_ATTEMPT_MS), MAX_ATTEMPT_MS),
    });
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => {});
      if (left <= 0 || !isDatabaseUnavailable(error)) throw error;
      if (isFirst)
        log.warn({ err: error, waitSeconds }, 'The database is unreachable; waiting for it');
      isFirst = false;
      await pause(RETRY_MS);
    }
  }
}

/** Default time zone of sessions, set by the URL, the role, the database or the server. */
export async function serverTimeZone(databaseUrl: string): Promise<string> {
  const client = new Client({ connectionString: databaseUrl });
  client.on('error', () => {});
  await client.connect();
  try {
    const { rows } = await client.query<{ TimeZone: string }>('SHOW TimeZone');
    return rows[0]?.TimeZone ?? 'UTC';
  } finally {
    await client.end();
  }
}

export function newPool(databaseUrl: string): Pool {
  return new Pool({ connectionString: inUtc(databaseUrl) });
}

interface PoolOptions {
  /** Maximum number of connections. Default: 10. */
  max?: number;
  /** Time limit for opening a connection. Default: 10,000. */
  connectTimeoutMs?: number;
  /** Time after which the server cancels a statement, which then fails. Default: none. */
  statementTimeoutMs?: number;
}

/** A pool that a Prisma client and `createRowReader` can share. If a connection is lost, only its query fails. */
export function newQueryPool(databaseUrl: string, options: PoolOptions = {}): Pool {
  const { max = 10, connectTimeoutMs = CONNECT_TIMEOUT_MS, statementTimeoutMs } = options;
  const url =
    statementTimeoutMs === undefined
      ? databaseUrl
      : withSettings(databaseUrl, { statement_timeout: Math.ceil(statementTimeoutMs) });
  const pool = new Pool({
    ...guardedPool(url, connectTimeoutMs),
    max,
    pipeline: true,
    maxLifetimeSeconds: STATEMENT_LIFETIME_SECONDS,
  });
  pool.on('error', () => {});
  return pool;
}

/** Driver adapter for a Prisma client. The caller ends the pool, after the client has disconnected. */
export function adapterOf(
  pool: Pool,
  options: NonNullable<ConstructorParameters<typeof PrismaPg>[1]> = {},
): PrismaPg {
  return new PrismaPg(pool, options);
}

/** Driver adapter for a Prisma client that has its own pool, which it ends when it disconnects. */
export function newAdapter(databaseUrl: string, options: PoolOptions = {}): PrismaPg {
  return adapterOf(newQueryPool(databaseUrl, options), { disposeExternalPool: true });
}

/**
 * Pool settings. Connections are closed when the server stops answering, and the server closes them when this
 * process freezes in the middle of a transaction.
 */
export function guardedPool(
  databaseUrl: string,
  connectTimeoutMs = CONNECT_TIMEOUT_MS,
): { connectionString: string; idleTimeoutMillis: number; Client: typeof Client } {
  return {
    idleTimeoutMillis: IDLE_MS,
    connectionString: inUtc(
      withSettings(databaseUrl, { idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS }),
    ),
    // Not the pool's own setting, which would also limit the wait for a free connection.
    Client: guardedClient({
      newClient: (config) => newClient(databaseUrl, config),
      connectTimeoutMs,
    }),
  };
}
