/**
 * Sends statements that are added together over one connection, in one write and without waiting in between. Sent
 * separately, every statement would make PostgreSQL and this process wake each other.
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
import { type PendingRead, ReadBatch } from './read-batch.ts';
import type { ReadStatement } from './wire-messages.ts';

/** Maximum number of reads or groups in one write. They run one after another, so a slow one delays those behind it. */
const MAX_STATEMENTS = 8;
/** Time after which reads behind a slow one are sent over another connection. */
const SLOW_MS = 50;
/** Connections for such reads. Only few, because reads that are slow because of the load would be slow again. */
const MAX_CONCURRENT_RESENDS = 2;

export interface Statement {
  /** Name of the prepared statement; '' for none. */
  name: string;
  text: string;
  values: unknown[];
  /** Decoders of column types. Default: those of `pg`. */
  types?: CustomTypesConfig;
}

interface PendingStatement<Row> {
  statement: Statement;
  resolve: (rows: Row[]) => void;
  reject: (error: unknown) => void;
}

/**
 * Returns a function that runs statements one after another, each in its own transaction, and resolves with the rows
 * of each. The pool must come from `newQueryPool`.
 */
export function createPipeline<Row extends QueryResultRow>(
  pool: Pool,
): (statements: readonly Statement[]) => Promise<Row[]>[] {
  const add = createBatcher<readonly PendingStatement<Row>[]>(
    (flush) => process.nextTick(flush),
    (groups) => {
      const jobs = groups.flat();
      return withClient(pool, jobs, (client) => run(client, jobs));
    },
  );
  return (statements) => {
    const jobs = statements.map((statement) => ({
      statement,
      ...Promise.withResolvers<Row[]>(),
    }));
    add(jobs);
    return jobs.map(({ promise }) => promise);
  };
}

/**
 * Like `createPipeline`, for statements that only read and that return one value; resolves with its text. They
 * may share a transaction, also with those of other requests. A statement may be sent again: when another one fails,
 * or when it has waited for a slow one.
 */
export function createReadPipeline(
  pool: Pool,
): (statement: ReadStatement) => Promise<string | null> {
  let resends = 0;

  async function read(jobs: readonly PendingRead[], mayResend = true): Promise<void> {
    await withClient(pool, jobs, async (client) => {
      const batch = new ReadBatch(jobs);
      const slow =
        mayResend && jobs.length > 1 && setTimeout(() => resendBehindSlow(batch), SLOW_MS);
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

  /** Sends the unanswered statements again. The first answer to each is used; errors only of the first connection. */
  function resendBehindSlow(batch: ReadBatch): void {
    const [, ...behind] = batch.unanswered();
    if (behind.length === 0 || resends >= MAX_CONCURRENT_RESENDS) return;
    resends += 1;
    const again = behind.map((job) => ({ ...job, reject: () => undefined }));
    void read(again, false).finally(() => {
      resends -= 1;
    });
  }

  // `setImmediate`, so that requests that have already arrived are handled first and join the batch.
  const add = createBatcher((flush) => setImmediate(flush), read);
  return (statement) => new Promise((resolve, reject) => add({ statement, resolve, reject }));
}

/** Collects jobs until `schedule` calls back, then runs them together. */
function createBatcher<Each>(
  schedule: (flush: () => void) => unknown,
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
    // After the promise jobs of this tick, which may add more statements.
    if (waiting.length === 1) void Promise.resolve().then(() => schedule(flush));
  };
}

/** Calls `run` with a connection, or rejects the jobs if there is none. `run` resolves with a statement's error. */
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
  // The running statements report the error.
  const ignore = (): void => {};
  client.on('error', ignore);
  const failure = await run(client).catch((error: unknown) => {
    for (const { reject } of jobs) reject(error);
    return error;
  });
  client.off('error', ignore);
  // Like `pool.query`: the connection of a failed statement is closed, since it may be lost.
  client.release(failure instanceof Error ? failure : false);
}

async function run<Row extends QueryResultRow>(
  client: PoolClient,
  jobs: readonly PendingStatement<Row>[],
): Promise<unknown> {
  let failure: unknown;
  const send = ({ statement, resolve, reject }: PendingStatement<Row>): Promise<void> =>
    new Promise((done) => {
      // `pg` copies a config object property by property, which takes longer than everything else here.
      const query = new Query<Row>(statement) as unknown as QueryConfig;
      // A callback, since the promises of `pg` keep results in memory for several garbage collections.
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
