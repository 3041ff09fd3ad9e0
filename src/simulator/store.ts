import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';

/**
 * Memory in front, SQLite behind. Reads never touch the file; every `put` and `delete` goes to
 * the file inside the transaction that is committed before the answer leaves.
 */
export interface Store {
  collection<T extends object>(kind: string): Collection<T>;
  /** Runs `work` as one change. Memory and file both forget it if `work` throws. */
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

export function openStore(path: string | undefined): Store {
  if (path !== undefined) {
    // It holds credentials. What SQLite puts beside the file gets the same mode.
    closeSync(openSync(path, 'a', 0o600));
    chmodSync(path, 0o600);
  }
  const database = new DatabaseSync(path ?? ':memory:');
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS records (
      kind TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL,
      PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
  `);
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
      const made = makeCollection<T>(kind, shared);
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

interface Shared {
  statements: { load: StatementSync; put: StatementSync; remove: StatementSync };
  nextSeq: number;
  undo: (() => void)[] | undefined;
}

function makeCollection<T extends object>(
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

/** A copy to change and put back, so that an undone transaction leaves the old one untouched. */
export function copyOf<T extends object>(value: T): T {
  return { ...value };
}
