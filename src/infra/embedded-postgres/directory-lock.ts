/** Locks between the processes that use one directory. */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isAlive, processStartTime } from '../processes.ts';
import { waitUntil } from '../wait-until.ts';

/**
 * Runs the action under an exclusive lock on a file. The kernel releases the lock when its holder dies,
 * so there are no stale locks. Node cannot lock a file, but its SQLite can; the file stays empty.
 */
export async function withLock<T>(file: string, action: () => Promise<T>): Promise<T> {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    const locked = await waitUntil(() => tryLock(database), 180_000);
    if (!locked) throw new Error(`Another process has held ${file} for three minutes`);
    return await action();
  } finally {
    database.close();
  }
}

function tryLock(database: DatabaseSync): boolean {
  try {
    database.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    const busy = 5;
    if ((error as { errcode?: number }).errcode === busy) return false;
    throw error;
  }
}

/** Records in a directory which processes use a resource, so that the last one can stop it. */
export class DirectoryUsers {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Registers this process once more. @returns the function that removes the registration. */
  async add(): Promise<() => Promise<void>> {
    await mkdir(this.#directory, { recursive: true });
    const file = path.join(this.#directory, `${process.pid}.${randomUUID()}`);
    await writeFile(file, await processStartTime(process.pid));
    return () => rm(file, { force: true });
  }

  /** Number of registrations of running processes. Removes all others. */
  async count(): Promise<number> {
    const names = await readdir(this.#directory).catch(() => []);
    const alive = await Promise.all(names.map((name) => this.#isCurrent(name)));
    return alive.filter(Boolean).length;
  }

  async #isCurrent(name: string): Promise<boolean> {
    const file = path.join(this.#directory, name);
    const pid = Number.parseInt(name, 10);
    const mark = await readFile(file, 'utf8');
    if ((await isAlive(pid)) && (await processStartTime(pid)) === mark) return true;
    await rm(file, { force: true });
    return false;
  }
}
