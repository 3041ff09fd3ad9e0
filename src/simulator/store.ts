/** The simulator's data, in memory and in SQLite. */
import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';

/**
 * Stores data in memory and in SQLite. Reads use only memory. Every `put` and `delete` is written to
 * the file in a transaction that is committed before the response is sent.
 */
export interface Store {
  collection<T extends object>(kind: string): Collection<T>;
  /** Runs `work` as one change, which is undone in memory and in the file if `work` throws. */
  transaction<R>(work: () => R): R;
  clear(): void;
  close(): void;
}

export interface Collection<T extends object> {
  get(id: string): T | undefined;
  put(id: string, value: T): void;
  delete(id: string): void;
  /** Oldest first. */
  values(): T[];
  entries(): IterableIterator<[string, T]>;
  readonly size: number;
}

/** Time to wait for a file that another process still has open. */
const LOCK_TIMEOUT_MS = 2_000;

export class StoreInUseError extends Error {
  override name = 'StoreInUseError';
}

/** @throws StoreInUseError if another process has the file open. */
export function openStore(path: string | undefined): Store {
  if (path !== undefined) {
    // The file contains credentials. SQLite gives its other files the same mode.
    closeSync(openSync(path, 'a', 0o600));
    chmodSync(path, 0o600);
  }
  const database = openExclusively(path ?? ':memory:');
  const statements = {
    load: database.prepare('SELECT id, seq, body FROM records WHERE kind = ? ORDER BY seq'),
    put: database.prepare(
      `INSERT INTO records (kind, id, seq, body) VALUES (?, ?, ?, ?)
       ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body`,
    ),
    remove: database.prepare('DELETE FROM records WHERE kind = ? AND id = ?'),
    begin: database.prepare('BEGIN IMMEDIATE'),
    commit: database.prepare('COMMIT'),
    rollback: database.prepare('ROLLBACK'),
  };
  const last = database.prepare('SELECT max(seq) AS seq FROM records').get();
  const shared: Shared = {
    statements,
    nextSeq: Number(last?.seq ?? 0) + 1,
    undo: undefined,
  };
  const collections = new Map<string, { forget(): void }>();

  return {
    collection<T extends object>(kind: string) {
      const made = createCollection<T>(kind, shared);
      collections.set(kind, made);
      return made;
    },
    transaction(work) {
      if (shared.undo !== undefined) return work();
      const undo: (() => void)[] = [];
      shared.undo = undo;
      statements.begin.run();
      try {
        const result = work();
        statements.commit.run();
        return result;
      } catch (error) {
        statements.rollback.run();
        for (const step of undo.reverse()) step();
        throw error;
      } finally {
        shared.undo = undefined;
      }
    },
    clear() {
      database.exec('DELETE FROM records');
      for (const collection of collections.values()) collection.forget();
    },
    close() {
      database.close();
    },
  };
}

/** Opens the file exclusively, because memory would not contain the writes of another process. */
function openExclusively(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout: LOCK_TIMEOUT_MS });
  try {
    database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      BEGIN IMMEDIATE;
      CREATE TABLE IF NOT EXISTS records (
        kind TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (kind, id)
      ) WITHOUT ROWID;
      COMMIT;
    `);
    return database;
  } catch (error) {
    database.close();
    const busy = 5;
    if ((error as { errcode?: number }).errcode !== busy) throw error;
    throw new StoreInUseError(`Another process uses ${path}`);
  }
}

interface Shared {
  statements: { load: StatementSync; put: StatementSync; remove: StatementSync };
  nextSeq: number;
  undo: (() => void)[] | undefined;
}

function createCollection<T extends object>(
  kind: string,
  shared: Shared,
): Collection<T> & { forget(): void } {
  const items = new Map<string, { seq: number; value: T }>();
  for (const row of shared.statements.load.all(kind)) {
    items.set(String(row.id), { seq: Number(row.seq), value: JSON.parse(String(row.body)) });
  }
  return {
    get: (id) => items.get(id)?.value,
    put(id, value) {
      const existing = items.get(id);
      const item = { seq: existing?.seq ?? shared.nextSeq++, value };
      shared.statements.put.run(kind, id, item.seq, JSON.stringify(value));
      items.set(id, item);
      shared.undo?.push(() => {
        if (existing === undefined) items.delete(id);
        else items.set(id, existing);
      });
    },
    delete(id) {
      const existing = items.get(id);
      if (existing === undefined) return;
      shared.statements.remove.run(kind, id);
      items.delete(id);
      shared.undo?.push(() => items.set(id, existing));
    },
    values: () => Array.from(items.values(), (item) => item.value),
    *entries() {
      for (const [id, item] of items) yield [id, item.value] as [string, T];
    },
    get size() {
      return items.size;
    },
    forget: () => items.clear(),
  };
}
