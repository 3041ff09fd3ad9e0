/**
 * Jobs in the same PostgreSQL database, run by pg-boss. They are enqueued in the transaction that changes the state,
 * and run at least once, so every handler must be idempotent.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type Sql, sqltag as sql } from '@prisma/client/runtime/client';
import {
  fromPrisma,
  type JobResult,
  PgBoss,
  type QueueResult,
  type UpdateQueueOptions,
} from 'pg-boss';
import type { ZodType } from 'zod';
import { guardedPool } from '../database/connections.ts';
import { toStorableText, truncateText } from '../database/storable-text.ts';
import type { Failures } from '../failures.ts';

const MAX_OUTPUT = 1_000;
/**
 * Workers are woken by `NOTIFY` for a new job, by the end of another job, and by `wakeWorkers` for retries
 * and jobs with a later start. Polling is rare, so that hundreds of workers do not query in vain.
 */
const POLL_SECONDS = 600;
const LISTEN_CHECK_MS = 60_000;
/** Interval of the check for jobs whose process died and whose time limit has passed. */
const SUPERVISE_SECONDS = 120;
/** Connections for the statements of pg-boss, which are short. All workers query at the same time. */
const JOB_POOL = 2;
/** Maximum number of connections that jobs use: `JOB_POOL` plus one for LISTEN. */
export const JOB_CONNECTIONS = JOB_POOL + 1;
const DUE = sql`state < 'active' AND start_after <= now()`;

export interface JobDefinition<Payload extends object> {
  /** In the imperative, such as `runCampaigns`. */
  readonly name: string;
  /** Contains only ids. Validated when the job is enqueued and when it runs. */
  readonly payload: ZodType<Payload>;
  /** Maximum number of retries. Default: 20. */
  readonly retryLimit: number;
  /** Delay of the first retry; doubles up to five minutes. Default: 5. */
  readonly retryDelaySeconds: number;
  /** Time limit, after which the job fails and its signal is aborted. Default: 300. */
  readonly expireSeconds: number;
  /** Maximum number of concurrent jobs in a process. Default: 5. */
  readonly concurrency: number;
  /** Maximum number of concurrent jobs of one group in a process. Default: 2. */
  readonly groupConcurrency: number;
  /**
   * Maximum number of waiting jobs that one run of the handler completes. Above 1 only if all jobs have
   * the same payload. Default: 1.
   */
  readonly coalesce: number;
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
    groupConcurrency: 2,
    coalesce: 1,
    ...definition,
  };
}

/** A Prisma client or one of its transactions. */
export interface SqlRunner {
  $queryRawUnsafe<T = unknown>(query: string, ...values: unknown[]): Promise<T>;
}

export interface EnqueueOptions {
  /**
   * Owner of the job, such as the id of an organization. One group cannot occupy all workers of a queue.
   * Null for jobs without an owner.
   */
  group: string | null;
  startAfter?: Date;
  /**
   * Key that allows at most one waiting job with this name and key. Default: no limit. Nothing is enqueued if there is
   * one. It may run before the transaction is committed, and not see its changes: callers with a key need a sweep that
   * finds what is left to do.
   */
  singletonKey?: string;
}

export interface JobContext {
  /** Aborted at the time limit of the job, and when the process stops waiting for it. */
  signal: AbortSignal;
}

export type JobHandler<Payload> = (payload: Payload, context: JobContext) => Promise<void>;

export interface Jobs {
  /**
   * Enqueues in the given transaction. Without a `singletonKey`, the job exists if and only if the change is committed.
   */
  enqueue<Payload extends object>(
    tx: SqlRunner,
    job: JobDefinition<Payload>,
    payload: Payload,
    options: EnqueueOptions,
  ): Promise<void>;
  /** Enqueues many jobs of one kind with one statement. */
  enqueueMany<Payload extends object>(
    tx: SqlRunner,
    job: JobDefinition<Payload>,
    entries: readonly ({ payload: Payload } & EnqueueOptions)[],
  ): Promise<void>;
  /** Starts running jobs of this kind in this process. */
  work<Payload extends object>(
    job: JobDefinition<Payload>,
    handler: JobHandler<Payload>,
  ): Promise<void>;
  /** SQL condition that is true if a waiting job may run now. */
  hasDue(): Sql;
  /** Makes the workers of this process look for such jobs. */
  wakeWorkers(db: SqlRunner): Promise<void>;
  /** Waits up to `graceMs` for running jobs, then aborts their signals. */
  stop(graceMs?: number): Promise<void>;
}

export interface JobsOptions {
  databaseUrl: string;
  definitions: readonly JobDefinition<never>[];
  failures: Failures;
  /** Whether to run jobs and maintenance. */
  worker: boolean;
}

function queueSettings(definition: JobDefinition<never>) {
  return {
    retryLimit: definition.retryLimit,
    retryDelay: definition.retryDelaySeconds,
    retryBackoff: true,
    retryDelayMax: 300,
    expireInSeconds: definition.expireSeconds,
    retentionSeconds: 7 * 24 * 3600,
    deleteAfterSeconds: 24 * 3600,
    notify: true,
  } satisfies UpdateQueueOptions;
}

/**
 * Creates missing queues, and updates those that an earlier release created with other settings.
 * Queued jobs keep their settings, and the policy of a queue cannot change.
 */
async function prepareQueues(
  boss: PgBoss,
  definitions: readonly JobDefinition<never>[],
): Promise<void> {
  // Without names, `getQueues` would return all queues.
  if (definitions.length === 0) return;
  const existing = await boss.getQueues(definitions.map(({ name }) => name));
  const queues = new Map(existing.map((queue) => [queue.name, queue]));
  for (const definition of definitions) {
    const settings = queueSettings(definition);
    const queue = queues.get(definition.name);
    if (!queue) await boss.createQueue(definition.name, { ...settings, policy: 'short' });
    else if (differs(queue, settings)) {
      await boss.updateQueue(definition.name, settings);
    }
  }
}

