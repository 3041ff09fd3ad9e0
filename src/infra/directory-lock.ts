import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { birthmark, isAlive, waitUntil } from './processes.ts';

/**
 * Runs the action while no other process runs one under the same lock file. The kernel gives the
 * lock back when its holder dies in whatever way, so there are no stale locks: Node can not lock a
 * file, but the SQLite inside it can, and nothing is ever stored in this one.
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

/** Notes in a directory who uses something, so that the last one to leave can put out the light. */
export class Users {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Registers this process once more and returns what takes that back. */
  async add(): Promise<() => Promise<void>> {
    await mkdir(this.#directory, { recursive: true });
    const file = path.join(this.#directory, `${process.pid}.${randomUUID()}`);
    await writeFile(file, await birthmark(process.pid));
    return () => rm(file, { force: true });
  }

  /** How many registrations there are of processes that still run. The others are removed. */
  async count(): Promise<number> {
    const names = await readdir(this.#directory).catch(() => []);
    const alive = await Promise.all(names.map((name) => this.#isCurrent(name)));
    return alive.filter(Boolean).length;
  }

  async #isCurrent(name: string): Promise<boolean> {
    const file = path.join(this.#directory, name);
    const pid = Number.parseInt(name, 10);
    const mark = await readFile(file, 'utf8');
    if ((await isAlive(pid)) && (await birthmark(pid)) === mark) return true;
    await rm(file, { force: true });
    return false;
  }
}
