/** Queues on a real database: how hanging, failing or very many jobs affect the others. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { PrismaClient } from '../../../src/generated/prisma/client.ts';
import { createInProcessBus } from '../../../src/infra/bus.ts';
import { newAdapter } from '../../../src/infra/database/connections.ts';
import { createFailures, type Failures } from '../../../src/infra/failures.ts';
import {
  defineJob,
  type JobDefinition,
  type Jobs,
  startJobs,
} from '../../../src/infra/jobs/jobs.ts';
import {
  type PeriodicHost,
  type PeriodicTask,
  startPeriodicTasks,
} from '../../../src/infra/jobs/periodic-tasks.ts';
import { createLogger } from '../../../src/infra/logger.ts';
import { createTestDatabase, type TestDatabase } from '../../support/servers/database.ts';
import { until } from '../../support/wait.ts';

const payload = z.object({ id: z.string() });
let database: TestDatabase;
let db: PrismaClient;
let failures: Failures;
let jobs: Jobs;
let closing: AbortController;

beforeEach(async () => {
  database = await createTestDatabase({ empty: true });
  db = new PrismaClient({ adapter: newAdapter(database.url) });
  failures = createFailures({ log: createLogger({ level: 'silent' }) });
});

afterEach(async () => {
  closing.abort();
  await jobs.stop(0);
  failures.close();
  await db.$disconnect();
  await database.drop();
});

async function start(definition: JobDefinition<{ id: string }>): Promise<void> {
  jobs = await startJobs({
    databaseUrl: database.url,
    definitions: [definition as unknown as JobDefinition<never>],
    failures,
    worker: true,
  });
  closing = new AbortController();
  const host: PeriodicHost = {
    db,
    bus: createInProcessBus(failures),
    failures,
    closing: closing.signal,
    background: (_name, work) => void work(),
  };
  const wake: PeriodicTask = {
    name: 'wakeWorkers',
    everySeconds: 1,
    hasWork: jobs.hasDue,
    run: () => jobs.wakeWorkers(db),
  };
  startPeriodicTasks(host, [wake]);
}

const enqueue = (
  job: JobDefinition<{ id: string }>,
  ids: readonly string[],
  group: string | null = null,
): Promise<void> =>
  jobs.enqueueMany(
    db,
    job,
    ids.map((id) => ({ payload: { id }, group })),
  );

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

/** Hangs until its signal is aborted. */
const hang = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

describe('Jobs.work', () => {
  it('runs all other jobs of a queue while one hangs', async () => {
    const job = defineJob({ name: 'work', payload, concurrency: 2 });
    await start(job);
    const done: string[] = [];
    await jobs.work(job, async ({ id }, { signal }) => {
      if (id === 'stuck') await hang(signal);
      done.push(id);
    });
    await enqueue(job, ['stuck']);
    await enqueue(job, names('quick', 30));
    await until('the other jobs to be done', () => done.length === 30);
    expect(done).not.toContain('stuck');
  });

  it('runs the job of one group while another group floods the queue with jobs that hang', async () => {
    const job = defineJob({ name: 'work', payload, concurrency: 3, groupConcurrency: 2 });
    await start(job);
    const started: string[] = [];
    const done: string[] = [];
    await jobs.work(job, async ({ id }, { signal }) => {
      started.push(id);
      if (id.startsWith('flood')) await hang(signal);
      done.push(id);
    });
    await enqueue(job, names('flood', 50), 'one organization');
    await until('the flood to have its share', () => started.length >= 2);
    await enqueue(job, names('other', 5), 'another organization');
    await until('the jobs of the other group to be done', () => done.length === 5);
    expect(started.filter((id) => id.startsWith('flood'))).toHaveLength(2);
  });

  it('follows a definition that has changed since its queue was created', async () => {
    const job = (retryLimit: number) =>
      defineJob({ name: 'work', payload, retryLimit, retryDelaySeconds: 1 });
    await start(job(0));
    closing.abort();
    await jobs.stop(0);
    await start(job(1));
    let runs = 0;
    await jobs.work(job(1), async () => {
      runs += 1;
      throw new Error('It does not work');
    });
    await enqueue(job(1), ['failing']);
    await until('the retry', () => runs === 2);
  });

  it('aborts the signal of a job at its time limit, counts the failure and retries', async () => {
    const job = defineJob({
      name: 'work',
      payload,
      concurrency: 1,
      expireSeconds: 1,
      retryDelaySeconds: 1,
    });
    await start(job);
    const signals: AbortSignal[] = [];
    await jobs.work(job, async (_payload, { signal }) => {
      signals.push(signal);
      if (signals.length === 1) await hang(signal);
    });
    await enqueue(job, ['slow']);
    await until('the second run', () => signals.length === 2);
    expect(signals[0]?.aborted).toBe(true);
    expect(failures.counts()).toMatchObject([{ name: 'work', count: 1 }]);
  });

  it('retries a job that throws, and counts the failure with its cause', async () => {
    const job = defineJob({ name: 'work', payload, retryDelaySeconds: 1 });
    await start(job);
    let runs = 0;
    await jobs.work(job, async () => {
      runs += 1;
      if (runs === 1) throw new TypeError('no such thing');
    });
    await enqueue(job, ['unlucky']);
    await until('the second run', () => runs === 2);
    expect(failures.counts()).toMatchObject([
      { name: 'work', cause: 'TypeError: no such thing', count: 1 },
    ]);
  });

  it('completes all waiting jobs of a coalescing kind with one run', async () => {
    const job = defineJob({ name: 'work', payload, concurrency: 1, coalesce: 100 });
    await start(job);
    let runs = 0;
    await enqueue(job, names('look', 60));
    await jobs.work(job, async () => {
      runs += 1;
    });
    await until('all jobs to be done', async () => {
      const [row] = await db.$queryRaw<{ open: bigint }[]>`
        SELECT count(*) AS open FROM pgboss.job WHERE name = 'work' AND state <> 'completed'`;
      return row?.open === 0n;
    });
    expect(runs).toBe(1);
  });
});

describe('Jobs.stop', () => {
  it('aborts running jobs after the grace period', async () => {
    const job = defineJob({ name: 'work', payload });
    await start(job);
    const signals: AbortSignal[] = [];
    await jobs.work(job, async (_payload, { signal }) => {
      signals.push(signal);
      await hang(signal);
    });
    await enqueue(job, ['endless']);
    await until('the job to run', () => signals.length === 1);
    await jobs.stop(100);
    expect(signals[0]?.aborted).toBe(true);
  });
});

describe('Jobs.enqueue', () => {
  it('creates no job when its transaction is rolled back', async () => {
    const job = defineJob({ name: 'work', payload });
    await start(job);
    const failed = db.$transaction(async (tx) => {
      await jobs.enqueue(tx, job, { id: 'never' }, { group: null });
      throw new Error('rolled back');
    });
    await expect(failed).rejects.toThrow('rolled back');
    await jobs.enqueue(db, job, { id: 'ever' }, { group: null });
    const rows = await db.$queryRaw`SELECT data FROM pgboss.job WHERE name = 'work'`;
    expect(rows).toEqual([{ data: { id: 'ever' } }]);
  });

  it('keeps one waiting job per singleton key', async () => {
    const job = defineJob({ name: 'work', payload });
    await start(job);
    for (const id of ['first', 'second']) {
      await jobs.enqueue(db, job, { id }, { group: null, singletonKey: 'one' });
    }
    const rows = await db.$queryRaw`SELECT data FROM pgboss.job WHERE name = 'work'`;
    expect(rows).toEqual([{ data: { id: 'first' } }]);
  });
});