function differs(queue: QueueResult, settings: ReturnType<typeof queueSettings>): boolean {
  const names = Object.keys(settings) as (keyof typeof settings)[];
  return names.some((name) => queue[name] !== settings[name]);
}

/** Creates the schema of pg-boss and missing queues, and updates queues whose settings differ. */
export async function startJobs(options: JobsOptions): Promise<Jobs> {
  const { databaseUrl, definitions, failures, worker } = options;
  const boss = new PgBoss({
    ...guardedPool(databaseUrl),
    schema: 'pgboss',
    max: JOB_POOL,
    supervise: worker,
    superviseIntervalSeconds: SUPERVISE_SECONDS,
    monitorIntervalSeconds: SUPERVISE_SECONDS,
    schedule: false,
    useListenNotify: worker,
    notifyHeartbeatIntervalMs: LISTEN_CHECK_MS,
    // Checks that are rarely or never needed: job dependencies (unused here), queue settings, and table upgrades.
    flowIntervalSeconds: POLL_SECONDS,
    queueCacheIntervalSeconds: POLL_SECONDS,
    bamIntervalSeconds: POLL_SECONDS,
  });
  boss.on('error', failures.recorder('jobQueue', { message: 'The job queue reported an error' }));
  await boss.start();
  await prepareQueues(boss, definitions);

  return {
    async enqueue(tx, job, payload, { group, startAfter, singletonKey = randomUUID() }) {
      await boss.send(job.name, job.payload.parse(payload), {
        db: fromPrisma(tx as Parameters<typeof fromPrisma>[0]),
        singletonKey,
        ...(group ? { group: { id: group } } : {}),
        ...(startAfter ? { startAfter } : {}),
      });
    },
    async enqueueMany(tx, job, entries) {
      if (entries.length === 0) return;
      await boss.insert(
        job.name,
        entries.map(({ payload, group, startAfter, singletonKey = randomUUID() }) => ({
          data: job.payload.parse(payload),
          singletonKey,
          ...(group ? { group: { id: group } } : {}),
          ...(startAfter ? { startAfter } : {}),
        })),
        { db: fromPrisma(tx as Parameters<typeof fromPrisma>[0]) },
      );
    },
    work: (job, handler) => startWorkers({ boss, failures }, job, handler),
    hasDue: () => sql`EXISTS (SELECT 1 FROM pgboss.job WHERE ${DUE})`,
    async wakeWorkers(db) {
      const due = await db.$queryRawUnsafe<{ name: string }[]>(
        `SELECT DISTINCT name FROM pgboss.job WHERE ${DUE.sql}`,
      );
      const names = new Set(due.map(({ name }) => name));
      for (const { id, name } of boss.getWipData()) if (names.has(name)) boss.notifyWorker(id);
    },
    async stop(graceMs = 10_000) {
      // Does not use pg-boss's own graceful stop, which checks only every half second whether jobs have ended.
      const names = new Set(boss.getWipData().map(({ name }) => name));
      const drained = Promise.all([...names].map((name) => boss.offWork(name, { wait: true })));
      await Promise.race([drained, pause(graceMs, undefined, { ref: false })]);
      await boss.stop({ graceful: false, close: true });
    },
  };
}

/**
 * Each worker fetches its own jobs, so a job that hangs blocks only its own worker. The end of a job
 * wakes all workers, so there is no pause between waiting jobs.
 */
async function startWorkers<Payload extends object>(
  { boss, failures }: { boss: PgBoss; failures: Failures },
  job: JobDefinition<Payload>,
  handler: JobHandler<Payload>,
): Promise<void> {
  const options = {
    pollingIntervalSeconds: POLL_SECONDS,
    notifyPollingIntervalSeconds: POLL_SECONDS,
    localConcurrency: job.concurrency,
    localGroupConcurrency: Math.min(job.groupConcurrency, job.concurrency),
    batchSize: job.coalesce,
    perJobResults: true,
  } as const;
  let workerIds: string[] = [];
  await boss.work(job.name, options, async (items): Promise<JobResult[]> => {
    const [first] = items;
    if (!first) return [];
    const failed = await runHandler(failures, job, handler, first);
    for (const id of workerIds) boss.notifyWorker(id);
    return items.map(({ id }) =>
      failed ? { id, status: 'failed', output: failed } : { id, status: 'completed' },
    );
  });
  workerIds = boss
    .getWipData()
    .filter(({ name }) => name === job.name)
    .map(({ id }) => id);
}

/** @returns the failure, or null on success. */
async function runHandler<Payload extends object>(
  failures: Failures,
  job: JobDefinition<Payload>,
  handler: JobHandler<Payload>,
  { data, signal }: { data: unknown; signal: AbortSignal },
): Promise<{ message: string } | null> {
  const abandoned = (): void =>
    failures.record(job.name, signal.reason, {
      message: `Job did not end in time and was abandoned: ${job.name}`,
    });
  signal.addEventListener('abort', abandoned, { once: true });
  try {
    await handler(job.payload.parse(data), { signal });
    return null;
  } catch (error) {
    if (!signal.aborted) {
      failures.record(job.name, error, { message: `Job failed; will retry: ${job.name}` });
    }
    return { message: truncateText(toStorableText(String(error)), MAX_OUTPUT) };
  } finally {
    signal.removeEventListener('abort', abandoned);
  }
}
