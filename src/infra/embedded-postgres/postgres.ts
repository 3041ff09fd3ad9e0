/** Starts, shares and stops the PostgreSQL that comes with the server. */
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  chown,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, DatabaseError } from 'pg';
import { newClient } from '../database/connections.ts';
import type { Logger } from '../logger.ts';
import { commandLine, isAlive } from '../processes.ts';
import { waitUntil } from '../wait-until.ts';
import { DirectoryUsers, withLock } from './directory-lock.ts';
import { type Account, findAccount, spawnIn } from './postgres-account.ts';

export interface EmbeddedDatabase {
  /** URL of the database on the loopback interface, with its password. */
  url: string;
  /** Whether the server was already running, for another process or after one was killed. */
  reused: boolean;
  /** Stops the server, unless another running process uses it too. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** Directory of the data, the password and the server log. Created if it does not exist. */
  directory: string;
  log: Logger;
  /** False is faster, but a power failure may destroy the data; for tests. */
  durable?: boolean;
  /** Port of the server if it has to be started. Default: a free one. */
  port?: number;
  /** The server's time zone. Default: UTC. */
  timezone?: string;
  /**
   * Whether the URL leads to a Unix socket in the directory, whose path must be short. A query takes a fifth less CPU
   * time than over TCP, on which the server listens as well.
   */
  unixSocket?: boolean;
}

interface Server {
  pid: number;
  port: number;
}

const DATABASE_NAME = 'truedy';
const SUPERUSER = 'postgres';
const START_TIMEOUT_MS = 120_000;

