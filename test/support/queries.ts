/**
 * Counts SQL statements, to detect one query per row. Use a server without a worker
 * (`startApiBeside`), because statements of jobs and periodic tasks are counted too.
 */
import type { App } from '../../src/app.ts';

interface Counter {
  statements: string[];
}

/** Counters by client. Prisma cannot remove a listener, so each client gets exactly one. */
const counters = new WeakMap<object, Counter>();

function counterOf(app: App): Counter {
  const known = counters.get(app.db);
  if (known) return known;
  const counter: Counter = { statements: [] };
  counters.set(app.db, counter);
  for (const { db, rows } of [app, app.limited]) {
    const client = db as unknown as {
      $on(event: 'query', listener: (event: { query: string }) => void): void;
    };
    client.$on('query', ({ query }) => counter.statements.push(query));
    rows.onStatement = (sql) => counter.statements.push(sql);
  }
  return counter;
}

/**
 * Runs `work` and returns the statements sent meanwhile, without those of periodic tasks and authentication
 * as far as their tables identify them.
 */
export async function recordStatements(app: App, work: () => Promise<unknown>): Promise<string[]> {
  const counter = counterOf(app);
  const from = counter.statements.length;
  await work();
  return counter.statements
    .slice(from)
    .filter(
      (statement) =>
        !/"?(api_keys|event_counters|number_events|idempotency_keys)"?\b/.test(statement),
    );
}

/**
 * Number of statements of `work`, which must be a read. It is the minimum of three runs, because a worker in the
 * same process may add statements.
 */
export async function countQueries(app: App, work: () => Promise<unknown>): Promise<number> {
  const counts: number[] = [];
  for (let run = 0; run < 3; run += 1) counts.push((await recordStatements(app, work)).length);
  return Math.min(...counts);
}
