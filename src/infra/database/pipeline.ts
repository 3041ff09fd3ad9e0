/**
 * Sends statements that are added together over one connection, in one write and without waiting in between. For each
 * statement by itself, PostgreSQL and this process would wake each other.
 */
import {
  type CustomTypesConfig,
  DatabaseError,
  type Pool,
  type PoolClient,
  Query,
  type QueryConfig,
  type QueryResultRow,
} from 'pg';
import { ReadBatch, type ReadJob } from './read-batch.ts';
import type { ReadStatement } from './wire-messages.ts';

/** They run one after the other, so a slow one holds those behind it back. */
const MAX_STATEMENTS = 8;
/** Time after which reads behind a slow one are sent over another connection. */
const SLOW_MS = 50;
/** Connections for such reads, of which there are few, since those that are slow because of the load are slow again. */
const MAX_OVERTAKING = 2;

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

/**
 * The pool must have been made by `newQueryPool`. Returns a function that resolves with the rows of a statement,
 * which is a transaction of its own.
 */
export function createPipeline<Row extends QueryResultRow>(
  pool: Pool,
): (statement: Statement) => Promise<Row[]> {
  const add = together<Job<Row>>(
    (flush) => process.nextTick(flush),
    (jobs) => withClient(pool, jobs, (client) => run(client, jobs)),
  );
  return (statement) => new Promise((resolve, reject) => add({ statement, resolve, reject }));
}

/**
 * The same for statements that only read, and return one value. It resolves with the text of that value. They
 * may share a transaction, also with those of other requests, and one may be sent again: when another one fails, or
 * when it has waited for a slow one.
 */
export function createReadPipeline(
  pool: Pool,
): (statement: ReadStatement) => Promise<string | null> {
  let overtaking = 0;

  async function read(jobs: readonly ReadJob[], mayBeOvertaken = true): Promise<void> {
    await withClient(pool, jobs, async (client) => {
      const batch = new ReadBatch(jobs);
      const slow = mayBeOvertaken && jobs.length > 1 && setTimeout(() => overtake(batch), SLOW_MS);
      const failure = await new Promise<unknown>((done) => {
        client.query(batch as unknown as QueryConfig, done);
      });
      if (slow) clearTimeout(slow);
      if (failure === undefined) return;
      const [failed, ...skipped] = batch.unanswered();
      failed?.reject(failure);
      if (failure instanceof DatabaseError && skipped.length > 0) void read(skipped);
      else for (const { reject } of skipped) reject(failure);
      return failure;
    });
  }

  /** The first answers count, and the errors of the first connection. */
  function overtake(batch: ReadBatch): void {
    const [, ...behind] = batch.unanswered();
    if (behind.length === 0 || overtaking >= MAX_OVERTAKING) return;
    overtaking += 1;
    const again = behind.map((job) => ({ ...job, reject: () => undefined }));
    void read(again, false).finally(() => {
      overtaking -= 1;
    });
  }

  // Requests that have arrived meanwhile are among those that are handled before.
  const add = together((flush) => setImmediate(flush), read);
  return (statement) => new Promise((resolve, reject) => add({ statement, resolve, reject }));
}

/** Collects what is added until `soon` calls back. */
function together<Each>(
  soon: (flush: () => void) => unknown,
  run: (jobs: readonly Each[]) => Promise<void>,
): (job: Each) => void {
  let waiting: Each[] = [];

  function flush(): void {
    const jobs = waiting;
    waiting = [];
    for (let from = 0; from < jobs.length; from += MAX_STATEMENTS) {
      void run(jobs.slice(from, from + MAX_STATEMENTS));
    }
  }

  return (job) => {
    waiting.push(job);
    // After the promise jobs of this tick, in which more statements may come.
    if (waiting.length === 1) void Promise.resolve().then(() => soon(flush));
  };
}

/** Runs on a connection, or rejects the jobs if there is none. `run` resolves with an error of a statement. */
async function withClient(
  pool: Pool,
  jobs: readonly { reject: (error: unknown) => void }[],
  run: (client: PoolClient) => Promise<unknown>,
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
  const failure = await run(client);
  client.off('error', ignore);
  // Like `pool.query`: the connection of a failed statement is closed, since it may be lost.
  client.release(failure instanceof Error ? failure : false);
}

async function run<Row extends QueryResultRow>(
  client: PoolClient,
  jobs: readonly Job<Row>[],
): Promise<unknown> {
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
  return failure;
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
