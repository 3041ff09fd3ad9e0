/** Decides which statements to prepare, and names them. */
import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';

const MAX_CANDIDATES = 2_000;
/** Longer statements contain long lists, with a different text for each length. */
const MAX_CHARACTERS = 10_000;
/** Minimum number of runs before a statement is prepared. */
const USES_BEFORE_NAMED = 3;
/**
 * Minimum time between two renewals of all names, and the time after which a pool replaces a connection. So a connection
 * keeps statements of two sets of names at most.
 */
export const STATEMENT_LIFETIME_SECONDS = 3_600;
/** Statements that are never prepared: without parameters, one message of the simple protocol is less work. */
const SIMPLE = new Set(['BEGIN', 'COMMIT', 'ROLLBACK']);

/** The name of a prepared statement by its text; '' for a statement to send without a name. */
export type StatementName = (sql: string) => string;

/**
 * Names statements that are used several times.
 *
 * @param max maximum number of names, since a connection keeps each statement until it is closed. Further statements
 *   get none until all names are given anew, an hour later at the earliest. A statement then has the same name again.
 */
export function createStatementNames(max: number): StatementName {
  const names = new Map<string, string>();
  const uses = new LRUCache<string, number>({ max: MAX_CANDIDATES });
  let renewedAt = performance.now();
  return (sql) => {
    const known = names.get(sql);
    if (known !== undefined) return known;
    if (SIMPLE.has(sql) || sql.length > MAX_CHARACTERS) return '';
    if (names.size >= max) {
      if (performance.now() - renewedAt < STATEMENT_LIFETIME_SECONDS * 1000) return '';
      names.clear();
      renewedAt = performance.now();
    }
    const count = (uses.get(sql) ?? 0) + 1;
    uses.set(sql, count);
    if (count < USES_BEFORE_NAMED) return '';
    uses.delete(sql);
    const name = `s_${createHash('sha256').update(sql).digest('base64url').slice(0, 24)}`;
    names.set(sql, name);
    return name;
  };
}
