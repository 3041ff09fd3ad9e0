import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type EmbeddedDatabase,
  startEmbeddedPostgres,
} from '../../../src/infra/embedded-postgres/postgres.ts';
import { createLogger } from '../../../src/infra/logger.ts';
import { isAlive } from '../../../src/infra/processes.ts';
import { waitUntil } from '../../../src/infra/wait-until.ts';
import { makeAccessibleCopy } from '../../support/accessible-copy.ts';

const log = createLogger({ level: 'silent' });
const script = path.resolve(import.meta.dirname, '../../support/servers/postgres-process.ts');
const isRoot = process.getuid?.() === 0;

/** The directory of a server that was stopped: to initialize one takes most of the time of a test. */
let initialized: string;
let directory: string;
let cleanups: (() => Promise<unknown>)[];

beforeAll(async () => {
  initialized = await mkdtemp(path.join(tmpdir(), 'truedy-postgres-'));
  await (await startEmbeddedPostgres({ directory: initialized, log, durable: false })).stop();
});
afterAll(() => rm(initialized, { recursive: true, force: true }));

/** Keeps owners and modes, as far as its user may. */
async function copyDirectory(from: string, to: string): Promise<void> {
  if (isRoot) execFileSync('cp', ['-a', from, to]);
  else await cp(from, to, { recursive: true });
}

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'truedy-postgres-'));
  // Processes of a server that was killed may write for a moment longer.
  cleanups = [() => rm(directory, { recursive: true, force: true, maxRetries: 20 })];
});

afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function start(home = directory): Promise<EmbeddedDatabase> {
  const database = await startEmbeddedPostgres({ directory: home, log, durable: false });
  cleanups.push(() => database.stop());
  return database;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function postmaster(home = directory): Promise<number> {
  return Number.parseInt(await readFile(path.join(home, 'data/postmaster.pid'), 'utf8'), 10);
}

type Child = ChildProcessByStdio<Writable, Readable, null>;

function launch(command = [process.execPath, script]): Child {
  const [program = '', ...args] = [...command, directory];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  cleanups.push(() => kill(child));
  return child;
}

async function started(child: Child): Promise<{ url: string; reused: boolean }> {
  const lines = createInterface(child.stdout);
  const [line] = await Promise.race([once(lines, 'line'), once(lines, 'close')]);
  if (line === undefined) throw new Error('The process ended before it had started the server');
  return JSON.parse(line);
}

async function kill(child: Child): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

async function finish(child: Child): Promise<unknown> {
  const exit = once(child, 'exit');
  child.stdin.end();
  return (await exit)[0];
}

describe('startEmbeddedPostgres in an empty directory', () => {
  it('requires a password that only its user can read', async () => {
    const { url } = await start();
    const { mode } = await stat(path.join(directory, 'password'));
    expect(mode & 0o777).toBe(0o600);
    const guess = new URL(url);
    guess.password = 'guess';
    await expect(query(guess.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' });
  });

  it('shares one server between processes; the last one stops it', async () => {
    const children = [launch(), launch()];
    const answers = await Promise.all(children.map(started));
    expect(answers.map((answer) => answer.reused).sort()).toEqual([false, true]);
    expect(answers[0]?.url).toBe(answers[1]?.url);

    const [first, second] = children as [Child, Child];
    const pid = await postmaster();
    expect(await finish(first)).toBe(0);
    expect(await query(String(answers[1]?.url), 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(await finish(second)).toBe(0);
    expect(await isAlive(pid)).toBe(false);
  });

  it('removes an interrupted initialization', async () => {
    await mkdir(path.join(directory, 'initialising-abcdef/data'), { recursive: true });
    await writeFile(path.join(directory, 'initialising-abcdef/data/PG_VERSION'), '18');
    expect(await start()).toMatchObject({ reused: false });
    expect((await readdir(directory)).filter((name) => name.startsWith('init'))).toEqual([]);
  });

  // An ordinary user's own runs test nothing else.
  it.skipIf(!isRoot)('runs as an unprivileged user', async () => {
    const place = await mkdtemp(path.join(tmpdir(), 'truedy-copy-'));
    cleanups.unshift(() => rm(place, { recursive: true, force: true }));
    const copy = await makeAccessibleCopy(place, {
      files: ['src/infra', 'test/support/servers/postgres-process.ts'],
      packages: ['@prisma/adapter-pg', 'embedded-postgres', 'lru-cache', 'pg', 'pino'],
    });
    await chown(directory, 65534, 65534);
    const child = launch([
      ...['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'],
      ...[copy.node, copy.resolve('test/support/servers/postgres-process.ts')],
    ]);
    const { url } = await started(child);
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect((await stat(path.join(directory, 'data'))).uid).toBe(65534);
    expect(await finish(child)).toBe(0);
  });

  // Only root can make a directory that the account of the server can not reach.
  it.skipIf(!isRoot)('runs for root in a directory that is closed to others', async () => {
    const closed = path.join(directory, 'closed');
    await mkdir(closed, { mode: 0o700 });
    await chmod(directory, 0o700);
    const database = await start(path.join(closed, 'home'));
    await query(database.url, 'CREATE TABLE kept AS SELECT 7 AS value');
    expect((await stat(closed)).mode & 0o777).toBe(0o700);
    await database.stop();
    const again = await start(path.join(closed, 'home'));
    expect(await query(again.url, 'SELECT value FROM kept')).toEqual([{ value: 7 }]);
  });
});

describe('startEmbeddedPostgres in a directory with data', () => {
  beforeEach(async () => {
    await rm(directory, { recursive: true });
    await copyDirectory(initialized, directory);
  });

  it('keeps data over a stop and a start', async () => {
    const first = await start();
    await query(first.url, 'CREATE TABLE kept AS SELECT 7 AS value');
    const pid = await postmaster();
    await first.stop();
    await first.stop();
    expect(await isAlive(pid)).toBe(false);

    const second = await start();
    expect(second.reused).toBe(false);
    expect(await query(second.url, 'SELECT value FROM kept')).toEqual([{ value: 7 }]);
  });

  it('reuses the server of a killed process, then stops it', async () => {
    const child = launch();
    const orphan = await started(child);
    await query(orphan.url, 'CREATE TABLE kept (value integer)');
    await kill(child);

    const database = await start();
    expect(database).toMatchObject({ reused: true, url: orphan.url });
    expect(await query(database.url, 'SELECT * FROM kept')).toEqual([]);
    const pid = await postmaster();
    await database.stop();
    expect(await isAlive(pid)).toBe(false);
  });

  it('shields the server from signals to the process group', async () => {
    const child = spawn(process.execPath, [script, directory], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    });
    const { url } = await started(child);
    const exit = once(child, 'exit');
    process.kill(-Number(child.pid), 'SIGINT');
    await exit;
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(await start()).toMatchObject({ reused: true });
  });

  it('starts despite the pid file of a killed server', async () => {
    await start();
    const pid = await postmaster();
    process.kill(pid, 'SIGKILL');
    await waitUntil(async () => !(await isAlive(pid)), 30_000);
    expect(await postmaster()).toBe(pid);
    expect(await start()).toMatchObject({ reused: false });
  });

  it('ignores a pid file that names another program', async () => {
    const database = await start();
    await database.stop();
    const bystander = spawn('sleep', ['600']);
    cleanups.push(async () => bystander.kill());
    const file = path.join(directory, 'data/postmaster.pid');
    await writeFile(file, `${bystander.pid}\n/x\n1\n1\n\n127.0.0.1\n0 0\nready   \n`);
    const { uid, gid } = await stat(path.join(directory, 'data'));
    await chown(file, uid, gid);

    expect(await start()).toMatchObject({ reused: false });
    expect(await isAlive(Number(bystander.pid))).toBe(true);
  });

  it('replaces a server that does not respond', async () => {
    await start();
    const pid = await postmaster();
    process.kill(pid, 'SIGSTOP');
    expect(await start()).toMatchObject({ reused: false });
    expect(await isAlive(pid)).toBe(false);
  });

  it('starts another server for a copied directory', async () => {
    const original = await start();
    const copy = `${directory}-copy`;
    cleanups.push(() => rm(copy, { recursive: true, force: true }));
    await query(original.url, 'CHECKPOINT');
    await copyDirectory(directory, copy);
    const second = await start(copy);
    expect(second.reused).toBe(false);
    expect(new URL(second.url).port).not.toBe(new URL(original.url).port);
    expect(await query(original.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});
