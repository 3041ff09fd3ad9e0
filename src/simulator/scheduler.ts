/** Runs stored tasks at their instants, by the simulated clock. */
import type { Collection, Store } from './store.ts';

/** A task to run at a certain time, stored until it is done. */
export interface Job {
  id: string;
  dueAt: number;
  task: string;
  subject: string;
}

export interface Scheduler {
  /** Schedules a job, replacing one with the same task and subject. Call it inside a transaction. */
  plan(task: string, subject: string, dueAt: number): void;
  cancel(task: string, subject: string): void;
  /** Starts the timer and runs overdue jobs at once, in order. */
  start(run: (job: Job) => void): void;
  stop(): void;
  /** Discards all jobs after the store has been cleared. */
  clear(): void;
}

const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export function createScheduler(
  store: Store,
  now: () => number,
  report: (job: Job, error: unknown) => void,
): Scheduler {
  const jobs: Collection<Job> = store.collection<Job>('jobs');
  let heap: Job[] = [];
  let timer: NodeJS.Timeout | undefined;
  let armedFor = Number.POSITIVE_INFINITY;
  let run: ((job: Job) => void) | undefined;

  function arm(): void {
    const next = heap[0];
    if (run === undefined || next === undefined || next.dueAt >= armedFor) return;
    clearTimeout(timer);
    armedFor = next.dueAt;
    timer = setTimeout(tick, Math.min(Math.max(next.dueAt - now(), 0), MAX_TIMEOUT_MS));
  }

  function tick(): void {
    armedFor = Number.POSITIVE_INFINITY;
    const until = now();
    for (let next = heap[0]; next !== undefined && next.dueAt <= until; next = heap[0]) {
      pop(heap);
      // A job that was moved or canceled leaves its old entry in the heap.
      if (jobs.get(next.id) !== next) continue;
      perform(next);
    }
    arm();
  }

  function perform(job: Job): void {
    try {
      store.transaction(() => {
        jobs.delete(job.id);
        run?.(job);
      });
    } catch (error) {
      report(job, error);
      store.transaction(() => jobs.delete(job.id));
    }
  }

  return {
    plan(task, subject, dueAt) {
      const job: Job = { id: `${task}:${subject}`, dueAt, task, subject };
      jobs.put(job.id, job);
      push(heap, job);
      arm();
    },
    cancel(task, subject) {
      jobs.delete(`${task}:${subject}`);
    },
    start(handler) {
      run = handler;
      heap = [];
      for (const job of jobs.values()) push(heap, job);
      arm();
    },
    clear() {
      heap = [];
    },
    stop() {
      run = undefined;
      clearTimeout(timer);
    },
  };
}

function push(heap: Job[], job: Job): void {
  heap.push(job);
  let index = heap.length - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    if (heap[parent]!.dueAt <= job.dueAt) break;
    heap[index] = heap[parent]!;
    index = parent;
  }
  heap[index] = job;
}

function pop(heap: Job[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let index = 0;
  for (;;) {
    let child = index * 2 + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]!.dueAt < heap[child]!.dueAt) child += 1;
    if (heap[child]!.dueAt >= last.dueAt) break;
    heap[index] = heap[child]!;
    index = child;
  }
  heap[index] = last;
}
