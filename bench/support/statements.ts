/** Counts the statements that a PostgreSQL server executes, with `pg_stat_statements`. */
import type { Client } from 'pg';

export interface Statements {
  /** Number of statements sent by clients, including BEGIN and COMMIT. */
  count: number;
  ofJobQueue: number;
  /** Number of transactions with several statements. */
  transactions: number;
  byText: Map<string, number>;
}

/** To be called before a restart of the server, which loads the extension. */
export async function prepareCounting(client: Client): Promise<void> {
  await client.query(`ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'`);
  await client.query('CREATE EXTENSION pg_stat_statements');
}

export async function resetStatements(client: Client): Promise<void> {
  await client.query('SELECT pg_stat_statements_reset()');
}

export async function countStatements(client: Client): Promise<Statements> {
  const { rows } = await client.query<{ query: string; calls: string }>(
    `SELECT query, sum(calls) AS calls FROM pg_stat_statements
     -- Checks of deferred foreign keys run within COMMIT.
     WHERE query NOT LIKE '%pg_stat_statements%' AND query NOT LIKE '%FOR KEY SHARE OF x'
     GROUP BY query`,
  );
  const byText = new Map(rows.map(({ query, calls }) => [query, Number(calls)]));
  const countOf = (pattern: RegExp): number =>
    [...byText].reduce((sum, [text, calls]) => sum + (pattern.test(text) ? calls : 0), 0);
  return {
    count: countOf(/^/),
    ofJobQueue: countOf(/pgboss/),
    transactions: countOf(/^(COMMIT|ROLLBACK)/),
    byText,
  };
}