/**
 * Starts PostgreSQL in a directory, or connects to the one that already runs there. The server keeps running when this
 * process is killed, and Ctrl-C in a terminal does not reach it; `stop` stops it.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedDatabase> {
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  const cluster = new Cluster(await realpath(options.directory), options);
  return cluster.lock(() => cluster.open());
}

class Cluster {
  readonly #home: string;
  readonly #data: string;
  readonly #log: Logger;
  readonly #durable: boolean;
  readonly #timezone: string;
  readonly #port: number | undefined;
  readonly #unixSocket: boolean;
  readonly #users: DirectoryUsers;
  #password = '';

  constructor(home: string, options: EmbeddedPostgresOptions) {
    const { log, durable = true, timezone = 'UTC' } = options;
    this.#home = home;
    this.#data = path.join(home, 'data');
    this.#log = log;
    this.#durable = durable;
    this.#timezone = timezone;
    this.#port = options.port;
    this.#unixSocket = options.unixSocket ?? false;
    this.#users = new DirectoryUsers(path.join(home, 'users'));
  }

  lock<T>(action: () => Promise<T>): Promise<T> {
    return withLock(path.join(this.#home, 'lock'), action);
  }

  async open(): Promise<EmbeddedDatabase> {
    const exists = (await stat(this.#data).catch(ignoreMissing)) !== undefined;
    this.#password = await this.#readPassword(exists);
    const running = exists ? await this.#findRunning() : undefined;
    const server = running ?? (await this.#start(exists));
    await this.#createDatabase(server.port);
    const leave = await this.#users.add();
    this.#log.info(
      { pid: server.pid, port: server.port, directory: this.#home, reused: running !== undefined },
      'PostgreSQL is ready',
    );
    let stopped: Promise<void> | undefined;
    return {
      url: this.#url(server.port, DATABASE_NAME),
      reused: running !== undefined,
      stop: () => {
        stopped ??= this.lock(() => this.#leave(server, leave));
        return stopped;
      },
    };
  }

  async #leave(server: Server, leave: () => Promise<void>): Promise<void> {
    await leave();
    if ((await this.#users.count()) > 0) {
      this.#log.info('PostgreSQL keeps running because another process uses it');
      return;
    }
    // The server may have ended or been replaced.
    if ((await this.#readPidFile())?.pid === server.pid) await this.#stop(server.pid, 30_000);
  }

  #url(port: number, database: string): string {
    const address = `postgresql://${SUPERUSER}:${this.#password}@127.0.0.1:${port}/${database}`;
    return this.#unixSocket ? `${address}?host=${encodeURIComponent(this.#data)}` : address;
  }

  async #readPassword(dataExist: boolean): Promise<string> {
    const file = path.join(this.#home, 'password');
    const known = (await readFile(file, 'utf8').catch(ignoreMissing))?.trim();
    if (known) return known;
    if (dataExist) {
      throw new Error(
        `${file} is missing, and the data in ${this.#data} cannot be used without it`,
      );
    }
    const password = randomBytes(24).toString('base64url');
    await writeFile(`${file}.new`, `${password}\n`, { mode: 0o600, flush: true });
    await rename(`${file}.new`, file);
    return password;
  }

  /** The running server of this data directory. Undefined if none answers. */
  async #findRunning(): Promise<Server | undefined> {
    const found = await this.#readPidFile();
    if (!found || !(await isAlive(found.pid))) return undefined; // A stale file.
    const { pid } = found;
    const command = await commandLine(pid);
    const isPostgres =
      command === undefined ||
      (command.includes('postgres') && command.includes(this.#home)) ||
      // The directory may have been moved.
      command.includes('embedded.directory=');
    if (!isPostgres) {
      this.#log.warn({ pid }, 'Another program now has the process id of an earlier PostgreSQL');
      await this.#removePidFile();
      return undefined;
    }
    let answer = 'silent' as ProbeResult;
    let port = found.port;
    const giveUp = Date.now() + 6_000;
    await waitUntil(async () => {
      const current = await this.#readPidFile();
      if (current?.pid !== pid || !(await isAlive(pid))) {
        answer = 'gone';
        return true;
      }
      port = current.port;
      answer = await this.#probe(port);
      return (
        answer === 'ours' || answer === 'foreign' || (answer === 'silent' && Date.now() > giveUp)
      );
    }, START_TIMEOUT_MS);

    if (answer === 'gone') return undefined;
    if (answer === 'ours') return { pid, port };
    if (answer === 'foreign') {
      // This directory is a copy of one in use. The server in the PID file uses the original.
      await this.#removePidFile();
      return undefined;
    }
    if (command === undefined) {
      throw new Error(
        `${this.#pidFile} names process ${pid}, which may be a PostgreSQL that does not answer. ` +
          'Stop it, or remove the file if it is something else.',
      );
    }
    if (
      command.includes('postgres') &&
      (command.includes(this.#data) || command.includes(this.#marker))
    ) {
      this.#log.warn({ pid }, 'A running PostgreSQL does not answer and is stopped');
      await this.#stop(pid, 5_000);
    } else {
      this.#log.warn({ pid }, 'Another program now has the process id of an earlier PostgreSQL');
      await this.#removePidFile();
    }
    return undefined;
  }

  /** Determines which server, if any, answers at the port. */
  async #probe(port: number): Promise<ProbeResult> {
    if (!port) return 'silent';
    const probe = path.join(this.#data, `probe-${randomUUID()}`);
    const client = this.#client(port, 'postgres');
    try {
      await client.connect();
      await writeFile(probe, '');
      const { rows } = await client.query<{ seen: boolean }>(
        'SELECT (pg_stat_file($1, true)).size IS NOT NULL AS seen',
        [path.basename(probe)],
      );
      return rows[0]?.seen ? 'ours' : 'foreign';
    } catch (error) {
      const changingState = error instanceof DatabaseError && error.code === '57P03';
      return changingState ? 'busy' : 'silent';
    } finally {
      await rm(probe, { force: true });
      await client.end().catch(() => {});
    }
  }

  #client(port: number, database: string): Client {
    return newClient(this.#url(port, database), {
      connectionTimeoutMillis: 2_000,
      query_timeout: 10_000,
    });
  }

  async #start(dataExist: boolean): Promise<Server> {
    const account = await findAccount(this.#data, this.#log);
    if (!dataExist) await this.#initialize(account);
    const deadline = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      const attempt = await this.#tryStart(account, this.#port ?? (await freePort()), deadline);
      if ('pid' in attempt) return attempt;
      // The port was taken meanwhile, or processes of a killed server are still shutting down.
      const passing = /Address already in use|could not bind|pre-existing shared memory/;
      if (!passing.test(attempt.output) || Date.now() > deadline) {
        throw new Error(`PostgreSQL did not start in ${this.#home}:\n${attempt.output.trim()}`);
      }
      await delay(100);
    }
  }

  async #tryStart(
    account: Account,
    port: number,
    deadline: number,
  ): Promise<Server | { output: string }> {
    const logFile = path.join(this.#home, 'postgres.log');
    const before = await stat(logFile).catch(ignoreMissing);
    if (before && before.size > 10_000_000) await rename(logFile, `${logFile}.1`);
    const output = await open(logFile, 'a', 0o600);
    try {
      const { size } = await output.stat();
      const settings = {
        listen_addresses: '127.0.0.1',
        port,
        unix_socket_directories: this.#unixSocket ? '.' : '',
        max_connections: 300,
        timezone: this.#timezone,
        fsync: this.#durable ? 'on' : 'off',
        synchronous_commit: this.#durable ? 'on' : 'off',
        full_page_writes: this.#durable ? 'on' : 'off',
      };
      const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
      const child = await spawnIn(account, 'postgres', this.#data, {
        args: (data) => ['-D', data, ...flags, '-c', this.#marker],
        output: output.fd,
        // Its own process group, so that Ctrl-C reaches only this process, which then stops the server.
        detached: true,
      });
      let ended = false;
      child.once('exit', () => {
        ended = true;
      });
      child.once('error', () => {
        ended = true;
      });
      child.unref();
      const { pid } = child;
      await waitUntil(
        async () => ended || ((await this.#readPidFile())?.ready ?? '') === pid,
        Math.max(deadline - Date.now(), 1_000),
      );
      if (!ended && pid !== undefined && (await this.#readPidFile())?.ready === pid) {
        return { pid, port };
      }
      if (!ended && pid !== undefined) await this.#stop(pid, 5_000);
      return { output: (await readFile(logFile)).subarray(size).toString() };
    } finally {
      await output.close();
    }
  }

  /** Creates the data directory elsewhere and moves it into place when it is complete. */
  async #initialize(account: Account): Promise<void> {
    for (const name of await readdir(this.#home)) {
      if (!name.startsWith('initialising-')) continue;
      await rm(path.join(this.#home, name), { recursive: true, force: true });
    }
    const place = await mkdtemp(path.join(this.#home, 'initialising-'));
    const passwordFile = path.join(place, 'password');
    await writeFile(passwordFile, `${this.#password}\n`, { mode: 0o600 });
    if (account.uid !== undefined && account.gid !== undefined) {
      await chown(passwordFile, account.uid, account.gid);
      await chown(place, account.uid, account.gid);
    }
    this.#log.info({ directory: this.#home }, 'Creating the database');
    const child = await spawnIn(account, 'initdb', place, {
      args: (reachable) => [
        `--pgdata=${reachable}/data`,
        `--pwfile=${reachable}/password`,
        `--username=${SUPERUSER}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        // The same collation on every machine, whatever locales it has.
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--locale=C',
        ...(this.#durable ? [] : ['--no-sync']),
      ],
      output: 'pipe',
    });
    const output: Buffer[] = [];
    child.stdout?.on('data', (chunk) => output.push(chunk));
    child.stderr?.on('data', (chunk) => output.push(chunk));
    const [code] = await once(child, 'close');
    if (code !== 0) throw new Error(`initdb failed:\n${Buffer.concat(output).toString().trim()}`);
    await rename(path.join(place, 'data'), this.#data);
    await rm(place, { recursive: true, force: true });
  }

  async #createDatabase(port: number): Promise<void> {
    const client = this.#client(port, 'postgres');
    await client.connect();
    try {
      const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [
        DATABASE_NAME,
      ]);
      if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE_NAME}`);
    } finally {
      await client.end();
    }
  }

  /** Stops the server with a fast shutdown, or by force if that takes too long. */
  async #stop(pid: number, timeoutMs: number): Promise<void> {
    for (const [signal, timer] of [
      ['SIGINT', timeoutMs],
      ['SIGQUIT', 5_000],
      ['SIGKILL', 5_000],
    ] as const) {
      try {
        process.kill(pid, signal);
      } catch {
        return; // The server has ended.
      }
      if (await waitUntil(async () => !(await isAlive(pid)), timer)) return;
      this.#log.warn({ pid, signal }, 'PostgreSQL has not stopped yet');
    }
    throw new Error(`PostgreSQL, process ${pid}, cannot be stopped`);
  }

  /** An argument of the server that distinguishes it from other servers. */
  get #marker(): string {
    return `embedded.directory=${this.#home}`;
  }

  get #pidFile(): string {
    return path.join(this.#data, 'postmaster.pid');
  }

  async #readPidFile() {
    const lines = (await readFile(this.#pidFile, 'utf8').catch(ignoreMissing))?.split('\n');
    const pid = Number(lines?.[0]);
    if (!lines || !Number.isInteger(pid) || pid <= 0) return undefined;
    const ready = lines[7]?.trim() === 'ready' ? pid : undefined;
    return { pid, port: Number(lines[3]) || 0, ready };
  }

  #removePidFile(): Promise<void> {
    return rm(this.#pidFile, { force: true });
  }
}

/** `busy`: starting or stopping. `gone`: has ended. */
type ProbeResult = 'ours' | 'foreign' | 'busy' | 'silent' | 'gone';

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('No free port');
  return address.port;
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
