/**
 * How many SQL statements something takes: the guard against a query per row. Count on a server
 * without a worker (`startApiBeside`): what jobs and periodic tasks send would be counted too.
 */
import type { App } from '../../src/app.ts';

interface Counter {
  statements: string[];
}

/** Prisma has no way to stop listening, so each client gets one listener for good. */
const counters = new WeakMap<object, Counter>();

function counterOf(app: App): Counter {
  const known = counters.get(app.db);
  if (known) return known;
  const counter: Counter = { statements: [] };
  counters.set(app.db, counter);
  const client = app.db as unknown as {
    $on(event: 'query', listener: (event: { query: string }) => void): void;
  };
  client.$on('query', ({ query }) => counter.statements.push(query));
  return counter;
}

/**
 * Runs `work` and lists the statements sent to the database meanwhile, by whomever. What periodic
 * work and sign-in send is left out as far as it can be told by its tables.
 */
export async function statementsOf(app: App, work: () => Promise<unknown>): Promise<string[]> {
  const counter = counterOf(app);
  const from = counter.statements.length;
  await work();
  return counter.statements
    .slice(from)
    .filter((statement) => !/"?(api_keys|event_counters|idempotency_keys)"?\b/.test(statement));
}

/**
 * The number of statements that `work` takes: the fewest of three runs, as what a worker does
 * meanwhile in the same process can only add to them. So `work` has to be a read.
 */
export async function countQueries(app: App, work: () => Promise<unknown>): Promise<number> {
  const counts: number[] = [];
  for (let run = 0; run < 3; run += 1) counts.push((await statementsOf(app, work)).length);
  return Math.min(...counts);
}
