/** Runs migrations that build indexes concurrently with writes to their tables. */
import type { Client } from 'pg';

const CONCURRENTLY = /^\s*(?:CREATE(?:\s+UNIQUE)?|DROP)\s+INDEX\s+CONCURRENTLY\s/im;
const CREATE = /^CREATE(?:\s+UNIQUE)?\s+INDEX\s+CONCURRENTLY\s+"?(\w+)"?\s+ON\s/i;
const DROP = /^DROP\s+INDEX\s+CONCURRENTLY\s+IF\s+EXISTS\s/i;
const VALIDATE = /^ALTER\s+TABLE\s+"?\w+"?\s+VALIDATE\s+CONSTRAINT\s+"?\w+"?$/i;

/** Whether the migration cannot run in a transaction. */
export function buildsIndexesConcurrently(sql: string): boolean {
  return CONCURRENTLY.test(sql);
}

/**
 * Runs the statements one by one, each in its own transaction. Can be repeated after an interruption:
 * existing indexes are skipped, and incomplete ones are rebuilt.
 *
 * @throws Error before the first statement, if any statement is of another kind.
 */
export async function runConcurrently(client: Client, sql: string): Promise<void> {
  const statements = sql
    .replace(/^\s*--.*$/gm, '')
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
  for (const statement of statements) {
    if ([CREATE, DROP, VALIDATE].some((kind) => kind.test(statement))) continue;
    throw new Error(
      `A migration with CONCURRENTLY may only have CREATE INDEX CONCURRENTLY, DROP INDEX CONCURRENTLY IF EXISTS and VALIDATE CONSTRAINT, not: ${statement.slice(0, 80)}`,
    );
  }
  for (const statement of statements) {
    const name = CREATE.exec(statement)?.[1];
    const state = name ? await stateOf(client, name) : 'absent';
    if (state === 'valid') continue;
    if (state === 'invalid') await client.query(`DROP INDEX CONCURRENTLY "${name}"`);
    await client.query(statement);
  }
}

async function stateOf(client: Client, name: string): Promise<'absent' | 'valid' | 'invalid'> {
  const { rows } = await client.query<{ valid: boolean }>(
    'SELECT indisvalid AS valid FROM pg_index WHERE indexrelid = to_regclass($1)',
    [`"${name}"`],
  );
  if (!rows[0]) return 'absent';
  return rows[0].valid ? 'valid' : 'invalid';
}
