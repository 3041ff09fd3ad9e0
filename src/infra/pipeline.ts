/** Sends the statements of one tick over one connection, in one write and without waiting in between. */
import {
  type CustomTypesConfig,
  type Pool,
  type PoolClient,
  Query,
  type QueryConfig,
  type QueryResultRow,
} from 'pg';

/** They run one after the other, so a slow one holds those behind it back. */
const MAX_STATEMENTS = 8;

export interface Statement {
  /** Of the prepared statement; '' for none. */
  name: string;
  text: string;
  values: unknown[];
  /** How columns are decoded. Default: as `pg` does. */
  types?: CustomTypesConfig;
}

interface Job<Row> {
  statement: Statement;
  resolve: (rows: Row[]) => void;
  reject: (error: unknown) => void;
}

/** The pool must have been made by `newQueryPool`. Returns a function that resolves with the rows of a statement. */
export function createPipeline<Row extends QueryResultRow>(
  pool: Pool,
): (statement: Statement) => Promise<Row[]> {
  let waiting: Job<Row>[] = [];

  function flush(): void {
    const jobs = waiting;
    waiting = [];
    for (let from = 0; from < jobs.length; from += MAX_STATEMENTS) {
      void run(pool, jobs.slice(from, from + MAX_STATEMENTS));
    }
  }

  return (statement) =>
    new Promise((resolve, reject) => {
      waiting.push({ statement, resolve, reject });
      // After the promise jobs of this tick, in which more statements may come.
      if (waiting.length === 1) void Promise.resolve().then(() => process.nextTick(flush));
    });
}

async function run<Row extends QueryResultRow>(
  pool: Pool,
  jobs: readonly Job<Row>[],
): Promise<void> {
  let client: PoolClient;
  try {
    client = await pool.connect();
  } catch (error) {
    for (const { reject } of jobs) reject(error);
    return;
  }
  // The statements that are under way fail with it.
  const ignore = (): void => {};
  client.on('error', ignore);
  let failure: unknown;
  const send = ({ statement, resolve, reject }: Job<Row>): Promise<void> =>
    new Promise((done) => {
      // `pg` copies an object of settings property by property, which takes longer than all else here.
      const query = new Query<Row>(statement) as unknown as QueryConfig;
      // With a callback, since the promise of `pg` keeps results for several garbage collections.
      client.query<Row>(query, (error: unknown, result) => {
        if (error) {
          failure = error;
          reject(error);
        } else resolve(result.rows);
        done();
      });
    });
  await Promise.all(inOneWrite(client, () => jobs.map(send)));
  client.off('error', ignore);
  // Like `pool.query`: the connection of a failed statement is closed, since it may be lost.
  client.release(failure instanceof Error ? failure : false);
}

function inOneWrite<Result>(client: PoolClient, send: () => Result): Result {
  const { stream } = (client as unknown as { connection: { stream: import('node:net').Socket } })
    .connection;
  stream.cork();
  try {
    return send();
  } finally {
    stream.uncork();
  }
}
