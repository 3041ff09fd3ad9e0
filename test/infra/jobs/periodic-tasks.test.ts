import { sqltag as sql } from '@prisma/client/runtime/client';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PrismaClient } from '../../../src/generated/prisma/client.ts';
import { type Bus, createInProcessBus } from '../../../src/infra/bus.ts';
import { newAdapter } from '../../../src/infra/database/connections.ts';
import { createFailures, type Failures } from '../../../src/infra/failures.ts';
import { type PeriodicTask, startPeriodicTasks } from '../../../src/infra/jobs/periodic-tasks.ts';
import { createLogger } from '../../../src/infra/logger.ts';
import { createTestDatabase, type TestDatabase } from '../../support/servers/database.ts';
import { until } from '../../support/wait.ts';

let database: TestDatabase;
let db: PrismaClient;
let bus: Bus;
let failures: Failures;

beforeAll(async () => {
  database = await createTestDatabase({ empty: true });
  db = new PrismaClient({ adapter: newAdapter(database.url) });
});
afterAll(async () => {
  await db?.$disconnect();
  await database?.drop();
});
beforeEach(async () => {
  await db.$executeRaw`DROP TABLE IF EXISTS work`;
  await db.$executeRaw`CREATE TABLE work (id int)`;
  failures = createFailures({ log: createLogger({ level: 'silent' }) });
  bus = createInProcessBus(failures);
});

/** Starts tasks as a process does. @returns what ends them */
function start(
  tasks: readonly PeriodicTask[],
  options?: Parameters<typeof startPeriodicTasks>[2],
): () => void {
  const closing = new AbortController();
  const background = (_name: string, work: () => Promise<void>) => void work();
  startPeriodicTasks({ db, bus, failures, background, closing: closing.signal }, tasks, options);
  return () => closing.abort();
}

/** A task that does the work in the table, and how often it was asked about and run. */
function worker(everySeconds = 0.2) {
  const counts = { asked: 0, run: 0, done: 0 };
  const task: PeriodicTask = {
    name: 'work',
    everySeconds,
    hasWork() {
      counts.asked += 1;
      return sql`EXISTS (SELECT 1 FROM work)`;
    },
    async run() {
      counts.run += 1;
      counts.done += await db.$executeRaw`DELETE FROM work`;
    },
  };
  return { counts, task };
}

const addWork = (): Promise<number> => db.$executeRaw`INSERT INTO work VALUES (1)`;

describe('startPeriodicTasks', () => {
  it('runs a task only while it has work, and one without a condition always', async () => {
    const { counts, task } = worker();
    let always = 0;
    const stop = start([
      task,
      {
        name: 'always',
        everySeconds: 0.2,
        async run() {
          always += 1;
        },
      },
    ]);
    await until('some rounds', () => always >= 3 && counts.asked >= 3);
    expect(counts.run).toBe(0);
    await addWork();
    await until('the work', () => counts.done === 1);
    expect(counts.run).toBe(1);
    stop();
  });

  it('runs a task once at a time, also if another one ends while it is asked about', async () => {
    let runs = 0;
    let running = 0;
    let mostRunning = 0;
    const slow: PeriodicTask = {
      name: 'slow',
      everySeconds: 0,
      hasWork: () => sql`pg_sleep(0.05) IS NOT NULL`,
      async run() {
        running += 1;
        mostRunning = Math.max(mostRunning, running);
        await db.$executeRaw`SELECT pg_sleep(0.05)`;
        running -= 1;
        runs += 1;
      },
    };
    // Ends at different times of the checks.
    const run = () => db.$executeRaw`SELECT pg_sleep(random() * 0.1)`;
    const stop = start([slow, { name: 'other', everySeconds: 0.01, run }]);
    await until('some runs', () => runs >= 20);
    stop();
    expect(mostRunning).toBe(1);
  });

  it('asks in one of several processes while there is no work, and in another once that one ends', async () => {
    const workers = [worker(), worker()];
    const stops = workers.map(({ task }) => start([task]));
    const asked = (): number[] => workers.map(({ counts }) => counts.asked);
    const since = performance.now();
    const total = (): number => asked().reduce((sum, count) => sum + count, 0);
    await until('some questions', () => total() >= 30);
    // Two that ask would need half as long.
    expect(performance.now() - since).toBeGreaterThan(30 * 200 * 0.75);

    const leader = asked().indexOf(Math.max(...asked()));
    stops[leader]?.();
    await until('the work', async () => {
      // The one that ends may do the work that it is asking about.
      await addWork();
      return (workers[1 - leader]?.counts.done ?? 0) > 0;
    });
    stops[1 - leader]?.();
  });

  it('asks in each process now and then, also while another one finds no work', async () => {
    const { counts, task } = worker();
    // Such as a process with another database, which is always sooner.
    const message = { from: 'another', idle: ['work'], ran: [] };
    const another = setInterval(() => bus.publish('periodicTasks', message), 20);
    const stop = start([task], { trustOthersMs: 1_000 });
    await until('the first question', () => counts.asked >= 1);
    await addWork();
    await until('the work', () => counts.done === 1);
    clearInterval(another);
    stop();
  });

  it('does the work in every process while there is some', async () => {
    const workers = [worker(), worker()];
    // The work is never done, as with more of it than one process can do.
    const stops = workers.map(({ counts, task }) => {
      const run = async (): Promise<void> => {
        counts.run += 1;
      };
      return start([{ ...task, run }]);
    });
    await addWork();
    await until('runs in both', () => workers.every(({ counts }) => counts.run >= 3));
    for (const stop of stops) stop();
  });

  it('runs a shared task in one of several processes, and in another once that one ends', async () => {
    const workers = [worker(), worker()];
    const stops = workers.map(({ counts, task }) => {
      const run = async (): Promise<void> => {
        counts.run += 1;
      };
      return start([{ ...task, run, shared: true }]);
    });
    await addWork();
    const runs = (): number[] => workers.map(({ counts }) => counts.run);
    const since = performance.now();
    await until('some runs', () => runs().reduce((sum, count) => sum + count, 0) >= 30);
    // Two that run it would need half as long.
    expect(performance.now() - since).toBeGreaterThan(30 * 200 * 0.75);

    const leader = runs().indexOf(Math.max(...runs()));
    stops[leader]?.();
    const before = runs()[1 - leader] ?? 0;
    await until('a run in the other', () => (runs()[1 - leader] ?? 0) > before);
    stops[1 - leader]?.();
  });

  it('asks again after a failure, and runs a task again that failed', async () => {
    const { counts, task } = worker();
    let failed = 0;
    const stop = start([
      task,
      {
        name: 'failing',
        everySeconds: 0.2,
        async run() {
          failed += 1;
          throw new Error('It fails');
        },
      },
    ]);
    await db.$executeRaw`ALTER TABLE work RENAME TO gone`;
    await until('the failure', () =>
      failures.counts().some(({ name }) => name === 'periodicTasks'),
    );
    await db.$executeRaw`ALTER TABLE gone RENAME TO work`;
    await addWork();
    await until('the work', () => counts.done === 1);
    await until('the task again', () => failed >= 2);
    expect(failures.counts().map(({ name }) => name)).toContain('failing');
    stop();
  });
});
