/** Names of prepared statements. */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';

/** A connection keeps every named statement until it is closed. */
const MAX_NAMED = 500;
const MAX_CANDIDATES = 2_000;
/** Longer statements contain long lists, with a different text for each length. */
const MAX_CHARACTERS = 10_000;
/** Minimum number of runs for a statement to be prepared. */
const USES_BEFORE_NAMED = 3;
/** A statement without parameters is one message of the simple protocol, which is less work. */
const SIMPLE = new Set(['BEGIN', 'COMMIT', 'ROLLBACK']);

/**
 * Returns a function that names a statement by its text, or gives '' for one that is to be sent
 * without a name: one that is new, or that came after the limit was reached.
 */
export function createStatementNames(): (sql: string) => string {
  const names = new Map<string, string>();
  const uses = new LRUCache<string, number>({ max: MAX_CANDIDATES });
  return (sql) => {
    const known = names.get(sql);
    if (known !== undefined) return known;
    if (SIMPLE.has(sql) || names.size >= MAX_NAMED || sql.length > MAX_CHARACTERS) return '';
    const count = (uses.get(sql) ?? 0) + 1;
    uses.set(sql, count);
    if (count < USES_BEFORE_NAMED) return '';
    uses.delete(sql);
    const name = `s_${createHash('sha256').update(sql).digest('base64url').slice(0, 24)}`;
    names.set(sql, name);
    return name;
  };
}
