/** Decides which statements to prepare, and names them. */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';

/** Maximum number of named statements, since a connection keeps each until it is closed. */
const MAX_NAMED = 500;
const MAX_CANDIDATES = 2_000;
/** Longer statements contain long lists, with a different text for each length. */
const MAX_CHARACTERS = 10_000;
/** Minimum number of runs before a statement is prepared. */
const USES_BEFORE_NAMED = 3;
/** Statements that are never prepared: without parameters, one message of the simple protocol is less work. */
const SIMPLE = new Set(['BEGIN', 'COMMIT', 'ROLLBACK']);

/**
 * Returns a function that returns the name of a statement by its text, or '' for a statement to send
 * without a name: a new one, or one that came after the limit was reached.
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
