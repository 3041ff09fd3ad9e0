/**
 * Jobs on pg-boss, in the same PostgreSQL: enqueued in the transaction that changes the state,
 * run at least once, so every handler is idempotent.
 */
import { fromPrisma, type JobResult, PgBoss } from 'pg-boss';
import type { ZodType } from 'zod';
import type { Logger } from './logger.ts';

export interface JobDefinition<Payload extends object> {
  /** Imperative, e.g. `placeCalls`. */
  readonly name: string;
  /** Ids only; checked when it is enqueued and again when it is run. */
  readonly payload: ZodType<Payload>;
  readonly retryLimit: number;
  readonly retryDelaySeconds: number;
  /** After this time the job counts as dead and is run again. */
  readonly expireSeconds: number;
  /** How many run at once in a process. */
  readonly concurrency: number;
}

export function defineJob<Payload extends object>(
  definition: Pick<JobDefinition<Payload>, 'name' | 'payload'> &
    Partial<Omit<JobDefinition<Payload>, 'name' | 'payload'>>,
): JobDefinition<Payload> {
  return {
    retryLimit: 20,
    retryDelaySeconds: 5,
    expireSeconds: 300,
    concurrency: 5,
    ...definition,
  };
}

/** Whatever can run SQL: the Prisma client or a transaction of it. */
export interface SqlRunner {
  $queryRawUnsafe<T = unknown>(query: string, ...values: unknown[]): Promise<T>;
}

export interface EnqueueOptions {
  startAfter?: Date;
  /** At most one waiting job of this name and key. */
  singletonKey?: string;
}

export type JobHandler<Payload> = (
  payload: Payload,
  context: { signal: AbortSignal },
) => Promise<void>;

export interface Jobs {
  /** Joins the transaction given, so the job exists exactly if the change does. */
  enqueue<Payload extends object>(
    tx: SqlRunner,
    job: JobDefinition<Payload>,
    payload: Payload,
    options?: EnqueueOptions,
  ): Promise<void>;
  /** Starts taking jobs of this kind in this process. */
  work<Payload extends object>(
    job: JobDefinition<Payload>,
    handler: JobHandler<Payload>,
  ): Promise<void>;
  /** Lets running jobs finish for at most `graceMs`, then stops. */
  stop(graceMs?: number): Promise<void>;
}

export interface JobsOptions {
  databaseUrl: string;
  definitions: readonly JobDefinition<never>[];
  log: Logger;
  /** Also run maintenance and take jobs. */
  worker: boolean;
}

/** Creates pg-boss's schema and the queues if they are not there. */
export async function startJobs(options: JobsOptions): Promise<Jobs> {
  const { databaseUrl, definitions, log, worker } = options;
  const boss = new PgBoss({
    connectionString: databaseUrl,
    schema: 'pgboss',
    max: worker ? 5 : 2,
    supervise: worker,
    schedule: false,
    useListenNotify: worker,
  });
  boss.on('error', (error) => log.warn({ error: error.message }, 'Job queue error'));
  await boss.start();
  for (const definition of definitions) {
    await boss.createQueue(definition.name, {
      retryLimit: definition.retryLimit,
      retryDelay: definition.retryDelaySeconds,
      retryBackoff: true,
      retryDelayMax: 300,
      expireInSeconds: definition.expireSeconds,
      retentionSeconds: 7 * 24 * 3600,
      deleteAfterSeconds: 24 * 3600,
      notify: true,
      policy: 'short',
    });
  }

  return {
    async enqueue(tx, job, payload, { startAfter, singletonKey } = {}) {
      await boss.send(job.name, job.payload.parse(payload), {
        db: fromPrisma(tx as Parameters<typeof fromPrisma>[0]),
        ...(startAfter ? { startAfter } : {}),
        ...(singletonKey ? { singletonKey } : { singletonKey: crypto.randomUUID() }),
      });
    },
    async work(job, handler) {
      await boss.work(
        job.name,
        {
          pollingIntervalSeconds: 1,
          notifyPollingIntervalSeconds: 1,
          batchSize: job.concurrency,
          perJobResults: true,
        },
        (items) =>
          Promise.all(
            items.map(async (item): Promise<JobResult> => {
              try {
                await handler(job.payload.parse(item.data), { signal: item.signal });
                return { id: item.id, status: 'completed' };
              } catch (error) {
                log.warn({ job: job.name, error }, 'A job failed and will be tried again');
                return { id: item.id, status: 'failed', output: { message: String(error) } };
              }
            }),
          ),
      );
    },
    async stop(graceMs = 10_000) {
      await boss.stop({ graceful: true, timeout: graceMs, close: true });
    },
  };
}
